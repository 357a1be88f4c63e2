# Windows' part, by way of interop: WSL starts Windows programs from Linux. Read by install.sh and uninstall.sh.
# Nothing here builds a command from text: programs get their arguments one by one, and those given to cmd.exe are fixed.
# shellcheck shell=bash disable=SC2154

# How long Windows may take, in seconds: for a question, for what a person has to agree to, and until both sides are connected.
readonly question_time=20 consent_time=300 connection_time=45

# Why Windows cannot be asked.
windows_trouble=''
# The folder of drive C, as Linux sees it; and what `find_windows` found.
system_drive='' user_folder='' programs_folder=''

# Finds Windows. Sets `user_folder` (%LOCALAPPDATA%) and `programs_folder` (%ProgramFiles%) as paths of Linux, or
# `windows_trouble`.
find_windows() {
    if ! command -v wslpath >/dev/null; then
        windows_trouble="this is not WSL: there is no wslpath"
        return 1
    fi
    if ! system_drive=$(linux_path "C:\\") || [ ! -d "$system_drive" ]; then
        windows_trouble="drive C of Windows is not mounted. Look for [automount] in /etc/wsl.conf"
        return 1
    fi
    if ! user_folder=$(folder_of LOCALAPPDATA) || ! programs_folder=$(folder_of ProgramFiles); then
        windows_trouble="Windows programs do not start from here. Look for [interop] in /etc/wsl.conf, and at
  https://learn.microsoft.com/windows/wsl/filesystems#run-windows-tools-from-linux"
        return 1
    fi
}

# A path of Windows as Linux has it.
linux_path() { timeout "$question_time" wslpath -u "$1" 2>/dev/null </dev/null; }

# folder_of VARIABLE: where a variable of Windows' environment leads.
folder_of() {
    local cmd said line
    cmd=$(linux_path "C:\\Windows\\System32\\cmd.exe") || return 1
    # `set` prints variables as they are, where `echo` would take a & in a user's name for a command; /u has it print UTF-16,
    # the one encoding in which every name can be printed; /d leaves out what the registry has cmd.exe run first.
    said=$(on_windows "$question_time" "$cmd" /d /u /c set "$1" 2>/dev/null | iconv -f UTF-16LE -t UTF-8 2>/dev/null) || return 1
    while IFS= read -r line; do
        case $line in
            # `set` prints all variables that begin so.
            "$1="*)
                line=${line#*=}
                linux_path "${line%$'\r'}"
                return
                ;;
        esac
    done <<<"$said"
    return 1
}

# on_windows SECONDS PROGRAM ARGUMENT ...: runs a Windows program, with a deadline. It starts in a folder of Windows' own,
# because many take none of Linux's.
on_windows() {
    local limit=$1
    shift
    (cd "$system_drive" && exec timeout --foreground --kill-after=5 "$limit" "$@" </dev/null)
}

# What the companion says where only the last step of a pairing failed: the two are not connected.
readonly paired_only=3

# The companion, where its `install` puts it.
installed_companion() { printf '%s/wslnet/wslnet-companion.exe\n' "$programs_folder"; }

# Sets `form`, unless it was asked for, to what the mode of WSL's network takes. Where it is the usual mode, `install` chooses:
# the form that is installed, and else the one for users.
choose_form() {
    if [ -n "$form" ]; then return; fi
    case $(timeout "$question_time" wslinfo --networking-mode 2>/dev/null </dev/null || true) in
        mirrored* | virtioproxy* | consomme*) form=--service ;;
    esac
}

# The program to be installed, in a folder of its own; and what to put before a command that has to do with that folder.
staged='' as_its_owner=()
# Whom the system gives no file (the kernel's overflow user, also its group).
readonly nobody=65534

