#Requires -Version 5.1
<#
.SYNOPSIS
    Proves on a real Windows with WSL2, from outside, what wslnet claims, and writes the results as a table.

.DESCRIPTION
    One file, for Windows PowerShell 5.1 and PowerShell 7. It needs a distro with wslnetd and python3, and a running
    wslnet-companion that knows it. Each check opens listeners of its own in the distro and looks from Windows (and from
    another machine, with -LanClient) at what became of them. It trusts neither program: what counts is a connection that
    a service answered, a table of Windows, a registry value, the bytes of a file.

    Whatever is changed is put back, also after Ctrl-C. What belongs to others (hosts file with its access list, portproxy
    entries, firewall rules) is read before and after and compared. If this program is killed, the listeners and the
    configuration file in the distro go too, because their helper ends with its standard input; what it has changed in Windows by then
    stays: a rule named wslnet-verify-block, entries of portproxy at 127.77.7.7, the address 192.0.2.77, a network that is public.

    The results name adapters, networks, addresses and firewall rules of this machine. Read them before you publish them.

    Checks that need more rights or more consent than they were given are skipped, and say so. Nothing asks for elevation:
    start it in an administrator's window to have all of them.

.PARAMETER Distribution
    The distro to test with. Default: the default one.
.PARAMETER SecondDistribution
    Another distro with wslnetd and python3, for the check of two.
.PARAMETER LanClient
    A host for `ssh` (with key, without questions) on the same local network, with python3. Default: self-addressed, which
    means that this machine connects to its own addresses; that does not pass the firewall.
.PARAMETER Companion
    The path of wslnet-companion.exe, if it is not installed.
.PARAMETER Only
    Names of the checks to run. -List shows them.
.PARAMETER Skip
    Names of checks to leave out.
.PARAMETER FirstPort
    The first of the ports that are used, upwards.
.PARAMETER AllowShutdown
    Also run `wsl --shutdown`. It ends everything that runs in WSL, in all distros.
.PARAMETER AllowSleep
    Also ask for the machine to be put to sleep, by hand.
.PARAMETER AllowNetworkChange
    Also set the category of the network to Public for some seconds.
.PARAMETER AllowAddressChange
    Also add an address to the adapter that -AddressInterface names, and remove it. Not for adapters with DHCP.
.PARAMETER AddressInterface
    The alias of that adapter.
.PARAMETER OutFile
    Where the table goes; the same name with .json gets everything that was seen. Default: wslnet-verified.md
.PARAMETER List
    Print the checks and end.
.PARAMETER SelfTest
    Check this program's own reading, comparing and writing with samples, and end. Every run begins with it.
.EXAMPLE
    powershell -ExecutionPolicy Bypass -File verify-windows.ps1 -Distribution Ubuntu -LanClient me@laptop
#>
[CmdletBinding()]
param(
    [switch] $AllowShutdown,
    [switch] $AllowSleep,
    [switch] $AllowNetworkChange,
    [switch] $AllowAddressChange,
    [switch] $List,
    [switch] $SelfTest,
    [string] $Distribution = '',
    [string] $SecondDistribution = '',
    [string] $LanClient = 'self-addressed',
    [string] $Companion = '',
    [string[]] $Only = @(),
    [string[]] $Skip = @(),
    [ValidateRange(1024, 60000)] [int] $FirstPort = 28100,
    [string] $AddressInterface = '',
    [string] $OutFile = 'wslnet-verified.md'
)

Set-StrictMode -Version 3.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

# The group of all firewall rules of wslnet, the name of its service, and that of its process.
$Group = 'wslnet'
$ServiceName = 'wslnet-companion'
$ProcessName = 'wslnet-companion'
# What a listener of ours says first, so that a connection to somebody else cannot count.
$Greeting = 'wslnet-verify'
# How long a set of forwards outlives its daemon: the lease, 15 s, and some time to notice.
$LeaseMilliseconds = 20000
$PortProxyTypes = 'v4tov4', 'v4tov6', 'v6tov4', 'v6tov6'
# WSL's own id, by which Hyper-V's firewall knows its VM (learn.microsoft.com/windows/wsl/networking).
$VMCreatorId = '{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}'

# What runs in the distro and on the LAN client: it takes one command a line and answers each with one line. It ends with its
# standard input, and what it opened or wrote ends with it.
$HelperProgram = @'
import os, socket, subprocess, sys, threading

CONFIG = "/etc/wslnetd/config.d/zz-verify-windows.toml"
held = {}
stopped = set()


def say(text):
    sys.stdout.write(text.replace("\n", " ") + "\n")
    sys.stdout.flush()


def serve(connection):
    try:
        connection.settimeout(60)
        connection.sendall(b"wslnet-verify\n")
        for line in connection.makefile("rb"):
            words = line.split()
            if words[:1] == [b"PULL"]:
                left = min(int(words[1]), 1 << 31)
                block = bytes(1 << 16)
                while left > 0:
                    connection.sendall(block[:left])
                    left -= len(block)
            else:
                connection.sendall(line)
    except (OSError, ValueError):
        pass
    finally:
        connection.close()


def accept(listener):
    while True:
        try:
            connection = listener.accept()[0]
        except OSError:
            return
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def answer(sock):
    sock.settimeout(0.1)
    while sock in held.values():
        try:
            data, peer = sock.recvfrom(2048)
            sock.sendto(data, peer)
        except socket.timeout:
            pass
        except OSError:
            return


