<#
.SYNOPSIS
Installs wslnet-companion on Windows and wslnetd in WSL distros, and lets them know each other. Run it again to upgrade.

.DESCRIPTION
Needs a release, or a build of one, in a folder on a drive of Windows: wslnet-companion.exe and wslnetd beside scripts\ and
systemd\. Run it as the user whose distros they are, not as administrator: Windows asks for one by itself, once.

Exit codes: 0 everything was done, 1 something was not (the table says what), 2 asked wrongly.

.PARAMETER Distribution
The distros, as `wsl --list` calls them. Without it, it asks.

.PARAMETER All
All distros of WSL, but those that belong to products (docker-desktop and the like).

.PARAMETER Form
Logon: a program of this user's, started at logon. Service: a Windows service. Without it the form that is installed already
is kept; else it is Logon.

.PARAMETER From
The folder of the release. Default: the one above this script.

.PARAMETER Uninstall
Removes wslnetd from these distros, and wslnet-companion from Windows if no other distro is paired with it.

.PARAMETER KeepConfig
With -Uninstall: leaves the configuration, and the key of Windows.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File scripts\install.ps1 -Distribution Ubuntu,Debian

.EXAMPLE
powershell -ExecutionPolicy Bypass -File scripts\install.ps1 -All -Uninstall
#>
[CmdletBinding()]
param(
    [string[]] $Distribution,
    [switch] $All,
    [ValidateSet('Logon', 'Service')]
    [string] $Form,
    [string] $From,
    [switch] $Uninstall,
    [switch] $KeepConfig
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

# Distros of products, which bring no systemd and no room for a daemon of others.
$appliances = @('docker-desktop', 'docker-desktop-data', 'rancher-desktop', 'rancher-desktop-data')
$daemon = '/usr/local/bin/wslnetd'

function Stop-AskedWrongly {
    param([string] $Reason)
    [Console]::Error.WriteLine("install.ps1: $Reason")
    exit 2
}

# Runs a program, shows what it prints, and returns its exit code. Its arguments stay apart: no line is built from them.
function Invoke-Program {
    param([string] $Program, [string[]] $Arguments)
    $encoding = [Console]::OutputEncoding
    try {
        [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding $false
        # In Windows PowerShell, what a program writes to its error output is an error as soon as something is done with it;
        # so nothing is, and only the exit code counts.
        & $Program @Arguments | Out-Host
    }
    finally {
        [Console]::OutputEncoding = $encoding
    }
    return $LASTEXITCODE
}

# The lines that wsl.exe prints, in either of its encodings: UTF-8 if asked for it (WSL 0.64 and later), else UTF-16.
function Read-Wsl {
    param([string[]] $Arguments)
    $setting = $env:WSL_UTF8
    $encoding = [Console]::OutputEncoding
    try {
        $env:WSL_UTF8 = '1'
        [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding $false
        $lines = @(& $wsl @Arguments)
        if (($lines -join '').Contains([string][char]0)) {
            [Console]::OutputEncoding = New-Object System.Text.UnicodeEncoding $false, $false
            $lines = @(& $wsl @Arguments)
        }
        if ($LASTEXITCODE -ne 0) {
            throw "wsl.exe $($Arguments -join ' ') ended with exit code $LASTEXITCODE`: $($lines -join ' ')"
        }
    }
    finally {
        [Console]::OutputEncoding = $encoding
        $env:WSL_UTF8 = $setting
    }
    $lines | ForEach-Object { ([string] $_).Trim([char[]] @(0xFEFF, 0, 13, 32)) } | Where-Object { $_ -ne '' }
}

# Which of the distros that there are.
function Select-Distribution {
    $known = @(Read-Wsl -Arguments @('--list', '--quiet'))
    if ($known.Count -eq 0) { Stop-AskedWrongly 'this user has no distro of WSL; wsl --install makes one' }
    $usual = @($known | Where-Object { $appliances -notcontains $_ -and $_ -notlike 'podman-machine-*' })
    # With -File, PowerShell takes "a,b" for one text.
    $wanted = @($Distribution | Where-Object { $_ } | ForEach-Object { $_.Split(',') } | ForEach-Object { $_.Trim() } |
            Where-Object { $_ -ne '' })
    if ($wanted.Count -eq 0 -and -not $All) {
        Write-Host "Distros: $($usual -join ', ')"
        $answer = Read-Host 'Which ones? With commas between them; Enter alone for all'
        $wanted = @($answer.Split(',') | ForEach-Object { $_.Trim() } | Where-Object { $_ -ne '' })
    }
    if ($wanted.Count -eq 0) { return $usual }
    foreach ($name in $wanted) {
        $match = @($known | Where-Object { $_ -eq $name })
        if ($match.Count -eq 0) { Stop-AskedWrongly "there is no distro '$name'; there are: $($known -join ', ')" }
        # In the spelling of WSL.
        $match[0]
    }
}

# Runs one of the scripts beside this one as root in a distro, from the folder of the release.
function Invoke-InDistribution {
    param([string] $Name, [string] $Script, [string[]] $Arguments)
    $line = @('--distribution', $Name, '--user', 'root', '--cd', $folder, '--exec', '/bin/bash', "scripts/$Script") + $Arguments
    return Invoke-Program -Program $wsl -Arguments $line
}

# What the exit codes of install.sh and uninstall.sh mean.
function Get-Meaning {
    param([int] $Code)
    switch ($Code) {
        0 { 'done' }
        4 { 'cannot be installed there: see above' }
        default { "failed with exit code $Code`: see above" }
    }
}

function Install-Distribution {
    param([string] $Name)
    $result = New-Object PSObject -Property @{ Distro = $Name; InDistro = ''; Pairing = 'not tried'; Done = $false }
    Write-Host "`n$Name"
    $code = Invoke-InDistribution -Name $Name -Script 'install.sh' -Arguments @('--linux-only', '--from', '.')
    $result.InDistro = Get-Meaning $code
    return $result
}

# Whether a distro whose part is installed is connected; it is, unless the pairing at the installation said otherwise.
function Connect-Distribution {
    param([object] $Result, [bool] $Paired)
    if (-not $Paired) {
        Write-Host "`n$($Result.Distro)"
        $code = Invoke-Program -Program $companion -Arguments @('pair', $Result.Distro)
        if ($code -ne 0) {
            $Result.Pairing = 'failed: see above'
            $line = @('--distribution', $Result.Distro, '--user', 'root', '--exec', $daemon, 'doctor')
            [void](Invoke-Program -Program $wsl -Arguments $line)
            return
        }
    }
    $Result.Pairing = 'connected'
    $Result.Done = $true
}

function Uninstall-Distribution {
    param([string] $Name)
    $result = New-Object PSObject -Property @{ Distro = $Name; InDistro = ''; Pairing = 'none'; Done = $false }
    Write-Host "`n$Name"
    $arguments = @('--linux-only')
    if ($KeepConfig) { $arguments += '--keep-config' }
    $code = Invoke-InDistribution -Name $Name -Script 'uninstall.sh' -Arguments $arguments
    $result.InDistro = Get-Meaning $code
    $result.Done = $code -eq 0
    # Whatever became of the rest: this distro's key opens nothing any more.
    if ((Test-Path -LiteralPath $companion) -and @(Get-Trusted) -contains $Name) {
        $code = Invoke-Program -Program $companion -Arguments @('untrust', $Name)
        if ($code -ne 0) { $result.Pairing = 'still trusted: see above'; $result.Done = $false }
    }
    return $result
}

# The names of the distros whose keys the companion trusts.
function Get-Trusted {
    $lines = @(& $companion trusted)
    if ($LASTEXITCODE -ne 0) { throw 'wslnet-companion does not tell which distros it trusts: see above' }
    $lines | ForEach-Object { ([string] $_).Split(' ')[0] }
}

function Uninstall-Companion {
    if (-not (Test-Path -LiteralPath $companion)) {
        Write-Host "`nwslnet-companion is not installed on Windows"
        return $true
    }
    $others = @(Get-Trusted)
    if ($others.Count -gt 0) {
        Write-Host "`nwslnet-companion stays on Windows, for $($others -join ', ')"
        return $true
    }
    $arguments = @('uninstall')
    if (-not $KeepConfig) { $arguments += '--all' }
    return (Invoke-Program -Program $companion -Arguments $arguments) -eq 0
}

if ($From) { $folder = $From } else { $folder = Split-Path -Parent $PSScriptRoot }
if (-not (Test-Path -LiteralPath $folder -PathType Container)) { Stop-AskedWrongly "-From: there is no folder '$folder'" }
$folder = (Get-Item -LiteralPath $folder).FullName
if (-not ($folder -match '^[A-Za-z]:\\')) {
    Stop-AskedWrongly "'$folder' is not on a drive of Windows, from which alone it runs programs as administrator: copy it to one"
}
# A 32-bit PowerShell sees another System32 and another Program Files.
$system = Join-Path $env:SystemRoot 'System32'
if (-not [Environment]::Is64BitProcess) { $system = Join-Path $env:SystemRoot 'Sysnative' }
$programs = $env:ProgramFiles
if ($env:ProgramW6432) { $programs = $env:ProgramW6432 }
$wsl = Join-Path $system 'wsl.exe'
if (-not (Test-Path -LiteralPath $wsl)) { Stop-AskedWrongly 'WSL is not installed: wsl --install does that' }
$companion = Join-Path $programs 'wslnet\wslnet-companion.exe'
$released = Join-Path $folder 'wslnet-companion.exe'
if (-not $Uninstall -and -not (Test-Path -LiteralPath $released)) {
    Stop-AskedWrongly "there is no wslnet-companion.exe in '$folder'; -From names the folder of a release"
}

$chosen = @(Select-Distribution)
$windowsDone = $true
$results = @(foreach ($name in $chosen) {
        try {
            if ($Uninstall) { Uninstall-Distribution $name } else { Install-Distribution $name }
        }
        catch {
            New-Object PSObject -Property @{ Distro = $name; InDistro = $_.Exception.Message; Pairing = ''; Done = $false }
        }
    })
$installed = @($results | Where-Object { $_.InDistro -eq 'done' })
if (-not $Uninstall -and $installed.Count -gt 0) {
    # One command for both, so that Windows asks once.
    $arguments = @('install')
    switch ($Form) {
        'Logon' { $arguments += '--logon' }
        'Service' { $arguments += '--service' }
    }
    $arguments += '--pair'
    $arguments += @($installed | ForEach-Object { $_.Distro })
    Write-Host "`nInstalling wslnet-companion, and pairing; Windows asks for an administrator once"
    $code = Invoke-Program -Program $released -Arguments $arguments
    # 3: all that failed is that a distro is not connected.
    if (@(0, 3) -notcontains $code) {
        [Console]::Error.WriteLine("install.ps1: wslnet-companion could not be installed and paired: see above (exit code $code)")
        $windowsDone = $false
    }
    if (Test-Path -LiteralPath $companion) {
        foreach ($result in $installed) { Connect-Distribution -Result $result -Paired ($code -eq 0) }
    }
}
if ($Uninstall) {
    try { $windowsDone = Uninstall-Companion }
    catch {
        [Console]::Error.WriteLine("install.ps1: $($_.Exception.Message)")
        $windowsDone = $false
    }
}

$results | Format-Table -AutoSize -Wrap -Property @('Distro', 'InDistro', 'Pairing') | Out-Host
if ($Uninstall -and -not $windowsDone) { [Console]::Error.WriteLine('install.ps1: wslnet-companion could not be removed: see above') }
if ($windowsDone -and @($results | Where-Object { -not $_.Done }).Count -eq 0) { exit 0 }
exit 1