# Puts the program where Windows runs it as administrator: on a drive of its own, not on \\wsl.localhost. Sets `staged`.
# What lies in a user's folder is that user's to change, and that of every program that Windows takes for him. So nothing that is there already is
# used or followed, and root neither writes nor runs anything there: whoever has the folder here does. Where WSL shows it as root's and lets
# everybody write there (a distro whose usual user is root), that is `nobody`.
stage() {
    local folder room user group mode
    # Where it really is: it may have been moved to another drive.
    folder=$(cd -P "$user_folder" && pwd -P) || folder=''
    case $(timeout "$question_time" wslpath -w "$folder" 2>/dev/null </dev/null) in
        [A-Za-z]:\\*) ;;
        *) fail "$failed" "$user_folder leads to ${folder:-nowhere}, which is not on a drive of Windows. This distro's part is installed" ;;
    esac
    if is_root; then
        read -r user group mode < <(stat -c '%u %g %a' "$folder") || fail "$failed" "cannot look at $folder. This distro's part is installed"
        if [ "$user" = 0 ] && (((8#$mode & 8#002) != 0)); then user=$nobody group=$nobody; fi
        as_its_owner=(setpriv "--reuid=$user" "--regid=$group" --clear-groups --)
    fi
    room=$("${as_its_owner[@]}" mktemp -d "$folder/wslnet-setup.XXXXXXXXXX") ||
        fail "$failed" "cannot make a folder in $folder. This distro's part is installed"
    staged=$room/wslnet-companion.exe
    trap unstage EXIT
    # `excl`: neither another file nor a link is written to.
    "${as_its_owner[@]}" dd of="$staged" conv=excl bs=1M status=none <"$from/wslnet-companion.exe" ||
        fail "$failed" "cannot write $staged. This distro's part is installed"
    # Of no effect, unless the drive is mounted with Linux's modes.
    "${as_its_owner[@]}" chmod 700 "$staged" 2>/dev/null || true
}

unstage() { "${as_its_owner[@]}" rm -rf -- "$(dirname "$staged")" || complain "$staged is in use, and can be removed later"; }

# Installs Windows' part and pairs, so that it asks for an administrator once for both.
install_windows() {
    local code=0 name pairing=()
    choose_form
    name=$(distro_name)
    if can_be_paired "$name"; then pairing=(--pair "$name"); fi
    stage
    say "Installing wslnet-companion on Windows and pairing with it; Windows asks for an administrator once"
    on_windows "$consent_time" "${as_its_owner[@]}" "$staged" install ${form:+"$form"} "${pairing[@]}" || code=$?
    trap - EXIT
    unstage
    if [ $code = 0 ] && [ ${#pairing[@]} = 0 ]; then
        fail "$failed" "both sides are installed. This distro's name cannot be that of a key: pair by hand, under another one:
on Windows \`wslnet-companion trust NAME KEY\` with what \`sudo wslnetd key\` prints here, and here \`sudo wslnetd trust KEY\`"
    fi
    case $code in 0 | "$paired_only") return ;; esac
    fail "$failed" "Windows' part could not be installed and paired (see above; $(meaning_of $code)).
This distro's part is installed. Run this again when the cause is gone"
}

# Whether a distro's key can be trusted under its own name.
can_be_paired() { [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$ ]]; }

meaning_of() {
    case $1 in
        124 | 137) printf 'it took more than %d seconds' "$consent_time" ;;
        *) printf 'exit code %d' "$1" ;;
    esac
}

await_connection() {
    local deadline=$((SECONDS + connection_time))
    until is_connected; do
        if [ $SECONDS -ge $deadline ]; then
            complain "both sides are installed, and after $connection_time seconds not connected:"
            as_root "$program" doctor >&2 || true
            exit "$not_connected"
        fi
        sleep 0.5
    done
    "$program" status
}

is_connected() { timeout 10 "$program" status 2>/dev/null | grep -q '^ *companion: [^ ]* connected'; }

distro_name() {
    if [ -n "${WSL_DISTRO_NAME:-}" ]; then
        printf '%s\n' "$WSL_DISTRO_NAME"
        return
    fi
    local name
    name=$(timeout 10 "$program" status 2>/dev/null | sed -n 's/^ *distro: \([^ ]*\)$/\1/p') || name=''
    printf '%s\n' "${name:-NAME}"
}

# As PowerShell takes a text literally.
quoted() { printf "'%s'\n" "${1//\'/\'\'}"; }

print_by_hand() {
    local name path
    choose_form
    name=$(distro_name)
    path=$from/wslnet-companion.exe
    cat <<TEXT

Windows' part could not be installed from here: $windows_trouble
The distro's part is done. On Windows, in a PowerShell (not as administrator: it asks for one by itself):

  \$setup = New-Item -ItemType Directory "\$env:LOCALAPPDATA\\wslnet-setup-\$(New-Guid)"
  Copy-Item -LiteralPath $(quoted "\\\\wsl.localhost\\$name${path//\//\\}") -Destination \$setup
  & "\$setup\\wslnet-companion.exe" install${form:+ $form} --pair $(quoted "$name")
  Remove-Item -Recurse \$setup

Then, here: wslnetd status
TEXT
}

# Windows' part of a removal. Returns an exit code.
remove_from_windows() {
    local companion trusted mine='' name='' others=() one key
    if ! find_windows; then
        print_removal_by_hand
        return "$by_hand"
    fi
    companion=$(installed_companion)
    if [ ! -e "$companion" ]; then
        say "wslnet-companion is not installed on Windows"
        return 0
    fi
    if [ -z "$whole_windows" ]; then
        if ! trusted=$(on_windows "$question_time" "$companion" trusted); then
            complain "whether other distros are paired with wslnet-companion is not known (see above), so it stays on Windows.
--windows removes it all the same"
            return "$failed"
        fi
        if as_root test -e "$state_folder/key"; then mine=$(as_root "$program" key) || mine=''; fi
        while read -r one key; do
            # Without a key of its own, the distro is the one of its name.
            if [ "${key%$'\r'}" = "$mine" ] || { [ -z "$mine" ] && [ "$one" = "${WSL_DISTRO_NAME:-}" ]; }; then
                name=$one
            elif [ -n "$one" ]; then
                others+=("$one")
            fi
        done <<<"$trusted"
    fi
    if [ ${#others[@]} -gt 0 ]; then
        say "wslnet-companion stays on Windows, for ${others[*]} (--windows removes it all the same)"
        if [ -z "$name" ]; then return 0; fi
        # Of the service, it takes an administrator.
        on_windows "$consent_time" "$companion" untrust "$name" && return 0
        complain "Windows could not be told to trust this distro no longer (see above)"
        return "$failed"
    fi
    say "Removing wslnet-companion from Windows; it asks for an administrator once"
    local everything=(--all)
    if [ -n "$keep_config" ]; then everything=(); fi
    on_windows "$consent_time" "$companion" uninstall "${everything[@]}" && return 0
    complain "wslnet-companion could not be removed from Windows (see above)"
    return "$failed"
}

print_removal_by_hand() {
    cat <<TEXT
Windows' part cannot be removed from here: $windows_trouble
If no other distro uses it, on Windows, in a PowerShell:

  & "\$env:ProgramFiles\\wslnet\\wslnet-companion.exe" uninstall --all

Otherwise:

  & "\$env:ProgramFiles\\wslnet\\wslnet-companion.exe" untrust $(quoted "$(distro_name)")

TEXT
}