def open_port(kind, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    is_tcp = kind == "tcp"
    sock = socket.socket(family, socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if is_tcp:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    if is_tcp:
        sock.listen(128)
    held[kind, port] = sock
    threading.Thread(target=accept if is_tcp else answer, args=(sock,), daemon=True).start()


def close_port(kind, port):
    sock = held.pop((kind, port))
    if kind == "tcp":
        # A thread waits in accept(), which would keep the socket listening.
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def probe(address, port, seconds):
    try:
        with socket.create_connection((address, port), seconds) as connection:
            connection.settimeout(seconds)
            greeting = connection.recv(64)
            return "open" if greeting.startswith(b"wslnet-verify") else "other"
    except socket.timeout:
        return "timeout"
    except OSError:
        return "refused"


def unit(action):
    subprocess.run(["systemctl", action, "wslnetd"], check=True, timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def configure(text):
    if text:
        os.makedirs(os.path.dirname(CONFIG), exist_ok=True)
        with open(CONFIG, "w") as file:
            file.write(text)
        os.chmod(CONFIG, 0o644)
    elif os.path.exists(CONFIG):
        os.remove(CONFIG)
    unit("reload")


def obey(words):
    if words[0] == "open":
        open_port(words[1], words[2], int(words[3]))
    elif words[0] == "close":
        close_port(words[1], int(words[2]))
    elif words[0] == "probe":
        return probe(words[1], int(words[2]), float(words[3]))
    elif words[0] == "configure":
        configure(bytes.fromhex(words[1]).decode() if len(words) > 1 else "")
    elif words[:2] == ["unit", "stop"]:
        stopped.add("wslnetd")
        unit("stop")
    elif words[:2] == ["unit", "start"]:
        unit("start")
        stopped.clear()
    else:
        raise ValueError("no such command: " + words[0])
    return "ok"


say("ready")
try:
    for line in sys.stdin:
        try:
            say(obey(line.split()))
        except Exception as error:
            say("error %s: %s" % (type(error).__name__, error))
finally:
    try:
        if os.path.exists(CONFIG) and os.access(CONFIG, os.W_OK):
            configure("")
    finally:
        if stopped:
            unit("start")
'@
# Reads the helper from standard input: a line to be passed over, as .NET Framework may begin with a byte order mark, the length,
# and the text.
$Bootstrap = 'import sys;sys.stdin.readline();exec(sys.stdin.read(int(sys.stdin.readline())))'

$script:Results = New-Object System.Collections.Generic.List[object]
$script:Undo = New-Object System.Collections.Generic.List[object]
$script:Notes = New-Object System.Collections.Generic.List[string]
$script:Helpers = @{}
$script:NextPort = $FirstPort
$script:Facts = [ordered]@{}
$script:Mode = ''

# ---------------------------------------------------------------- saying what came of it

# The check cannot be made here. Not a failure.
function Stop-Skipped {
    param([string] $Reason)
    throw (New-Object System.OperationCanceledException $Reason)
}

function Confirm-That {
    param([bool] $Holds, [string] $Expected)
    if (-not $Holds) { throw "not seen: $Expected" }
}

function Add-Note {
    param([string] $Text)
    $script:Notes.Add($Text)
}

# Remembers how to put something back. The newest comes first, and each is tried whatever became of the others.
function Register-Undo {
    param([string] $What, [scriptblock] $Action, [object[]] $Arguments = @())
    $script:Undo.Add([pscustomobject]@{ What = $What; Action = $Action; Arguments = $Arguments })
}

# Puts back everything that was registered after the mark.
function Invoke-Undo {
    param([int] $Mark = 0)
    while ($script:Undo.Count -gt $Mark) {
        $last = $script:Undo.Count - 1
        $entry = $script:Undo[$last]
        $script:Undo.RemoveAt($last)
        $values = @($entry.Arguments)
        try {
            & $entry.Action @values
        } catch {
            Write-Host "NOT PUT BACK: $($entry.What): $($_.Exception.Message)" -ForegroundColor Red
            $script:Results.Add((New-Result 'cleanup' 'everything is put back' 'fail' "$($entry.What): $($_.Exception.Message)" 0 ''))
        }
    }
}

function New-Result {
    param([string] $Name, [string] $Claim, [string] $Outcome, [string] $Detail, [double] $Seconds, [string] $Evidence)
    [pscustomobject]@{
        name = $Name; claim = $Claim; result = $Outcome; detail = $Detail
        seconds = [math]::Round($Seconds, 1); evidence = $Evidence
    }
}

# Waits until the condition holds and tells after how many milliseconds. Its own variables begin with `until`, because the
# condition is evaluated below this function and would see them.
function Wait-Until {
    param([string] $UntilWhat, [int] $UntilMilliseconds, [scriptblock] $UntilTrue)
    $untilClock = [System.Diagnostics.Stopwatch]::StartNew()
    do {
        if (& $UntilTrue) { return $untilClock.ElapsedMilliseconds }
        Start-Sleep -Milliseconds 10
    } while ($untilClock.ElapsedMilliseconds -lt $UntilMilliseconds)
    throw "not seen within $UntilMilliseconds ms: $UntilWhat"
}

# Holds for all of the time.
function Confirm-Stays {
    param([string] $UntilWhat, [int] $UntilMilliseconds, [scriptblock] $UntilTrue)
    $untilClock = [System.Diagnostics.Stopwatch]::StartNew()
    do {
        Confirm-That (& $UntilTrue) $UntilWhat
        Start-Sleep -Milliseconds 50
    } while ($untilClock.ElapsedMilliseconds -lt $UntilMilliseconds)
}

# ---------------------------------------------------------------- other programs

# How a program is started. Its arguments are quoted as Windows programs read them; what would need more than that is refused, so
# that no argument can become two.
function New-StartInfo {
    param([string] $Path, [string[]] $Arguments)
    $quoted = foreach ($argument in $Arguments) {
        if ($argument -eq '' -or $argument -match '["\r\n]' -or $argument.EndsWith('\')) {
            throw "an argument that is not passed on: $argument"
        }
        if ($argument -match '\s') { '"' + $argument + '"' } else { $argument }
    }
    $info = New-Object System.Diagnostics.ProcessStartInfo
    $info.FileName = $Path
    $info.Arguments = @($quoted) -join ' '
    $info.UseShellExecute = $false
    $info.CreateNoWindow = $true
    $info.RedirectStandardInput = $true
    $info.RedirectStandardOutput = $true
    $info.StandardOutputEncoding = New-Object System.Text.UTF8Encoding $false
    # wsl.exe prints UTF-16 without it.
    $info.EnvironmentVariables['WSL_UTF8'] = '1'
    $info
}

# Runs a program to its end, with a deadline.
function Invoke-Program {
    param([string] $Path, [string[]] $Arguments, [int] $Milliseconds = 20000)
    $info = New-StartInfo $Path $Arguments
    $info.RedirectStandardError = $true
    $process = [System.Diagnostics.Process]::Start($info)
    try {
        $output = $process.StandardOutput.ReadToEndAsync()
        $complaint = $process.StandardError.ReadToEndAsync()
        $process.StandardInput.Close()
        if (-not $process.WaitForExit($Milliseconds)) {
            $process.Kill()
            throw "no end within $Milliseconds ms: $Path $($info.Arguments)"
        }
        # Somebody else may still hold the pipe.
        if (-not ($output.Wait(5000) -and $complaint.Wait(5000))) { throw "output without an end: $Path $($info.Arguments)" }
        [pscustomobject]@{ ExitCode = $process.ExitCode; Output = $output.Result; Complaint = $complaint.Result }
    } finally {
        $process.Dispose()
    }
}

function Get-WslPath { Join-Path ([Environment]::SystemDirectory) 'wsl.exe' }

# Runs a program in the distro, without a shell, and gives its output.
function Invoke-Wsl {
    param([string] $Distro, [string[]] $Arguments, [string] $User = '', [int] $Milliseconds = 30000)
    $all = @('--distribution', $Distro)
    if ($User) { $all += @('--user', $User) }
    $ran = Invoke-Program (Get-WslPath) ($all + @('--exec') + $Arguments) $Milliseconds
    if ($ran.ExitCode -ne 0) { throw "$($Arguments -join ' ') in ${Distro}: $($ran.Complaint.Trim()) $($ran.Output.Trim())" }
    $ran.Output.Trim()
}

# ---------------------------------------------------------------- the helper in the distro or on the client

function Start-Helper {
    param([string] $Key, [string] $Path, [string[]] $Arguments)
    $process = [System.Diagnostics.Process]::Start((New-StartInfo $Path $Arguments))
    $helper = [pscustomobject]@{ Key = $Key; Process = $process; IsEnded = $false }
    $script:Helpers[$Key] = $helper
    $text = $HelperProgram.Replace("`r", '') + "`n"
    Send-Bytes $helper ("`n$($text.Length)`n" + $text)
    $ready = Read-Answer $helper 60000
    if ($ready -ne 'ready') {
        Stop-Helper $Key
        throw "the helper did not start ($Key): is python3 there? It said: $ready"
    }
    $helper
}

function Send-Bytes {
    param([object] $To, [string] $Text)
    $bytes = [System.Text.Encoding]::ASCII.GetBytes($Text)
    $stream = $To.Process.StandardInput.BaseStream
    $stream.Write($bytes, 0, $bytes.Length)
    $stream.Flush()
}

function Read-Answer {
    param([object] $From, [int] $Milliseconds)
    $line = $From.Process.StandardOutput.ReadLineAsync()
    if (-not $line.Wait($Milliseconds)) {
        # The read is still under way, so this one is of no use any more.
        Stop-Helper $From.Key
        throw "the helper did not answer within $Milliseconds ms ($($From.Key))"
    }
    if ($null -eq $line.Result) { return '' }
    $line.Result.Trim()
}

function Send-Command {
    param([object] $To, [string] $Command, [int] $Milliseconds = 70000)
    Send-Bytes $To "$Command`n"
    $answer = Read-Answer $To $Milliseconds
    if ($answer -eq '' -or $answer.StartsWith('error')) { throw "the helper could not `"$Command`": $answer" }
    $answer
}

# Its standard input ends, and it puts back what it did; if it does not, it is ended.
function Stop-Helper {
    param([string] $Key)
    if (-not $script:Helpers.ContainsKey($Key)) { return }
    $helper = $script:Helpers[$Key]
    $process = $helper.Process
    $helper.IsEnded = $true
    $script:Helpers.Remove($Key)
    try { $process.StandardInput.Close() } catch { Write-Verbose "the pipe was closed already: $_" }
    if (-not $process.WaitForExit(20000)) { $process.Kill() }
    $process.Dispose()
}

# The helper in a distro: as its user, as root, or with a variable in its environment.
function Get-DistroHelper {
    param([string] $Distro, [string] $User = '', [string] $Variable = '')
    $key = "$Distro/$User/$Variable"
    if ($script:Helpers.ContainsKey($key) -and -not $script:Helpers[$key].Process.HasExited) { return $script:Helpers[$key] }
    $all = @('--distribution', $Distro)
    if ($User) { $all += @('--user', $User) }
    $all += '--exec'
    if ($Variable) { $all += @('/usr/bin/env', $Variable) }
    Start-Helper $key (Get-WslPath) ($all + @('python3', '-c', $Bootstrap))
}

# The helper on the LAN client. ssh hands the command to a shell there, hence the single quotes.
function Get-LanHelper {
    if ($script:Helpers.ContainsKey('lan') -and -not $script:Helpers['lan'].Process.HasExited) { return $script:Helpers['lan'] }
    $ssh = @(Get-Command -Name 'ssh' -CommandType Application -ErrorAction SilentlyContinue)
    if ($ssh.Count -eq 0) { Stop-Skipped 'there is no ssh on this machine' }
    $options = @('-o', 'BatchMode=yes', '-o', 'ConnectTimeout=10', '-T', '--', $LanClient)
    Start-Helper 'lan' $ssh[0].Source ($options + @('python3', '-c', "'$Bootstrap'"))
}

# A listener in the distro, until the check ends.
function Open-Listener {
    param([int] $Port, [string] $Address = '0.0.0.0', [string] $Kind = 'tcp', [string] $Distro = $script:Distro, [string] $Variable = '')
    $helper = Get-DistroHelper $Distro '' $Variable
    [void](Send-Command $helper "open $Kind $Address $Port")
    Register-Undo "listener $Kind $Port in $Distro" {
        param($Where, $What)
        # With its helper the listener went, too.
        if (-not $Where.IsEnded) { [void](Send-Command $Where $What) }
    } @($helper, "close $Kind $Port")
}

# Closes it before the check ends.
function Close-Listener {
    param([int] $Port, [string] $Kind = 'tcp', [string] $Distro = $script:Distro)
    [void](Send-Command (Get-DistroHelper $Distro) "close $Kind $Port")
    $left = @($script:Undo | Where-Object { -not ($_.Arguments.Count -eq 2 -and $_.Arguments[1] -eq "close $Kind $Port") })
    $script:Undo.Clear()
    foreach ($entry in $left) { $script:Undo.Add($entry) }
}

# The distro's configuration for the time of this run; empty for none.
function Set-DistroConfig {
    param([string] $Text)
    $hex = -join @([System.Text.Encoding]::ASCII.GetBytes($Text.Replace("`r", '')) | ForEach-Object { $_.ToString('x2') })
    $root = Get-DistroHelper $script:Distro 'root'
    [void](Send-Command $root ("configure $hex".Trim()))
}

# ---------------------------------------------------------------- what Windows shows

# "192.168.1.20:80" or "[fd00::1]:80", taken apart.
function ConvertTo-Endpoint {
    param([string] $Text)
    if ($Text -notmatch '^(?:\[(?<six>[0-9A-Fa-f:.%]+)\]|(?<four>[0-9.]+)):(?<port>[0-9]{1,5})$') { throw "no address with a port: $Text" }
    $address = if ($Matches.ContainsKey('six')) { $Matches['six'] } else { $Matches['four'] }
    [pscustomobject]@{ Address = $address; Port = [int]$Matches['port'] }
}

# What stands in JSON as a list, one by one; Windows PowerShell and PowerShell 7 differ in that.
function ConvertFrom-JsonList {
    param([string] $Text)
    $parsed = ConvertFrom-Json -InputObject $Text
    foreach ($item in @($parsed)) { if ($null -ne $item) { $item } }
}

function Get-CompanionAnswer {
    param([string] $Command)
    $ran = Invoke-Program $script:CompanionPath @($Command, '--json')
    if ($ran.ExitCode -ne 0) { throw "wslnet-companion ${Command}: $($ran.Complaint.Trim())" }
    $ran.Output
}

function Get-CompanionStatus { ConvertFrom-Json -InputObject (Get-CompanionAnswer 'status') }

function Get-Forwards { ConvertFrom-JsonList (Get-CompanionAnswer 'list') }

# The forward that wants this port; nothing if there is none.
function Get-Forward {
    param([int] $Port, [string] $Kind = 'tcp')
    Get-Forwards | Where-Object { $_.wanted -eq $Port -and $_.protocol -eq $Kind } | Select-Object -First 1
}

function Wait-Forward {
    param([int] $Port, [string] $State = 'active', [string] $Kind = 'tcp', [int] $Milliseconds = 10000)
    [void](Wait-Until "a forward of port $Port that is $State" $Milliseconds {
            $forward = Get-Forward $Port $Kind
            $null -ne $forward -and $forward.state -eq $State
        })
    Get-Forward $Port $Kind
}

# The listening TCP sockets of Windows with their owners. Without a match the cmdlet reports an error, which is none here.
function Get-Listeners {
    Get-NetTCPConnection -State Listen -ErrorAction SilentlyContinue
}

function Get-ImageName {
    param([int] $Id)
    $process = Get-Process -Id $Id -ErrorAction SilentlyContinue
    if ($null -eq $process) { '' } else { $process.ProcessName }
}

# The companion's process: the one that holds the control port.
function Get-CompanionId {
    $control = ConvertTo-Endpoint ([string](Get-CompanionStatus).control)
    $holders = @(Get-Listeners | Where-Object { $_.LocalPort -eq $control.Port -and (Get-ImageName $_.OwningProcess) -eq $ProcessName })
    Confirm-That ($holders.Count -gt 0) "$ProcessName listens on its control port $($control.Port)"
    [int]$holders[0].OwningProcess
}

function Get-CompanionIdOrZero {
    try { Get-CompanionId } catch { 0 }
}

# The image that listens at an address of Windows.
function Get-HolderOf {
    param([string] $Address, [int] $Port)
    $found = @(Get-Listeners | Where-Object { $_.LocalPort -eq $Port -and $_.LocalAddress -eq $Address })
    if ($found.Count -eq 0) { '' } else { Get-ImageName $found[0].OwningProcess }
}

# A port that nobody has on Windows, that lies in no excluded range, and that no check had before.
function Get-FreePort {
    $taken = @(Get-Listeners | ForEach-Object { [int]$_.LocalPort })
    $ranges = @(Get-ExcludedRanges)
    while ($script:NextPort -lt 65000) {
        $port = $script:NextPort
        $script:NextPort++
        $excluded = @($ranges | Where-Object { $port -ge $_.First -and $port -le $_.Last })
        if ($taken -notcontains $port -and $excluded.Count -eq 0) { return $port }
    }
    throw 'there is no free port left'
}

# The rows of `netsh ... show excludedportrange`, in whatever language the rest is.
function ConvertFrom-ExcludedRanges {
    param([string] $Text)
    foreach ($line in ($Text -split "`n")) {
        if ($line -match '^\s*(?<first>\d{1,5})\s+(?<last>\d{1,5})\s*(?<star>\*?)\s*$') {
            $range = [pscustomobject]@{ First = [int]$Matches['first']; Last = [int]$Matches['last']; Administered = $Matches['star'] -eq '*' }
            if ($range.First -le $range.Last) { $range }
        }
    }
}

function Get-ExcludedRanges {
    $netsh = Join-Path ([Environment]::SystemDirectory) 'netsh.exe'
    $ran = Invoke-Program $netsh @('interface', 'ipv4', 'show', 'excludedportrange', 'protocol=tcp')
    ConvertFrom-ExcludedRanges $ran.Output
}

# The addresses on which forwards of reach lan are to be, the first one IPv4.
function Get-LanAddresses {
    $addresses = @((Get-CompanionStatus).addresses | ForEach-Object { [string]$_ })
    $four = @($addresses | Where-Object { $_ -notmatch ':' })
    $six = @($addresses | Where-Object { $_ -match ':' })
    $four + $six
}

function Get-LanAddress {
    $addresses = @(Get-LanAddresses)
    if ($addresses.Count -eq 0) { Stop-Skipped 'Windows has no network on which forwards may be' }
    $addresses[0]
}

# ---------------------------------------------------------------- connections

# Tries many ports at once. Each is `open`, `refused` or `timeout`. Windows tries a refused connection three times, so that it
# takes about two seconds.
function Test-Ports {
    param([object[]] $Targets, [int] $Milliseconds = 4000)
    $tries = @(foreach ($target in $Targets) {
            $address = [System.Net.IPAddress]::Parse($target.Address)
            $client = New-Object System.Net.Sockets.TcpClient -ArgumentList $address.AddressFamily
            [pscustomobject]@{ Target = $target; Client = $client; Task = $client.ConnectAsync($address, [int]$target.Port) }
        })
    try {
        $clock = [System.Diagnostics.Stopwatch]::StartNew()
        while ($clock.ElapsedMilliseconds -lt $Milliseconds -and @($tries | Where-Object { -not $_.Task.IsCompleted }).Count -gt 0) {
            Start-Sleep -Milliseconds 5
        }
        foreach ($try in $tries) {
            $state = if (-not $try.Task.IsCompleted) { 'timeout' } elseif ($try.Client.Connected) { 'open' } else { 'refused' }
            [pscustomobject]@{ Address = $try.Target.Address; Port = $try.Target.Port; State = $state }
        }
    } finally {
        foreach ($try in $tries) { $try.Client.Close() }
    }
}

function Test-Port {
    param([string] $Address, [int] $Port, [int] $Milliseconds = 4000)
    (Test-Ports @([pscustomobject]@{ Address = $Address; Port = $Port }) $Milliseconds).State
}

# The first line that a service says, or nothing. An open port alone proves no service: WSL's own relay accepts first and
# connects then.
function Get-Greeting {
    param([string] $Address, [int] $Port, [int] $Milliseconds = 2000, [int] $ConnectMilliseconds = 200)
    $ip = [System.Net.IPAddress]::Parse($Address)
    $client = New-Object System.Net.Sockets.TcpClient -ArgumentList $ip.AddressFamily
    try {
        $connecting = $client.ConnectAsync($ip, $Port)
        $clock = [System.Diagnostics.Stopwatch]::StartNew()
        while (-not $connecting.IsCompleted -and $clock.ElapsedMilliseconds -lt $ConnectMilliseconds) { Start-Sleep -Milliseconds 1 }
        if (-not $client.Connected) { return '' }
        $stream = $client.GetStream()
        $stream.ReadTimeout = $Milliseconds
        $buffer = New-Object byte[] 64
        $count = $stream.Read($buffer, 0, $buffer.Length)
        [System.Text.Encoding]::ASCII.GetString($buffer, 0, $count).Trim()
    } catch [System.IO.IOException] {
        ''
    } finally {
        $client.Close()
    }
}

function Test-Served {
    param([string] $Address, [int] $Port)
    (Get-Greeting $Address $Port) -eq $Greeting
}

function Wait-Served {
    param([string] $Address, [int] $Port, [int] $Milliseconds = 10000)
    Wait-Until "${Address}:$Port answers" $Milliseconds { Test-Served $Address $Port }
}

function Wait-Closed {
    param([string] $Address, [int] $Port, [int] $Milliseconds = 5000)
    Wait-Until "${Address}:$Port is closed" $Milliseconds { (Test-Port $Address $Port 200) -ne 'open' }
}

# From the LAN client, if there is one: `open`, `other`, `refused` or `timeout`.
function Get-LanProbe {
    param([string] $Address, [int] $Port)
    Send-Command (Get-LanHelper) "probe $Address $Port 3" 10000
}

# What is seen at an address from where a neighbour would look.
function Confirm-FromLan {
    param([string] $Address, [int] $Port, [bool] $Open)
    if ($LanClient -eq 'self-addressed') {
        $seen = if (Test-Served $Address $Port) { 'open' } else { 'closed' }
        Add-Note "${Address}:${Port} $seen from this machine (not through the firewall)"
        Confirm-That (($seen -eq 'open') -eq $Open) "${Address}:$Port is open: $Open"
        return
    }
    $seen = Get-LanProbe $Address $Port
    Add-Note "${Address}:${Port} $seen from $LanClient"
    Confirm-That (($seen -eq 'open') -eq $Open) "${Address}:$Port is open from ${LanClient}: $Open"
}

# ---------------------------------------------------------------- what belongs to others

function Get-HostsPath { Join-Path ([Environment]::SystemDirectory) 'drivers\etc\hosts' }

# A hosts file without the lines of wslnet, as text in which each byte is one character. What is left is of others. Where the last
# line before the block had no end, the first mark says so, and that line's end goes with it.
function Remove-HostsBlock {
    param([string] $Text)
    $rest = [regex]::Replace($Text, '(?m)^(?:# END wslnet[^\n]*|[^\n]* # wslnet\r?)(?:\n|\z)', '')
    $rest = [regex]::Replace($rest, '\r?\n# BEGIN wslnet[^\n]*the line above had no end[^\n]*(?:\n|\z)', '')
    [regex]::Replace($rest, '(?m)^# BEGIN wslnet[^\n]*(?:\n|\z)', '')
}

function Get-HostsText { [System.Text.Encoding]::GetEncoding(28591).GetString([System.IO.File]::ReadAllBytes((Get-HostsPath))) }

# Who may do what with a file. Without the owner, which a replaced file does not keep ("DACLs" are all that ReplaceFile promises).
function Get-Access {
    param([string] $Path)
    (Get-Acl -LiteralPath $Path).GetSecurityDescriptorSddlForm([System.Security.AccessControl.AccessControlSections]::Access)
}

# In the place of a text that is nobody's business.
function Get-Digest {
    param([string] $Text)
    $sha = [System.Security.Cryptography.SHA256]::Create()
    try {
        [System.BitConverter]::ToString($sha.ComputeHash([System.Text.Encoding]::UTF8.GetBytes($Text))).Replace('-', '')
    } finally {
        $sha.Dispose()
    }
}

# The values of a key of the registry, as name, kind and content, in order.
function Get-RegistryLines {
    param([string] $Path)
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey($Path)
    if ($null -eq $key) { return }
    try {
        foreach ($name in @($key.GetValueNames() | Sort-Object)) {
            $content = $key.GetValue($name, $null, [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
            "$name|$($key.GetValueKind($name))|$content"
        }
    } finally {
        $key.Dispose()
    }
}

function Get-PortProxyPath {
    param([string] $Type)
    "SYSTEM\CurrentControlSet\Services\PortProxy\$Type\tcp"
}

# Portproxy entries that do not lead to the VM.
function Select-ForeignEntries {
    param([string[]] $Lines, [string] $VmAddress)
    foreach ($line in $Lines) {
        if ($VmAddress -eq '' -or -not $line.Contains("|$VmAddress/")) { $line }
    }
}

# Firewall rules as the registry has them, without those of wslnet.
function Select-ForeignRules {
    param([string[]] $Lines)
    foreach ($line in $Lines) {
        if (-not $line.Contains("|EmbedCtxt=$Group|")) { $line }
    }
}

# Everything on this machine that a check could touch and that is not ours, as lines.
function Get-Snapshot {
    $lines = New-Object System.Collections.Generic.List[string]
    $hosts = Get-HostsPath
    $lines.Add("hosts bytes: $(Get-Digest (Remove-HostsBlock (Get-HostsText)))")
    $lines.Add("hosts access: $(Get-Access $hosts)")
    $lines.Add("hosts attributes: $([System.IO.File]::GetAttributes($hosts))")
    foreach ($type in $PortProxyTypes) {
        $entries = @(Get-RegistryLines (Get-PortProxyPath $type))
        foreach ($line in @(Select-ForeignEntries $entries $script:VmAddress)) { $lines.Add("portproxy ${type}: $line") }
    }
    $rules = @(Get-RegistryLines 'SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules')
    foreach ($line in @(Select-ForeignRules $rules)) { $lines.Add("firewall: $line") }
    foreach ($network in @(Get-NetConnectionProfile -ErrorAction SilentlyContinue | Sort-Object -Property InterfaceIndex)) {
        $lines.Add("network: $($network.InterfaceAlias) $($network.NetworkCategory)")
    }
    foreach ($service in @(Get-Service -Name 'iphlpsvc' -ErrorAction SilentlyContinue)) { $lines.Add("IP Helper: $($service.Status)") }
    $lines.ToArray()
}

# What is in one of the two only, with its sign. Byte for byte: case counts.
function Compare-Snapshot {
    param([string[]] $Before, [string[]] $After)
    $old = [System.Collections.Generic.HashSet[string]]::new([System.StringComparer]::Ordinal)
    $new = [System.Collections.Generic.HashSet[string]]::new([System.StringComparer]::Ordinal)
    foreach ($line in $Before) { [void]$old.Add($line) }
    foreach ($line in $After) { [void]$new.Add($line) }
    foreach ($line in $Before) { if (-not $new.Contains($line)) { "- $line" } }
    foreach ($line in $After) { if (-not $old.Contains($line)) { "+ $line" } }
}

# ---------------------------------------------------------------- the checks

function Test-Facts {
    $version = Get-ItemProperty -LiteralPath 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
    $script:Facts['Windows'] = "$($version.EditionID) $($version.CurrentBuildNumber).$($version.UBR)"
    $script:Facts['PowerShell'] = "$($PSVersionTable.PSVersion) $($PSVersionTable.PSEdition)"
    $wsl = (Invoke-Program (Get-WslPath) @('--version')).Output
    $script:Facts['WSL'] = (@($wsl -split "`n" | ForEach-Object { $_.Trim() } | Where-Object { $_ } | Select-Object -First 2) -join ', ')
    $script:Facts['networking mode'] = $script:Mode
    $script:Facts['distro'] = $script:Distro
    $script:Facts['elevated'] = [string](Test-Elevated)
    $script:Facts['wslnet-companion'] = (Invoke-Program $script:CompanionPath @('--version')).Output.Trim()
    $script:Facts['form'] = if (Test-IsService) { 'service' } else { 'logon' }
    $status = Get-CompanionStatus
    $script:Facts['backend'] = [string]$status.backend
    $script:Facts['addresses'] = @($status.addresses) -join ' '
    $script:Facts['names'] = [string]$status.names
    $profiles = @(Get-NetFirewallProfile | ForEach-Object { "$($_.Name) $(if ([string]$_.Enabled -eq 'True') { 'on' } else { 'off' })" })
    $script:Facts['firewall'] = $profiles -join ', '
    $networks = @(Get-NetConnectionProfile -ErrorAction SilentlyContinue | ForEach-Object { "$($_.InterfaceAlias): $($_.NetworkCategory)" })
    $script:Facts['networks'] = $networks -join ', '
    $hosts = Get-HostsText
    $script:Facts['hosts file'] = "byte order mark: $($hosts.StartsWith([string][char]0xEF + [char]0xBB)), CRLF: $($hosts.Contains("`r`n"))"
    foreach ($key in @($script:Facts.Keys)) { Add-Note "${key}: $($script:Facts[$key])" }
}

function Test-Timing {
    $address = Get-LanAddress
    $opened = New-Object System.Collections.Generic.List[long]
    $closed = New-Object System.Collections.Generic.List[long]
    # Its start is no part of what is measured.
    [void](Get-DistroHelper $script:Distro)
    foreach ($round in 1..5) {
        $port = Get-FreePort
        $clock = [System.Diagnostics.Stopwatch]::StartNew()
        Open-Listener $port
        [void](Wait-Served $address $port)
        $opened.Add($clock.ElapsedMilliseconds)
        $clock.Restart()
        Close-Listener $port
        [void](Wait-Closed $address $port)
        $closed.Add($clock.ElapsedMilliseconds)
        # The damper makes a port wait that comes and goes more than five times in ten seconds; each round has its own.
        Write-Verbose "round $round"
    }
    Confirm-That ((Test-Port $address $port) -eq 'refused') 'the closed port refuses'
    $open = $opened.ToArray() | Sort-Object
    $close = $closed.ToArray() | Sort-Object
    Add-Note "listen to served on Windows, through wsl.exe's pipe, ms: median $($open[2]), worst $($open[4])"
    Add-Note "close to closed, ms: median $($close[2]), worst $($close[4])"
}

function Test-Lan {
    $port = Get-FreePort
    Open-Listener $port
    [void](Wait-Forward $port)
    foreach ($address in @(Get-LanAddresses)) {
        # A link-local address has a meaning on its own link only.
        if ($address -notmatch '^fe80:') { Confirm-FromLan $address $port $true }
    }
    Close-Listener $port
    [void](Wait-Closed (Get-LanAddress) $port)
    Confirm-FromLan (Get-LanAddress) $port $false
}

# Every listener of the VM against every address of the machine: open exactly where `list` says so.
function Test-Scan {
    $port = Get-FreePort
    Open-Listener $port
    [void](Wait-Forward $port)
    $rows = @(ConvertFrom-JsonList (Invoke-Wsl $script:Distro @('/usr/local/bin/wslnetd', 'list', '--json')))
    $ports = @(@($rows | Where-Object { $_.protocol -eq 'tcp' } | ForEach-Object { [int]$_.port }) + $port | Sort-Object -Unique)
    $addresses = @(Get-NetIPAddress | Where-Object {
            $_.IPAddress -ne '::1' -and $_.IPAddress -notmatch '^(127\.|fe80:)' -and [string]$_.AddressState -eq 'Preferred'
        } | ForEach-Object { [string]$_.IPAddress })
    $allowed = @(Get-Forwards | Where-Object { $_.protocol -eq 'tcp' } | ForEach-Object { @($_.listen) } | ForEach-Object { [string]$_ })
    $foreign = @(Get-Listeners | Where-Object { (Get-ImageName $_.OwningProcess) -ne $ProcessName })
    $targets = @(foreach ($address in $addresses) { foreach ($each in $ports) { [pscustomobject]@{ Address = $address; Port = $each } } })
    $seen = @(for ($from = 0; $from -lt $targets.Count; $from += 500) {
            Test-Ports @($targets[$from..([math]::Min($from + 499, $targets.Count - 1))])
        })
    $wrong = @(foreach ($one in $seen) {
            $text = if ($one.Address -match ':') { "[$($one.Address)]:$($one.Port)" } else { "$($one.Address):$($one.Port)" }
            $others = @($foreign | Where-Object { $_.LocalPort -eq $one.Port -and $_.LocalAddress -in $one.Address, '0.0.0.0', '::' })
            $expected = $allowed -contains $text
            if ($one.State -eq 'open' -and -not $expected -and $others.Count -eq 0) { "$text is open and not listed" }
            if ($one.State -ne 'open' -and $expected) { "$text is listed and $($one.State)" }
        })
    Add-Note "$($seen.Count) pairs of address and port, $(@($seen | Where-Object { $_.State -eq 'open' }).Count) open, $($allowed.Count) listed"
    Confirm-That ($wrong.Count -eq 0) "nothing but what is listed: $($wrong -join '; ')"
}

function Test-Wildcard {
    $port = Get-FreePort
    Open-Listener $port
    [void](Wait-Forward $port)
    $id = Get-CompanionId
    $tcp = @(Get-Listeners | Where-Object { $_.OwningProcess -eq $id })
    $udp = @(Get-NetUDPEndpoint -ErrorAction SilentlyContinue | Where-Object { $_.OwningProcess -eq $id })
    $wild = @($tcp + $udp | Where-Object { $_.LocalAddress -in '0.0.0.0', '::' })
    Add-Note "pid $id has $($tcp.Count) TCP listeners and $($udp.Count) UDP sockets"
    Confirm-That ($tcp.Count -gt 0) 'the companion listens'
    Confirm-That ($wild.Count -eq 0) "no wildcard: $(@($wild | ForEach-Object { "$($_.LocalAddress):$($_.LocalPort)" }) -join ' ')"
}

# A program of Windows has the wildcard: it keeps its clients, and the forward says who has the port.
function Test-Conflict {
    $address = Get-LanAddress
    $port = Get-FreePort
    $listener = New-Object System.Net.Sockets.TcpListener -ArgumentList ([System.Net.IPAddress]::Any), $port
    $listener.ExclusiveAddressUse = $false
    $listener.Start()
    Register-Undo 'a listener of this program' { param($It) $It.Stop() } @($listener)
    Open-Listener $port
    $forward = Wait-Forward $port 'conflict'
    Add-Note "the reason given: $($forward.reason)"
    Confirm-That ($forward.reason.Contains("pid $PID")) "the reason names this process, pid $PID"
    Confirm-That ((Get-Greeting $address $port 500) -ne $Greeting) 'the client does not get the service in the distro'
    Confirm-That ($listener.Pending()) 'the client is the program''s on Windows'
    $listener.Stop()
    $after = Wait-Served $address $port
    Add-Note "served $after ms after the program went"
}

# WSL first: the daemon stands still until WSL has the port.
function Test-WslFirst {
    $address = Get-LanAddress
    $port = Get-FreePort
    $root = Get-DistroHelper $script:Distro 'root'
    Register-Undo 'wslnetd is started' { param($Where) [void](Send-Command $Where 'unit start') } @($root)
    [void](Send-Command $root 'unit stop')
    Open-Listener $port
    [void](Wait-Until "WSL listens on 127.0.0.1:$port" 5000 { (Get-HolderOf '127.0.0.1' $port) -eq 'wslrelay' })
    [void](Send-Command $root 'unit start')
    [void](Wait-Served $address $port 20000)
    Confirm-That (Test-Served '127.0.0.1' $port) 'WSL''s own forwarding still works'
    Confirm-That ((Get-HolderOf '127.0.0.1' $port) -eq 'wslrelay') 'it is WSL''s'
    Confirm-That ((Get-HolderOf $address $port) -eq $ProcessName) "the companion has $address"
}

# We first: that is the usual order, as WSL looks once a second.
function Test-WslSecond {
    $address = Get-LanAddress
    $firsts = 0
    foreach ($round in 1..3) {
        $port = Get-FreePort
        Open-Listener $port
        [void](Wait-Served $address $port)
        if ((Get-HolderOf '127.0.0.1' $port) -eq '') { $firsts++ }
        $after = Wait-Until "WSL listens on 127.0.0.1:$port" 5000 { (Get-HolderOf '127.0.0.1' $port) -eq 'wslrelay' }
        Confirm-That (Test-Served '127.0.0.1' $port) 'WSL''s own forwarding works'
        Write-Verbose "round ${round}: WSL came $after ms later"
    }
    Add-Note "the companion was first in $firsts of 3 rounds"
    if ($firsts -eq 0) { Stop-Skipped 'WSL was first each time; try again' }
}

# A dual-stack listener, which WSL forwards at ::1 only.
function Test-Gap {
    $port = Get-FreePort
    Open-Listener $port '::'
    [void](Wait-Served '127.0.0.1' $port)
    Confirm-That ((Get-HolderOf '127.0.0.1' $port) -eq $ProcessName) 'the companion has 127.0.0.1'
    $six = Wait-Until "WSL listens on [::1]:$port" 5000 { (Get-HolderOf '::1' $port) -eq 'wslrelay' }
    Add-Note "127.0.0.1:$port by the companion, [::1]:$port by WSL $six ms later"
    Close-Listener $port
    Open-Listener $port '0.0.0.0'
    [void](Wait-Until "WSL gets 127.0.0.1:$port" 5000 { (Get-HolderOf '127.0.0.1' $port) -eq 'wslrelay' })
    Confirm-That (Test-Served '127.0.0.1' $port) 'WSL serves it'
}

function Test-Excluded {
    $ranges = @(Get-ExcludedRanges | Where-Object { -not $_.Administered -and $_.First -ge 1024 })
    if ($ranges.Count -eq 0) { Stop-Skipped 'Windows has no range that it keeps for itself now' }
    $taken = @(Get-Listeners | ForEach-Object { [int]$_.LocalPort })
    $port = @($ranges | ForEach-Object { $_.First..$_.Last } | Where-Object { $taken -notcontains $_ } | Select-Object -First 1)
    if ($port.Count -eq 0) { Stop-Skipped 'no port is free in those ranges' }
    Open-Listener $port[0]
    [void](Wait-Until 'the reason names the range' 15000 {
            $forward = Get-Forward $port[0]
            $null -ne $forward -and $forward.state -eq 'conflict' -and $forward.reason -match 'keeps for itself'
        })
    Add-Note "port $($port[0]): $((Get-Forward $port[0]).reason)"
}

# A key of HKEY_LOCAL_MACHINE, if nothing is in it.
function Remove-EmptyKey {
    param([string] $Path)
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey($Path)
    if ($null -eq $key) { return }
    $isEmpty = $key.ValueCount -eq 0 -and $key.SubKeyCount -eq 0
    $key.Dispose()
    if ($isEmpty) { [Microsoft.Win32.Registry]::LocalMachine.DeleteSubKey($Path, $false) }
}

# Foreign entries are planted beside ours. They lead nowhere and are at addresses that nobody else uses.
function Test-PortProxy {
    $address = Get-LanAddress
    $planted = @(
        @{ Type = 'v4tov4'; Name = "127.77.7.7/$(Get-FreePort)"; Target = '127.77.7.8/9' }
        @{ Type = 'v6tov6'; Name = "::1/$(Get-FreePort)"; Target = '::1/9' }
    )
    # Last, so that IP Helper forgets the planted ones, too.
    Register-Undo 'IP Helper reads its entries' {
        [void](Invoke-Program (Join-Path ([Environment]::SystemDirectory) 'sc.exe') @('control', 'iphlpsvc', 'paramchange'))
    }
    foreach ($entry in $planted) {
        $path = Get-PortProxyPath $entry.Type
        $above = Split-Path -Path $path -Parent
        $made = @(@($path, $above, (Split-Path -Path $above -Parent)) | Where-Object { -not (Test-Path -LiteralPath "HKLM:\$_") })
        Register-Undo "a planted entry of portproxy, $($entry.Type) $($entry.Name)" {
            param($Where, $Name, $Made)
            $open = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey($Where, $true)
            if ($null -eq $open) { return }
            $open.DeleteValue($Name, $false)
            $open.Dispose()
            foreach ($each in $Made) { Remove-EmptyKey $each }
        } @($path, $entry.Name, $made)
        $key = [Microsoft.Win32.Registry]::LocalMachine.CreateSubKey($path)
        $key.SetValue($entry.Name, $entry.Target, [Microsoft.Win32.RegistryValueKind]::String)
        $key.Dispose()
    }
    $before = @(foreach ($type in $PortProxyTypes) { Get-RegistryLines (Get-PortProxyPath $type) })
    $port = Get-FreePort
    Open-Listener $port
    [void](Wait-Forward $port)
    $during = @(foreach ($type in $PortProxyTypes) { Get-RegistryLines (Get-PortProxyPath $type) })
    $ours = @($during | Where-Object { $before -cnotcontains $_ })
    Add-Note "entries for port ${port}: $($ours -join ', ')"
    Confirm-That ($ours.Count -gt 0) 'there are entries'
    Confirm-That (@($before | Where-Object { $during -cnotcontains $_ }).Count -eq 0) 'those of others are as they were'
    foreach ($each in @(Get-LanAddresses | Where-Object { $_ -notmatch '^fe80:' })) {
        [void](Wait-Served $each $port)
        Confirm-That ((Get-HolderOf $each $port) -eq 'svchost') "IP Helper has $each"
    }
    Close-Listener $port
    [void](Wait-Closed $address $port)
    $after = @(foreach ($type in $PortProxyTypes) { Get-RegistryLines (Get-PortProxyPath $type) })
    Confirm-That (@(Compare-Snapshot $before $after).Count -eq 0) 'the registry is as it was'
}

function Test-Names {
    $path = Get-HostsPath
    $before = Get-HostsText
    $access = Get-Access $path
    $owner = (Get-Acl -LiteralPath $path).Owner
    $attributes = [System.IO.File]::GetAttributes($path)
    $port = Get-FreePort
    $name = "wslnet-verify-$port"
    Set-DistroConfig "[[rule]]`nwhen = `"port=$port`"`nname = `"$name`"`n"
    Register-Undo 'the configuration in the distro' { Set-DistroConfig '' }
    Open-Listener $port
    [void](Wait-Until "list says what became of the name $name" 15000 {
            $forward = Get-Forward $port
            $null -ne $forward -and $forward.state -eq 'active' -and ([string]$forward.reason).Contains("name $name")
        })
    $reason = [string](Get-Forward $port).reason
    if ($reason.Contains("no name $name")) { Stop-Skipped $reason }
    [void](Wait-Until "$name.wsl is in the hosts file" 15000 { (Get-HostsText).Contains("$name.wsl") })
    Confirm-That ((Remove-HostsBlock (Get-HostsText)) -ceq (Remove-HostsBlock $before)) 'the lines of others are as they were'
    Confirm-That ((Get-Access $path) -ceq $access) "the access list is as it was, $access, and not $(Get-Access $path)"
    Add-Note "owner before: $owner, now: $((Get-Acl -LiteralPath $path).Owner)"
    Confirm-That ([System.IO.File]::GetAttributes($path) -eq $attributes) 'attributes are as they were'
    [void](Wait-Until "$name.wsl resolves" 5000 {
            try { @([System.Net.Dns]::GetHostAddresses("$name.wsl")).Count -gt 0 } catch [System.Net.Sockets.SocketException] { $false }
        })
    $resolved = @([System.Net.Dns]::GetHostAddresses("$name.wsl"))
    $dns = @(Resolve-DnsName -Name "$name.wsl" -ErrorAction SilentlyContinue)
    Add-Note "$name.wsl is $($resolved -join ' '); Resolve-DnsName tells $($dns.Count) records"
    Confirm-That (Test-Served ([string]$resolved[0]) $port) "http://$name.wsl:$port is the service"
    Close-Listener $port
    [void](Wait-Until "$name.wsl is gone" 15000 { -not (Get-HostsText).Contains("$name.wsl") })
    Confirm-That ((Remove-HostsBlock (Get-HostsText)) -ceq (Remove-HostsBlock $before)) 'the file is as it was'
    Confirm-That ((Get-Access $path) -ceq $access) "the access list is as it was, $access, and not $(Get-Access $path)"
}

# The rules of the group, and whether anything blocks our program.
function Test-Firewall {
    $rules = @(Get-NetFirewallRule -Group $Group -ErrorAction SilentlyContinue)
    foreach ($rule in $rules) {
        $program = ($rule | Get-NetFirewallApplicationFilter).Program
        $ports = $rule | Get-NetFirewallPortFilter
        $remote = @(($rule | Get-NetFirewallAddressFilter).RemoteAddress) -join ','
        $where = "$($ports.Protocol) $(@($ports.LocalPort) -join ',') from $remote"
        Add-Note "$($rule.DisplayName): $($rule.Direction) $($rule.Action), $($rule.Profile), $program, $where"
    }
    $allow = @($rules | Where-Object { [string]$_.Action -eq 'Allow' -and [string]$_.Enabled -eq 'True' -and [string]$_.Direction -eq 'Inbound' })
    Confirm-That ($allow.Count -gt 0) "an inbound rule of the group $Group allows"
    $open = @($allow | Where-Object { @(($_ | Get-NetFirewallAddressFilter).RemoteAddress) -contains 'Any' })
    Confirm-That ($open.Count -eq 0) 'no rule allows any remote address'
    $blocking = @(Get-NetFirewallApplicationFilter -Program $script:CompanionPath -ErrorAction SilentlyContinue |
            Get-NetFirewallRule | Where-Object { [string]$_.Action -eq 'Block' -and [string]$_.Enabled -eq 'True' })
    Confirm-That ($blocking.Count -eq 0) "no rule blocks the program: $(@($blocking | ForEach-Object { $_.DisplayName }) -join ', ')"
}

# The trap: a rule that blocks beats every rule that allows, and nobody says so.
function Test-BlockRule {
    $name = 'wslnet-verify-block'
    if ((Get-CompanionAnswer 'status') -match 'block') { Stop-Skipped 'status tells of a block already' }
    Register-Undo 'the rule that blocks' {
        param($Rule) Remove-NetFirewallRule -Name $Rule -ErrorAction SilentlyContinue
    } @($name)
    [void](New-NetFirewallRule -Name $name -DisplayName $name -Direction Inbound -Action Block -Program $script:CompanionPath)
    $found = Wait-Until 'status tells of the rule that blocks' 60000 { (Get-CompanionAnswer 'status') -match 'block' }
    Add-Note "told after $found ms"
    if ($LanClient -ne 'self-addressed') {
        $port = Get-FreePort
        Open-Listener $port
        [void](Wait-Forward $port)
        $seen = Get-LanProbe (Get-LanAddress) $port
        Confirm-That ($seen -ne 'open') 'with the rule nothing comes through'
    }
    Remove-NetFirewallRule -Name $name
    [void](Wait-Until 'status tells no longer of it' 60000 { (Get-CompanionAnswer 'status') -notmatch 'block' })
    # The rule stood between the distro and the companion, too.
    [void](Wait-Until 'the distro is connected again' 30000 { @((Get-CompanionStatus).distros | Where-Object { $_.connected }).Count -gt 0 })
}

# Where Windows shares the ports already: rules alone, and no relay.
function Test-Mirrored {
    $port = Get-FreePort
    Open-Listener $port
    [void](Wait-Forward $port 'active' 'tcp' 30000)
    $id = Get-CompanionId
    $relays = @(Get-Listeners | Where-Object { $_.OwningProcess -eq $id -and $_.LocalPort -eq $port })
    Confirm-That ($relays.Count -eq 0) 'the companion itself does not listen there'
    $host4 = @(Get-NetFirewallRule -Group $Group -ErrorAction SilentlyContinue | Get-NetFirewallPortFilter |
            Where-Object { @($_.LocalPort) -contains [string]$port })
    # Not on Windows 10.
    $hasHyperV = $null -ne (Get-Command -Name 'Get-NetFirewallHyperVRule' -ErrorAction SilentlyContinue)
    $hyper = @(if ($hasHyperV) {
            Get-NetFirewallHyperVRule -VMCreatorId $VMCreatorId -ErrorAction SilentlyContinue |
                Where-Object { @($_.LocalPorts) -contains [string]$port }
        })
    Add-Note "rules for port ${port}: $($host4.Count) of the host, $($hyper.Count) of Hyper-V's firewall"
    Confirm-That ($host4.Count + $hyper.Count -gt 0) 'a rule for the port'
    foreach ($address in @(Get-LanAddresses | Where-Object { $_ -notmatch '^fe80:' })) { Confirm-FromLan $address $port $true }
    Close-Listener $port
    [void](Wait-Until 'the rules are gone' 30000 {
            @(Get-NetFirewallRule -Group $Group -ErrorAction SilentlyContinue | Get-NetFirewallPortFilter |
                    Where-Object { @($_.LocalPort) -contains [string]$port }).Count -eq 0
        })
}

function Test-OptOut {
    $address = Get-LanAddress
    $port = Get-FreePort
    Set-DistroConfig "opt-out = [`"port=$port`"]`n"
    Register-Undo 'the configuration in the distro' { Set-DistroConfig '' }
    Open-Listener $port
    Confirm-Stays "${address}:$port stays closed" 4000 { (Test-Port $address $port 200) -ne 'open' }
    $row = @(ConvertFrom-JsonList (Invoke-Wsl $script:Distro @('/usr/local/bin/wslnetd', 'list', '--json')) | Where-Object { $_.port -eq $port })
    Confirm-That ($row.Count -gt 0 -and $row[0].state -eq 'withheld') 'list says withheld'
    Add-Note "the reason given: $($row[0].reason)"
    Set-DistroConfig ''
    $after = Wait-Served $address $port
    Add-Note "served $after ms after the opt-out was taken back"
}

function Test-Environment {
    $address = Get-LanAddress
    $port = Get-FreePort
    Open-Listener $port '0.0.0.0' 'tcp' $script:Distro 'WSLNETD=off'
    Confirm-Stays "${address}:$port stays closed" 4000 { (Test-Port $address $port 200) -ne 'open' }
}

function Test-Loopback {
    $address = Get-LanAddress
    $port = Get-FreePort
    Open-Listener $port '127.0.0.1'
    Confirm-Stays "${address}:$port stays closed" 4000 { (Test-Port $address $port 200) -ne 'open' }
    Confirm-That ((Wait-Served '127.0.0.1' $port) -ge 0) 'WSL serves it on localhost'
}

function Test-Udp {
    $address = Get-LanAddress
    $port = Get-FreePort
    Set-DistroConfig "[[rule]]`nwhen = `"port=$port`"`nudp = true`n"
    Register-Undo 'the configuration in the distro' { Set-DistroConfig '' }
    Open-Listener $port '0.0.0.0' 'udp'
    [void](Wait-Forward $port 'active' 'udp')
    $ip = [System.Net.IPAddress]::Parse($address)
    $client = New-Object System.Net.Sockets.UdpClient -ArgumentList $ip.AddressFamily
    try {
        $client.Client.ReceiveTimeout = 2000
        $client.Connect($ip, $port)
        $sent = [System.Text.Encoding]::ASCII.GetBytes('over UDP')
        $from = New-Object System.Net.IPEndPoint -ArgumentList $ip, 0
        $answers = 0
        foreach ($try in 1..10) {
            [void]$client.Send($sent, $sent.Length)
            try {
                $got = $client.Receive([ref]$from)
                if ([System.Text.Encoding]::ASCII.GetString($got) -eq 'over UDP') { $answers++ }
            } catch [System.Net.Sockets.SocketException] {
                Write-Verbose "datagram $try had no answer"
            }
        }
        Add-Note "$answers of 10 datagrams came back"
        Confirm-That ($answers -gt 0) 'a datagram comes back'
    } finally {
        $client.Close()
    }
}

function Test-TwoDistros {
    $address = Get-LanAddress
    $one = Get-FreePort
    $two = Get-FreePort
    Open-Listener $one
    Open-Listener $two '0.0.0.0' 'tcp' $SecondDistribution
    [void](Wait-Served $address $one)
    [void](Wait-Served $address $two)
    $owners = @(Get-Forward $one; Get-Forward $two) | ForEach-Object { [string]$_.distro }
    Add-Note "port $one is of $($owners[0]), port $two of $($owners[1])"
    Confirm-That ($owners[0] -ne $owners[1]) 'each port is of its own distro'
}

# Ended without a goodbye: all ports are closed at once.
function Test-Kill {
    $address = Get-LanAddress
    $port = Get-FreePort
    Open-Listener $port
    [void](Wait-Served $address $port)
    $id = Get-CompanionId
    $process = Get-CimInstance -ClassName 'Win32_Process' -Filter "ProcessId=$id"
    $line = [string]$process.CommandLine
    $image = [string]$process.ExecutablePath
    # The program's own command line without its first word.
    if ($line -notmatch '^(?:"[^"]+"|\S+)\s*(?<rest>.*)$') { throw "a command line that cannot be read: $line" }
    $rest = $Matches['rest']
    $isService = Test-IsService
    Register-Undo 'the companion runs' {
        param($AsService, $Path, $Rest)
        if ((Get-CompanionIdOrZero) -ne 0) { return }
        if ($AsService) { Start-Service -Name $ServiceName } else { Start-Process -FilePath $Path -ArgumentList $Rest -WindowStyle Hidden }
    } @($isService, $image, $rest)
    $clock = [System.Diagnostics.Stopwatch]::StartNew()
    Stop-Process -Id $id -Force
    [void](Wait-Closed $address $port)
    Add-Note "closed $($clock.ElapsedMilliseconds) ms after the kill"
    Confirm-That (@(Get-Listeners | Where-Object { $_.OwningProcess -eq $id }).Count -eq 0) 'no socket of it is left'
    if ($isService) {
        $back = Wait-Until 'the recovery action starts the service' 120000 { (Get-CompanionIdOrZero) -notin 0, $id }
        Add-Note "the service ran again after $back ms"
    } else {
        Start-Process -FilePath $image -ArgumentList $rest -WindowStyle Hidden
    }
    $served = Wait-Served $address $port 60000
    Add-Note "served $served ms after it ran again"
}

function Test-Service {
    $address = Get-LanAddress
    $port = Get-FreePort
    $start = Get-Date
    Open-Listener $port
    [void](Wait-Served $address $port)
    Register-Undo 'the service runs' { Start-Service -Name $ServiceName }
    $clock = [System.Diagnostics.Stopwatch]::StartNew()
    Stop-Service -Name $ServiceName -NoWait
    [void](Wait-Until 'the service has stopped' 30000 { [string](Get-Service -Name $ServiceName).Status -eq 'Stopped' })
    Add-Note "stopped within $($clock.ElapsedMilliseconds) ms"
    Confirm-That ((Test-Port $address $port 200) -ne 'open') 'the port is closed'
    Start-Service -Name $ServiceName
    $served = Wait-Served $address $port 60000
    Add-Note "served $served ms after the start"
    $filter = @{ LogName = 'Application'; ProviderName = $ServiceName; StartTime = $start }
    $events = @(Get-WinEvent -FilterHashtable $filter -ErrorAction SilentlyContinue)
    Add-Note "$($events.Count) entries in the event log"
    Confirm-That ($events.Count -gt 0) "the event log has entries of $ServiceName"
}

# An address comes and goes. It is in the memory of Windows only (ActiveStore), so that no restart finds it.
function Test-AddressChange {
    $family = Get-NetIPInterface -InterfaceAlias $AddressInterface -AddressFamily IPv4
    if ([string]$family.Dhcp -ne 'Disabled') { Stop-Skipped "$AddressInterface has its address by DHCP, which another address may end" }
    $extra = '192.0.2.77'
    $port = Get-FreePort
    Open-Listener $port
    [void](Wait-Forward $port)
    Register-Undo "the address $extra" {
        param($Address, $Alias)
        Remove-NetIPAddress -IPAddress $Address -InterfaceAlias $Alias -PolicyStore ActiveStore -Confirm:$false -ErrorAction SilentlyContinue
    } @($extra, $AddressInterface)
    [void](New-NetIPAddress -IPAddress $extra -PrefixLength 32 -InterfaceAlias $AddressInterface -SkipAsSource $true -PolicyStore ActiveStore)
    $came = Wait-Until "$extra serves" 30000 { (Get-HolderOf $extra $port) -eq $ProcessName }
    Remove-NetIPAddress -IPAddress $extra -InterfaceAlias $AddressInterface -PolicyStore ActiveStore -Confirm:$false
    $went = Wait-Until "$extra is forgotten" 30000 { @((Get-Forward $port).listen | Where-Object { $_ -like "${extra}:*" }).Count -eq 0 }
    Add-Note "taken after $came ms, left after $went ms"
    Confirm-That (Test-Served (Get-LanAddress) $port) 'the other addresses serve on'
}

function Test-Category {
    $address = Get-LanAddress
    $index = (Get-NetIPAddress -IPAddress $address).InterfaceIndex
    $network = Get-NetConnectionProfile -InterfaceIndex $index
    $category = [string]$network.NetworkCategory
    if ($category -ne 'Private') { Stop-Skipped "the network of $address is $category, and only a private one can be changed and changed back" }
    $port = Get-FreePort
    Open-Listener $port
    [void](Wait-Served $address $port)
    Register-Undo 'the category of the network' {
        param($At, $Was) Set-NetConnectionProfile -InterfaceIndex $At -NetworkCategory $Was
    } @($index, $category)
    Set-NetConnectionProfile -InterfaceIndex $index -NetworkCategory Public
    $closed = Wait-Closed $address $port 30000
    Add-Note "closed $closed ms after the network became public"
    Set-NetConnectionProfile -InterfaceIndex $index -NetworkCategory $category
    $served = Wait-Served $address $port 30000
    Add-Note "served $served ms after it was private again"
}

function Test-Sleep {
    $address = Get-LanAddress
    $port = Get-FreePort
    Open-Listener $port
    [void](Wait-Served $address $port)
    $start = Get-Date
    [void](Read-Host -Prompt 'Put the machine to sleep now, for a minute or more; wake it, then press Enter here')
    # 42: the system enters sleep; 506: modern standby begins.
    $filter = @{ LogName = 'System'; ProviderName = 'Microsoft-Windows-Kernel-Power'; Id = 42, 506; StartTime = $start }
    $slept = @(Get-WinEvent -FilterHashtable $filter -ErrorAction SilentlyContinue)
    if ($slept.Count -eq 0) { Stop-Skipped 'Windows has no record of a sleep' }
    $served = Wait-Served $address $port 60000
    Add-Note "served $served ms after Enter, $([math]::Round(((Get-Date) - $start).TotalSeconds)) s after the question"
    Close-Listener $port
    [void](Wait-Closed $address $port 30000)
}

# An indication: one connection, one direction, this machine alone.
function Test-Throughput {
    $address = Get-LanAddress
    $port = Get-FreePort
    Open-Listener $port
    [void](Wait-Served $address $port)
    $ways = @(
        @{ Name = 'companion'; Address = $address }
        @{ Name = 'the VM itself'; Address = $script:VmAddress }
        @{ Name = 'WSL''s localhost'; Address = '127.0.0.1' }
    )
    foreach ($way in $ways) {
        if ($way.Address -eq '') { continue }
        if (-not (Test-Served $way.Address $port)) { Add-Note "$($way.Name): not reached"; continue }
        $rate = Measure-Pull $way.Address $port 268435456
        Add-Note "$($way.Name): $([math]::Round($rate)) MiB/s"
    }
}

# MiB a second.
function Measure-Pull {
    param([string] $Address, [int] $Port, [long] $Bytes)
    $client = New-Object System.Net.Sockets.TcpClient -ArgumentList ([System.Net.IPAddress]::Parse($Address).AddressFamily)
    try {
        if (-not $client.ConnectAsync([System.Net.IPAddress]::Parse($Address), $Port).Wait(5000)) { throw "no connection to ${Address}:$Port" }
        $stream = $client.GetStream()
        $stream.ReadTimeout = 30000
        $order = [System.Text.Encoding]::ASCII.GetBytes("PULL $Bytes`n")
        $stream.Write($order, 0, $order.Length)
        $buffer = New-Object byte[] 262144
        $left = $Bytes + $Greeting.Length + 1
        $clock = [System.Diagnostics.Stopwatch]::StartNew()
        while ($left -gt 0) {
            $count = $stream.Read($buffer, 0, $buffer.Length)
            if ($count -le 0) { throw "the connection ended with $left bytes to come" }
            $left -= $count
            if ($clock.ElapsedMilliseconds -gt 120000) { throw 'slower than 256 MiB in two minutes' }
        }
        $Bytes / 1048576 / $clock.Elapsed.TotalSeconds
    } finally {
        $client.Close()
    }
}

# The VM ends without a goodbye. Comes last, as it ends the helpers too.
function Test-Shutdown {
    $address = Get-LanAddress
    $port = Get-FreePort
    Open-Listener $port
    [void](Wait-Served $address $port)
    $clock = [System.Diagnostics.Stopwatch]::StartNew()
    [void](Invoke-Program (Get-WslPath) @('--shutdown') 60000)
    $down = $clock.ElapsedMilliseconds
    [void](Wait-Until 'the companion listens for nobody' $LeaseMilliseconds {
            (Test-Port $address $port 200) -ne 'open' -and @(Get-Forwards | Where-Object { $_.state -eq 'active' }).Count -eq 0
        })
    Add-Note "wsl --shutdown took $down ms; closed $($clock.ElapsedMilliseconds) ms after it was called"
    foreach ($key in @($script:Helpers.Keys)) { if ($key -ne 'lan') { Stop-Helper $key } }
    $clock.Restart()
    Open-Listener $port
    [void](Wait-Served $address $port 120000)
    Add-Note "served $($clock.ElapsedMilliseconds) ms after the distro was started again"
}

# ---------------------------------------------------------------- which checks there are

# The name, the function, what it needs (Get-Missing), what it proves, and what is looked at.
$Checks = @(
    @{
        Name = 'facts'; Function = 'Test-Facts'; Needs = @()
        Proves = 'what this machine is'
        Evidence = 'Get-NetFirewallProfile, Get-NetConnectionProfile, wsl --version'
    }
    @{
        Name = 'timing'; Function = 'Test-Timing'; Needs = @('nat')
        Proves = 'a listener appears and is reachable; it goes, the port closes'
        Evidence = 'TcpClient to the LAN address'
    }
    @{
        Name = 'lan'; Function = 'Test-Lan'; Needs = @('nat', 'client')
        Proves = 'reachable from another machine at each address of Windows, IPv6 included'
        Evidence = 'connection from -LanClient'
    }
    @{
        Name = 'scan'; Function = 'Test-Scan'; Needs = @('nat')
        Proves = 'nothing is open but what is listed'
        Evidence = 'TcpClient to each address and port; Get-NetTCPConnection'
    }
    @{
        Name = 'wildcard'; Function = 'Test-Wildcard'; Needs = @()
        Proves = 'the companion never binds a wildcard'
        Evidence = 'Get-NetTCPConnection, Get-NetUDPEndpoint'
    }
    @{
        Name = 'conflict'; Function = 'Test-Conflict'; Needs = @('nat', 'relay')
        Proves = 'a program of Windows keeps its port, is named, and its going is noticed'
        Evidence = 'TcpListener of another process on the wildcard'
    }
    @{
        Name = 'wsl-first'; Function = 'Test-WslFirst'; Needs = @('nat', 'relay')
        Proves = '127.0.0.1 is WSL''s, WSL first'
        Evidence = 'Get-NetTCPConnection owner wslrelay'
    }
    @{
        Name = 'wsl-second'; Function = 'Test-WslSecond'; Needs = @('nat', 'relay')
        Proves = '127.0.0.1 is WSL''s, the companion first'
        Evidence = 'Get-NetTCPConnection owner wslrelay'
    }
    @{
        Name = 'gap'; Function = 'Test-Gap'; Needs = @('nat', 'relay')
        Proves = '127.0.0.1 is filled for dual-stack listeners, and left when WSL wants it'
        Evidence = 'Get-NetTCPConnection owners of 127.0.0.1 and ::1'
    }
    @{
        Name = 'excluded'; Function = 'Test-Excluded'; Needs = @('nat', 'relay')
        Proves = 'a port in an excluded range is explained'
        Evidence = 'netsh interface ipv4 show excludedportrange'
    }
    @{
        Name = 'portproxy'; Function = 'Test-PortProxy'; Needs = @('nat', 'portproxy', 'elevated')
        Proves = 'portproxy: entries follow listeners, traffic flows, others'' entries stay'
        Evidence = 'HKLM\SYSTEM\CurrentControlSet\Services\PortProxy before, during, after'
    }
    @{
        Name = 'names'; Function = 'Test-Names'; Needs = @('nat')
        Proves = 'names in the hosts file resolve; its other bytes, access list and attributes stay'
        Evidence = 'bytes and Get-Acl of the hosts file; GetHostAddresses'
    }
    @{
        Name = 'firewall'; Function = 'Test-Firewall'; Needs = @()
        Proves = 'the firewall rules are there and limited, and nothing blocks'
        Evidence = 'Get-NetFirewallRule -Group wslnet with its filters'
    }
    @{
        Name = 'block-rule'; Function = 'Test-BlockRule'; Needs = @('elevated')
        Proves = 'a rule that blocks the companion is told of'
        Evidence = 'New-NetFirewallRule -Action Block; status --json'
    }
    @{
        Name = 'mirrored'; Function = 'Test-Mirrored'; Needs = @('shared', 'elevated')
        Proves = 'mirrored and virtioproxy: firewall rules, no relay'
        Evidence = 'Get-NetFirewallRule, Get-NetFirewallHyperVRule'
    }
    @{
        Name = 'opt-out'; Function = 'Test-OptOut'; Needs = @('nat')
        Proves = 'an opt-out keeps a port closed; taken back it opens'
        Evidence = 'TcpClient for four seconds; wslnetd list --json'
    }
    @{
        Name = 'environment'; Function = 'Test-Environment'; Needs = @('nat')
        Proves = 'WSLNETD=off keeps a port closed'
        Evidence = 'TcpClient for four seconds'
    }
    @{
        Name = 'loopback'; Function = 'Test-Loopback'; Needs = @('nat')
        Proves = 'a service on loopback is private'
        Evidence = 'TcpClient for four seconds'
    }
    @{
        Name = 'udp'; Function = 'Test-Udp'; Needs = @('nat', 'relay')
        Proves = 'UDP by a rule'
        Evidence = 'UdpClient to the LAN address'
    }
    @{
        Name = 'two-distros'; Function = 'Test-TwoDistros'; Needs = @('nat', 'second')
        Proves = 'two distros own only their own'
        Evidence = 'TcpClient; list --json'
    }
    @{
        Name = 'throughput'; Function = 'Test-Throughput'; Needs = @('nat')
        Proves = 'throughput of one connection, an indication'
        Evidence = '256 MiB by TcpClient'
    }
    @{
        Name = 'kill'; Function = 'Test-Kill'; Needs = @('nat', 'relay', 'own-process')
        Proves = 'kill of the companion leaves nothing open; it comes back'
        Evidence = 'Stop-Process -Force; Get-NetTCPConnection; Get-Service'
    }
    @{
        Name = 'service'; Function = 'Test-Service'; Needs = @('nat', 'service', 'elevated')
        Proves = 'service stop and start; the event log tells'
        Evidence = 'Stop-Service, Start-Service, Get-WinEvent'
    }
    @{
        Name = 'address'; Function = 'Test-AddressChange'; Needs = @('nat', 'elevated', 'address')
        Proves = 'a change of Windows'' addresses is followed'
        Evidence = 'New-NetIPAddress, Remove-NetIPAddress; Get-NetTCPConnection'
    }
    @{
        Name = 'category'; Function = 'Test-Category'; Needs = @('nat', 'elevated', 'network')
        Proves = 'a network that becomes public is left'
        Evidence = 'Set-NetConnectionProfile; TcpClient'
    }
    @{
        Name = 'sleep'; Function = 'Test-Sleep'; Needs = @('nat', 'sleep')
        Proves = 'sleep and resume'
        Evidence = 'event 42 or 506 of Kernel-Power; TcpClient'
    }
    @{
        Name = 'shutdown'; Function = 'Test-Shutdown'; Needs = @('nat', 'shutdown')
        Proves = 'wsl --shutdown: closed within the lease, back after the start'
        Evidence = 'wsl --shutdown; TcpClient; list --json'
    }
)

function Test-Elevated {
    $identity = [System.Security.Principal.WindowsIdentity]::GetCurrent()
    (New-Object System.Security.Principal.WindowsPrincipal $identity).IsInRole([System.Security.Principal.WindowsBuiltInRole]::Administrator)
}

function Test-IsService {
    $service = @(Get-Service -Name $ServiceName -ErrorAction SilentlyContinue)
    $service.Count -gt 0 -and $service[0].Status -eq 'Running'
}

# Why a need is not met; empty if it is.
function Get-Missing {
    param([string] $Need)
    switch ($Need) {
        'nat' { if ($script:Mode -ne 'nat') { "networking mode is $($script:Mode), not nat" } }
        'shared' { if ($script:Mode -notin 'mirrored', 'virtioproxy', 'consomme') { "networking mode is $($script:Mode)" } }
        'elevated' { if (-not (Test-Elevated)) { 'not elevated' } }
        'relay' { if ([string](Get-CompanionStatus).backend -ne 'relay') { 'the backend is not relay' } }
        'portproxy' { if ([string](Get-CompanionStatus).backend -ne 'portproxy') { 'the backend is not portproxy' } }
        'own-process' {
            if ((Test-IsService) -and -not (Test-Elevated)) { 'the companion is a service, and this is not elevated' }
            if (-not (Test-IsService) -and (Test-Elevated)) { 'the companion is the user''s, and this would start it again elevated' }
        }
        'service' { if (-not (Test-IsService)) { 'the companion does not run as a service' } }
        'client' { if ($LanClient -eq 'self-addressed') { 'no -LanClient' } }
        'second' { if (-not $SecondDistribution) { 'no -SecondDistribution' } }
        'shutdown' { if (-not $AllowShutdown) { 'no -AllowShutdown' } }
        'sleep' { if (-not $AllowSleep) { 'no -AllowSleep' } }
        'network' { if (-not $AllowNetworkChange) { 'no -AllowNetworkChange' } }
        'address' { if (-not $AllowAddressChange -or -not $AddressInterface) { 'no -AllowAddressChange with -AddressInterface' } }
        default { throw "an unknown need: $Need" }
    }
}

function Invoke-Check {
    param([hashtable] $Check)
    $clock = [System.Diagnostics.Stopwatch]::StartNew()
    $mark = $script:Undo.Count
    $script:Notes.Clear()
    $outcome = 'pass'
    try {
        $missing = @($Check.Needs | ForEach-Object { Get-Missing $_ })
        if ($missing.Count -gt 0) { Stop-Skipped ($missing -join '; ') }
        & $Check.Function
    } catch [System.OperationCanceledException] {
        $outcome = 'skipped'
        Add-Note $_.Exception.Message
    } catch {
        $outcome = 'fail'
        Add-Note "$($_.Exception.Message) (line $($_.InvocationInfo.ScriptLineNumber))"
    } finally {
        Invoke-Undo $mark
    }
    $result = New-Result $Check.Name $Check.Proves $outcome ($script:Notes -join '; ') $clock.Elapsed.TotalSeconds $Check.Evidence
    $script:Results.Add($result)
    $colours = @{ pass = 'Green'; skipped = 'Yellow'; fail = 'Red' }
    Write-Host ('{0,-12} {1,-8} {2}' -f $result.name, $outcome, $result.detail) -ForegroundColor $colours[$outcome]
}

# ---------------------------------------------------------------- the table

# Text for one cell.
function ConvertTo-Cell {
    param([string] $Text)
    $Text.Replace('\', '\\').Replace('|', '\|').Replace("`r", '').Replace("`n", ' ')
}

function ConvertTo-Table {
    param([object[]] $Rows, [System.Collections.IDictionary] $About)
    $lines = New-Object System.Collections.Generic.List[string]
    $lines.Add('| this machine | |')
    $lines.Add('|---|---|')
    foreach ($key in @($About.Keys)) { $lines.Add("| $(ConvertTo-Cell $key) | $(ConvertTo-Cell ([string]$About[$key])) |") }
    $lines.Add('')
    $lines.Add('| check | claim | real Windows | what was seen | by |')
    $lines.Add('|---|---|---|---|---|')
    foreach ($row in $Rows) {
        $cells = @($row.name, $row.claim, $row.result, $row.detail, $row.evidence) | ForEach-Object { ConvertTo-Cell $_ }
        $lines.Add("| $($cells -join ' | ') |")
    }
    $lines.ToArray()
}

# UTF-8 without a byte order mark, in both PowerShells.
function Write-Report {
    param([string] $Path)
    $utf8 = New-Object System.Text.UTF8Encoding $false
    $full = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Path)
    $table = ConvertTo-Table ($script:Results.ToArray()) $script:Facts
    [System.IO.File]::WriteAllLines($full, [string[]]$table, $utf8)
    $everything = [ordered]@{ machine = $script:Facts; results = $script:Results.ToArray() }
    $json = [System.IO.Path]::ChangeExtension($full, '.json')
    [System.IO.File]::WriteAllText($json, (ConvertTo-Json -InputObject $everything -Depth 5), $utf8)
    Write-Host "written: $full and $json"
}

# ---------------------------------------------------------------- this program's own parts

# The samples of Windows' output are from documentation and reports, not from this machine.
function Invoke-SelfTest {
    $netsh = @(
        'Protocol tcp Port Exclusion Ranges', '', 'Start Port    End Port', '----------    --------', '      1025        1124',
        '     50000       50059     *', '', '* - Administered port exclusions.'
    ) -join "`r`n"
    $ranges = @(ConvertFrom-ExcludedRanges $netsh)
    Confirm-That ($ranges.Count -eq 2 -and $ranges[0].Last -eq 1124) 'self-test: ranges'
    Confirm-That (-not $ranges[0].Administered -and $ranges[1].Administered) 'self-test: administered ranges'
    $four = ConvertTo-Endpoint '192.168.1.20:80'
    $six = ConvertTo-Endpoint '[fd00::1]:443'
    Confirm-That ($four.Address -eq '192.168.1.20' -and $four.Port -eq 80) 'self-test: an endpoint'
    Confirm-That ($six.Address -eq 'fd00::1' -and $six.Port -eq 443) 'self-test: an endpoint of IPv6'
    Confirm-That (@(ConvertFrom-JsonList '[]').Count -eq 0) 'self-test: an empty list'
    Confirm-That (@(ConvertFrom-JsonList '[{"a":1}]').Count -eq 1) 'self-test: a list of one'
    Confirm-That (@(ConvertFrom-JsonList '[{"a":1},{"a":2}]').Count -eq 2) 'self-test: a list of two'
    $foreign = "127.0.0.1 a`r`n# mine`r`n"
    $block = "# BEGIN wslnet: these lines`r`n192.168.1.20 shop.wsl # wslnet`r`n# END wslnet`r`n"
    Confirm-That ((Remove-HostsBlock ($foreign + $block)) -ceq $foreign) 'self-test: a block at the end'
    Confirm-That ((Remove-HostsBlock ("x`r`n" + $block + 'y')) -ceq "x`r`ny") 'self-test: a block in the middle'
    Confirm-That ((Remove-HostsBlock $foreign) -ceq $foreign) 'self-test: no block'
    $joined = $block.Replace('these lines', 'these lines (the line above had no end)')
    Confirm-That ((Remove-HostsBlock ("127.0.0.1 a`r`n" + $joined)) -ceq '127.0.0.1 a') 'self-test: a last line without an end'
    $mine = '# mine' + "`r`n"
    Confirm-That ((Remove-HostsBlock ($block.Replace('# END', $mine + '# END'))) -ceq $mine) 'self-test: a line of others in the block'
    Confirm-That ((Get-Digest 'abc').StartsWith('BA7816BF')) 'self-test: digests'
    Confirm-That (@(Compare-Snapshot @('a', 'b') @('b', 'A')).Count -eq 2) 'self-test: case counts'
    Confirm-That (@(Compare-Snapshot @('a') @('a')).Count -eq 0) 'self-test: the same'
    Confirm-That (@(Compare-Snapshot @() @('a')).Count -eq 1) 'self-test: from nothing'
    $entries = '*/80|String|172.20.0.2/80', '*/81|String|172.20.0.22/81'
    Confirm-That (@(Select-ForeignEntries $entries '172.20.0.2').Count -eq 1) 'self-test: entries that lead to the VM'
    $rules = 'a|String|v2.31|Action=Allow|Name=x|EmbedCtxt=wslnet|', 'b|String|v2.31|Action=Allow|Name=wslnet|'
    Confirm-That (@(Select-ForeignRules $rules).Count -eq 1) 'self-test: rules of others'
    Confirm-That ((ConvertTo-Cell "a|b`r`nc\d") -ceq 'a\|b c\\d') 'self-test: a cell'
    $table = @(ConvertTo-Table @(New-Result 'n' 'c' 'pass' 'd' 1.23 'e') ([ordered]@{ 'Windows' = '10' }))
    Confirm-That ($table[-1] -ceq '| n | c | pass | d | e |' -and $table[2] -ceq '| Windows | 10 |') 'self-test: the table'
    Confirm-That ((New-StartInfo 'x.exe' @('a b', 'c')).Arguments -ceq '"a b" c') 'self-test: arguments'
    $isRefused = $false
    try { [void](New-StartInfo 'x.exe' @('a" b')) } catch { $isRefused = $true }
    Confirm-That $isRefused 'self-test: an argument with a quote is refused'
    $order = New-Object System.Collections.Generic.List[string]
    $mark = $script:Undo.Count
    Register-Undo 'one' { param($To) $To.Add('one') } @(, $order)
    Register-Undo 'two' { param($To) $To.Add('two') } @(, $order)
    Invoke-Undo $mark
    Confirm-That (($order -join ' ') -ceq 'two one') 'self-test: the newest is put back first'
    foreach ($check in $Checks) {
        $command = Get-Command -Name $check.Function -CommandType Function -ErrorAction SilentlyContinue
        Confirm-That ($null -ne $command) "self-test: $($check.Function)"
    }
}

# ---------------------------------------------------------------- the run

function Find-Companion {
    if ($Companion) { return $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Companion) }
    $installed = Join-Path $env:ProgramFiles 'wslnet\wslnet-companion.exe'
    if (-not (Test-Path -LiteralPath $installed -PathType Leaf)) { throw "$installed is not there: name another one by -Companion" }
    $installed
}

function Find-Distro {
    if ($Distribution) { return $Distribution }
    $lxss = 'HKCU:\Software\Microsoft\Windows\CurrentVersion\Lxss'
    $default = (Get-ItemProperty -LiteralPath $lxss).DefaultDistribution
    [string](Get-ItemProperty -LiteralPath (Join-Path $lxss $default)).DistributionName
}

function Select-Checks {
    $wanted = @($Only | ForEach-Object { $_ -split ',' } | Where-Object { $_ })
    $unwanted = @($Skip | ForEach-Object { $_ -split ',' } | Where-Object { $_ })
    $names = @($Checks | ForEach-Object { $_.Name })
    foreach ($name in $wanted + $unwanted) { if ($names -notcontains $name) { throw "there is no check named $name; -List shows them" } }
    # Without the facts no result says what it is of.
    $Checks | Where-Object {
        $_.Name -eq 'facts' -or (($wanted.Count -eq 0 -or $wanted -contains $_.Name) -and $unwanted -notcontains $_.Name)
    }
}

if ($List) {
    foreach ($check in $Checks) { '{0,-12} {1} [{2}]' -f $check.Name, $check.Proves, ($check.Needs -join ', ') }
    exit 0
}
Invoke-SelfTest
if ($SelfTest) {
    'self-test passed'
    exit 0
}

$chosen = @(Select-Checks)
$script:CompanionPath = Find-Companion
$script:Distro = Find-Distro
$script:VmAddress = ''
$failed = 1
try {
    $script:Mode = Invoke-Wsl $script:Distro @('wslinfo', '--networking-mode')
    $peers = @((Get-CompanionStatus).distros | Where-Object { $_.connected } | ForEach-Object { [string]$_.peer })
    if ($peers.Count -gt 0) { $script:VmAddress = $peers[0] }
    $before = @(Get-Snapshot)
    foreach ($check in $chosen) { Invoke-Check $check }
} finally {
    Invoke-Undo
    foreach ($key in @($script:Helpers.Keys)) { Stop-Helper $key }
    if (Test-Path -LiteralPath 'variable:before') {
        $differences = @(Compare-Snapshot $before @(Get-Snapshot))
        $outcome = if ($differences.Count -eq 0) { 'pass' } else { 'fail' }
        $detail = if ($differences.Count -eq 0) { "$($before.Count) facts are as they were" } else { $differences -join '; ' }
        $claim = 'hosts file, portproxy entries, firewall rules and networks of others are as before'
        $script:Results.Add((New-Result 'restored' $claim $outcome $detail 0 'bytes, registry and access list before and after'))
        Write-Host ('{0,-12} {1,-8} {2}' -f 'restored', $outcome, $detail)
        Write-Report $OutFile
        $failed = @($script:Results | Where-Object { $_.result -eq 'fail' }).Count
        $skipped = @($script:Results | Where-Object { $_.result -eq 'skipped' }).Count
        Write-Host "$($script:Results.Count - $failed - $skipped) passed, $failed failed, $skipped skipped"
    }
}
if ($failed -gt 0) { exit 1 }
exit 0
