# The distro's part of an installation. Read by install.sh.
# shellcheck shell=bash disable=SC2154

# How long the daemon may take to answer after its start, in seconds.
readonly start_time=15

# Ends the script unless this is a distro in which the daemon can run.
check_distro() {
    # WSL 1 calls its kernel 4.4.0-22621-Microsoft, WSL 2 5.15.90.1-microsoft-standard-WSL2, or what its owner likes.
    case $(uname -r) in
        *-Microsoft)
            fail "$cannot_here" "this distro runs on WSL 1, which shares Windows' network: there is nothing to forward.
To make it one of WSL 2, on Windows: wsl.exe --set-version ${WSL_DISTRO_NAME:-NAME} 2"
            ;;
    esac
    if [ -d /run/systemd/system ] && [ "$(cat /proc/1/comm)" = systemd ]; then return; fi
    complain "systemd is not the first process of this distro. It takes these two lines in /etc/wsl.conf:"
    printf '\n[boot]\nsystemd=true\n\n' >&2
    if grep -qs '^[[:space:]]*\[boot\]' /etc/wsl.conf; then
        complain "The file has a [boot] section already: the second line goes there."
    fi
    complain "Then, on Windows: wsl.exe --shutdown (it ends all distros). Open this distro again and run this again."
    exit "$cannot_here"
}

# install_linux FROM UNITS: installs or upgrades, as root. What was there before stays in force until everything new is laid
# and checked, and comes back if the new one does not start.
install_linux() {
    local from=$1 units_from=$2 file
    only_one
    umask 022
    trap give_up EXIT
    remove_leftovers

    lay "$from/wslnetd" 755 "$program"
    for file in "${units[@]}"; do lay "$units_from/$file" 644 "$units_folder/$file"; done
    lay "$units_from/sysusers.d/wslnetd.conf" 644 "$sysusers"
    lay "$units_from/tmpfiles.d/wslnetd.conf" 644 "$tmpfiles"
    check_next
    keep_former
    if has_changes || ! systemctl --quiet is-active wslnetd.service; then
        exchange "$units_from/config.toml"
        start_new
    else
        systemctl --quiet enable "${enabled_units[@]}"
        say "wslnetd is up to date in this distro and runs"
    fi
    undo=''
    trap - EXIT
    remove_leftovers
    let_others
}

# What is taken back if a step fails: nothing yet, or the exchange.
undo=''

give_up() {
    local code=$?
    trap - EXIT
    # What follows must not stop half-way.
    set +e
    if [ -n "$undo" ]; then take_back; fi
    remove_leftovers
    exit "$code"
}

remove_leftovers() {
    local file
    for file in "${installed_files[@]}"; do rm -f "$(next_to "$file")" "$(former_of "$file")"; done
}

# lay SOURCE MODE TARGET: the new file beside the one that it will replace.
lay() {
    local next
    next=$(next_to "$3")
    # It may be a link that somebody left there.
    rm -f "$next"
    install -D -m "$2" "$1" "$next" || fail "$failed" "cannot lay $3; nothing was changed"
    sync "$next"
}

# The new program must run here, and take the config that is here.
check_next() {
    local next said
    next=$(next_to "$program")
    if ! said=$(timeout 10 "$next" --version 2>&1); then
        printf '%s\n' "$said" >&2
        fail "$failed" "this wslnetd does not run here ($(uname -m), $(getconf GNU_LIBC_VERSION 2>/dev/null || echo 'not glibc')); nothing was changed.
Build it in this distro: scripts/install.sh without --from"
    fi
    say "Installing $said"
    if [ ! -e "$config" ]; then return; fi
    if ! said=$(timeout 10 "$next" check 2>&1); then
        printf '%s\n' "$said" >&2
        fail "$failed" "the new version cannot use the config as it is; nothing was changed. Correct it and run this again"
    fi
}

keep_former() {
    local file
    for file in "${installed_files[@]}"; do
        if [ -e "$file" ] || [ -L "$file" ]; then ln -P "$file" "$(former_of "$file")"; fi
    done
}

has_changes() {
    local file
    [ -e "$config" ] || return 0
    for file in "${installed_files[@]}"; do
        cmp -s "$file" "$(next_to "$file")" || return 0
    done
    return 1
}

# exchange CONFIG: each file in one step, also those in use.
exchange() {
    local file
    undo=yes
    for file in "${installed_files[@]}"; do mv -f -T "$(next_to "$file")" "$file"; done
    if getent group wslnetd >/dev/null && ! getent passwd wslnetd >/dev/null; then install -D -m 644 /dev/null "$group_of_others"; fi
    systemd-sysusers "$sysusers"
    systemd-tmpfiles --create "$tmpfiles"
    if [ ! -e "$config" ] && [ ! -L "$config" ]; then install -m 644 "$1" "$config"; fi
    systemctl daemon-reload
}

start_new() {
    systemctl --quiet enable "${enabled_units[@]}"
    systemctl try-restart wslnetd-hosts.socket
    if systemctl restart "${enabled_units[@]}" && answers; then
        say "wslnetd runs in this distro"
        return
    fi
    journalctl --no-pager --quiet --lines=15 --output=cat --unit=wslnetd.service >&2 || true
    fail "$failed" "the new wslnetd does not run (its last words are above)"
}

answers() {
    local deadline=$((SECONDS + start_time))
    until timeout 5 "$program" status >/dev/null 2>&1; do
        if [ $SECONDS -ge $deadline ]; then return 1; fi
        sleep 0.2
    done
}

take_back() {
    local file former had_program=''
    if [ -e "$(former_of "$program")" ]; then had_program=yes; fi
    if [ -z "$had_program" ]; then systemctl --quiet disable --now "${enabled_units[@]}"; fi
    for file in "${installed_files[@]}"; do
        former=$(former_of "$file")
        if [ -e "$former" ] || [ -L "$former" ]; then mv -f -T "$former" "$file"; else rm -f "$file"; fi
    done
    systemctl daemon-reload
    systemctl reset-failed wslnetd.service
    if [ -z "$had_program" ]; then
        complain "what was laid is removed again, but for the config and the key: correct the cause and run this again, or run scripts/uninstall.sh"
    elif systemctl restart "${enabled_units[@]}" && answers; then
        complain "the former version is back, and runs"
    else
        complain "the former version is back, and does not run either: see journalctl -u wslnetd"
    fi
}
