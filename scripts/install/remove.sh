# Takes an installation away again. Read by uninstall.sh.
# shellcheck shell=bash disable=SC2154

# What could not be removed.
problems=0
problem() {
    complain "$*"
    problems=1
}

# Whether anything of it was there.
was_there=''
# removed TEXT: says what is gone now.
removed() {
    was_there=yes
    say "removed: $*"
}

# take_away PATH ...: what is there of these, with what is in them. Links are removed and not followed.
take_away() {
    local path
    for path in "$@"; do
        if [ ! -e "$path" ] && [ ! -L "$path" ]; then continue; fi
        if rm -rf -- "$path"; then removed "$path"; else problem "cannot remove $path"; fi
    done
}

# remove_from_here: this distro's part, as root. Each step is one that may have been done before.
remove_from_here() {
    only_one
    # First the daemon: it takes its names out of /etc/hosts by the sockets' helper.
    stop_units wslnetd.service
    remove_names
    stop_units wslnetd-hosts.socket wslnetd-engines.socket 'wslnetd-hosts@*.service' 'wslnetd-engines@*.service'
    # By name, also where a unit's file is gone: its links are not.
    systemctl --quiet disable "${units[@]}" 2>/dev/null || remove_links
    # Before the files: what is known of the group is in one.
    remove_user
    remove_files
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload || problem "systemctl daemon-reload failed"
        systemctl reset-failed 'wslnetd*' 2>/dev/null || true
    fi
    mention "$units_folder"/wslnetd*.d "$config_folder"
    if [ $problems != 0 ]; then return 1; fi
    if [ -n "$was_there" ]; then say "wslnetd is removed from this distro"; else say "wslnetd is not installed in this distro"; fi
}

stop_units() {
    if [ ! -d /run/systemd/system ]; then return; fi
    local unit
    for unit in "$@"; do
        # A unit that is not known is stopped.
        systemctl --quiet stop "$unit" 2>/dev/null || ! systemctl --quiet is-active "$unit" || problem "cannot stop $unit"
    done
}

# Links of enabled units, where the units themselves are gone.
remove_links() {
    local unit
    for unit in "${units[@]}"; do
        find "$units_folder" -mindepth 2 -maxdepth 2 -type l -path "*.wants/$unit" -delete
    done
}

# What a killed daemon has left in /etc/hosts.
remove_names() {
    grep -qs -e '# wslnet$' -e '^# BEGIN wslnet' /etc/hosts || return 0
    local tool
    for tool in "$program" "$root/wslnetd" "$root/target/install/wslnetd"; do
        if [ -x "$tool" ] && "$tool" hosts --remove; then
            removed "the names in /etc/hosts"
            return
        fi
    done
    problem "the lines of /etc/hosts that end with '# wslnet' could not be removed, nor the two marks around them"
}

remove_files() {
    local file folder
    for file in "${installed_files[@]}"; do take_away "$file" "$(next_to "$file")" "$(former_of "$file")"; done
    take_away "${remains[@]}"
    for folder in "$(dirname "$sysusers")" "$(dirname "$tmpfiles")"; do
        # systemd does not bring them everywhere. An empty one that no package has is ours.
        if command -v dpkg-query >/dev/null && ! dpkg-query -S "$folder" >/dev/null 2>&1; then rmdir "$folder" 2>/dev/null || true; fi
    done
    if [ -z "$keep_config" ]; then take_away "$config" "$config_folder"/config.d/*.toml; fi
    # What else is in them is somebody's.
    rmdir "$config_folder/config.d" "$config_folder" 2>/dev/null || true
}

# The user and the group that systemd-sysusers has made for the daemon.
remove_user() {
    local home group is_others=''
    if [ -e "$group_of_others" ]; then is_others=yes; fi
    group=$(getent group wslnetd) || group=''
    home=$(getent passwd wslnetd | cut -d: -f6) || home=''
    if [ "$home" = "$state_folder" ]; then
        if ! userdel wslnetd; then
            # What is known of the group stays for the next time.
            problem "cannot remove the user wslnetd"
            return
        fi
        removed "the user wslnetd"
        if [ -n "$group" ]; then remove_group "$(cut -d: -f3 <<<"$group")" "$is_others"; fi
    elif [ -n "$home" ]; then
        say "left: the user wslnetd, whose home is $home: scripts/install.sh makes one with $state_folder"
    elif [ -n "$group" ]; then
        say "left: the group wslnetd, which has no user of that name: it is not known who made it"
    fi
    rm -f "$group_of_others"
}

# remove_group NUMBER IS_OTHERS: once the user is gone. Where the system is set up so, the group has gone with it.
remove_group() {
    if [ -n "$2" ]; then
        getent group wslnetd >/dev/null || groupadd --gid "$1" wslnetd || problem "the group wslnetd, which was there before, is gone (it was $1)"
        say "left: the group wslnetd, which was there before"
    elif getent group wslnetd >/dev/null && ! groupdel wslnetd; then
        problem "cannot remove the group wslnetd"
    fi
}

# Says what was left, because others made it.
mention() {
    local path
    for path in "$@"; do
        if [ -e "$path" ]; then say "left: $path"; fi
    done
}
