# What an installation consists of in a distro, and how the scripts speak. Read by install.sh and uninstall.sh.
# shellcheck shell=bash disable=SC2034

# Exit codes, as install.sh and uninstall.sh --help explain them.
failed=1 asked_wrongly=2 by_hand=3 cannot_here=4 not_connected=5

program=/usr/local/bin/wslnetd
config_folder=/etc/wslnetd
config=$config_folder/config.toml
state_folder=/var/lib/wslnetd
units_folder=/etc/systemd/system
units=(wslnetd.service wslnetd-engines.socket wslnetd-engines@.service wslnetd-hosts.socket wslnetd-hosts@.service)
# Those that start with the system. wslnetd-hosts.socket is the user's to enable.
enabled_units=(wslnetd-engines.socket wslnetd.service)
sysusers=/etc/sysusers.d/wslnetd.conf
tmpfiles=/etc/tmpfiles.d/wslnetd.conf
# Is there if the daemon's group was there before it, so that it stays.
group_of_others=$config_folder/.group-was-there
# What runs leave, if a unit's file was gone when it stopped.
remains=("$state_folder" /run/wslnetd /run/wslnetd-engines.sock /run/wslnetd-hosts.sock)

# Everything that install.sh lays, but for the config, which is the user's from then on.
installed_files=("$program" "${units[@]/#/$units_folder/}" "$sysusers" "$tmpfiles")

# The names under which the next and the former version of a file lie beside it while they are exchanged.
next_to() { printf '%s/.%s.wslnetd-new\n' "$(dirname "$1")" "$(basename "$1")"; }
former_of() { printf '%s/.%s.wslnetd-old\n' "$(dirname "$1")" "$(basename "$1")"; }

say() { printf '%s\n' "$*"; }
complain() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
# fail CODE TEXT: ends the script.
fail() {
    local code=$1
    shift
    complain "$*"
    exit "$code"
}

usage() { sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; }

is_root() { [ "$(id -u)" = 0 ]; }
# Runs a program as root.
as_root() { if is_root; then "$@"; else sudo -- "$@"; fi; }

need_rights() {
    if is_root || command -v sudo >/dev/null; then return; fi
    fail "$cannot_here" "this takes root, and there is no sudo. On Windows: wsl.exe -d ${WSL_DISTRO_NAME:-NAME} -u root, and again there"
}

# One of them at a time, until `let_others`.
only_one() {
    exec 9<"$units_folder"
    flock --nonblock 9 || fail "$failed" "wslnetd is being installed or removed by another run; wait for that"
}
let_others() { exec 9<&-; }
