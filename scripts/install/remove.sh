# Takes an installation away again. Read by uninstall.sh.
# shellcheck shell=bash disable=SC2154

# What could not be removed.
problems=0
problem() {
    complain "$*"
    problems=1
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
    remove_files
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload || problem "systemctl daemon-reload failed"
        systemctl reset-failed 'wslnetd*' 2>/dev/null || true
    fi
    remove_user
    mention "$units_folder"/wslnetd*.d "$config_folder"
    if [ $problems != 0 ]; then return 1; fi
    say "wslnetd is removed from this distro"
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
        if [ -x "$tool" ] && "$tool" hosts --remove; then return; fi
    done
    problem "the lines of /etc/hosts that end with '# wslnet' could not be removed, nor the two marks around them"
}

remove_files() {
    local file
    for file in "${installed_files[@]}"; do
        rm -f "$file" "$(next_to "$file")" "$(former_of "$file")" || problem "cannot remove $file"
    done
    rm -rf "${remains[@]}" || problem "cannot remove all of ${remains[*]}"
    local folder
    for folder in "$(dirname "$sysusers")" "$(dirname "$tmpfiles")"; do
        # systemd does not bring them everywhere. An empty one that no package has is ours.
        if command -v dpkg-query >/dev/null && ! dpkg-query -S "$folder" >/dev/null 2>&1; then rmdir "$folder" 2>/dev/null || true; fi
    done
    if [ -n "$keep_config" ]; then return; fi
    rm -f "$config" "$config_folder"/config.d/*.toml || problem "cannot remove $config"
    # What else is in them is somebody's.
    rmdir "$config_folder/config.d" "$config_folder" 2>/dev/null || true
}

remove_user() {
    local home
    home=$(getent passwd wslnetd | cut -d: -f6) || home=''
    # Another user of that name is not ours.
    if [ -n "$home" ] && [ "$home" != "$state_folder" ]; then return; fi
    if [ -n "$home" ]; then userdel wslnetd || problem "cannot remove the user wslnetd"; fi
    if getent group wslnetd >/dev/null; then groupdel wslnetd || problem "cannot remove the group wslnetd"; fi
}

# Says what was left, because others made it.
mention() {
    local path
    for path in "$@"; do
        if [ -e "$path" ]; then say "left: $path"; fi
    done
}
