#!/usr/bin/env bash
# Installs wslnetd in this WSL distro and wslnet-companion on Windows, and lets the two know each other.
# Run it again to upgrade: an existing config is left alone.
#
#   scripts/install.sh [options]
#
# Options:
#   --from DIR     take wslnetd and wslnet-companion.exe from there, rather than build them. A release has them beside scripts/
#   --logon        on Windows: a program of this user's, started at logon. The default, unless the service is there already
#   --service      on Windows: a service. The default in WSL's modes mirrored and virtioproxy
#   --linux-only   this distro's part alone
#   --yes          install what the build needs by apt-get, without a question
#   --help         this text
#
# As an ordinary user it asks for root by sudo, once; Windows asks once for an administrator.
#
# Exit codes:
#   0  done: both sides run and are connected
#   1  a step failed; it says which, and a former installation in this distro goes on as it was
#   2  asked wrongly
#   3  done in this distro; what is to be done on Windows was printed, because Windows programs cannot be started from here
#   4  cannot be installed here: WSL 1, no systemd, no root, or something that the build needs is missing. Nothing was changed
#   5  both sides are installed and do not reach each other: `wslnetd doctor` was run and says why
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(dirname "$here")
# shellcheck source-path=SCRIPTDIR source=install/files.sh
. "$here/install/files.sh"
# shellcheck source-path=SCRIPTDIR source=install/build.sh
. "$here/install/build.sh"
# shellcheck source-path=SCRIPTDIR source=install/linux.sh
. "$here/install/linux.sh"
# shellcheck source-path=SCRIPTDIR source=install/windows.sh
. "$here/install/windows.sh"

from='' form='' linux_only='' yes=''
while [ $# -gt 0 ]; do
    case $1 in
        --from)
            [ $# -ge 2 ] || fail "$asked_wrongly" "--from takes a folder; see --help"
            from=$2
            shift
            ;;
        --logon | --service) form=$1 ;;
        --linux-only) linux_only=yes ;;
        --yes) yes=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) fail "$asked_wrongly" "what is '$1'? See --help" ;;
    esac
    shift
done

# The distro's part is done by this script once more, as root.
install_here() {
    if is_root; then
        install_linux "$from" "$source_of_units"
    else
        say "Installing wslnetd takes root."
        sudo -- "$here/install.sh" --linux-only --from "$from"
    fi
}

check_distro
need_rights
if [ -z "$from" ] && [ -e "$root/wslnetd" ]; then from=$root; fi
if [ -z "$from" ]; then
    build
else
    from=$(cd "$from" 2>/dev/null && pwd -P) || fail "$asked_wrongly" "--from: there is no such folder"
fi
check_parts

install_here
if [ -n "$linux_only" ]; then exit 0; fi

if ! find_windows; then
    print_by_hand
    exit "$by_hand"
fi
install_windows
await_connection
