#!/usr/bin/env bash
# Removes wslnetd from this WSL distro, and wslnet-companion from Windows if no other distro is paired with it. Nothing is left
# on either side. It can be run again, and after a run that was cut off.
#
#   scripts/uninstall.sh [options]
#
# Options:
#   --keep-config  leave the configuration, and on Windows the key too: this distro's key goes in any case
#   --windows      remove it from Windows even if other distros are paired with it
#   --linux-only   this distro's part alone; Windows goes on trusting its key
#   --help         this text
#
# As an ordinary user it asks for root by sudo, once; Windows asks once for an administrator.
#
# Exit codes:
#   0  nothing of it is left; or, where other distros are paired, nothing of this distro
#   1  something could not be removed: it says what
#   2  asked wrongly
#   3  removed from this distro; what is to be done on Windows was printed, because Windows programs cannot be started from here
#   4  it takes root, and there is no sudo. Nothing was changed
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(dirname "$here")
# shellcheck source-path=SCRIPTDIR source=install/files.sh
. "$here/install/files.sh"
# shellcheck source-path=SCRIPTDIR source=install/windows.sh
. "$here/install/windows.sh"
# shellcheck source-path=SCRIPTDIR source=install/remove.sh
. "$here/install/remove.sh"

keep_config='' whole_windows='' linux_only=''
for argument in "$@"; do
    case $argument in
        --keep-config) keep_config=$argument ;;
        --windows) whole_windows=$argument ;;
        --linux-only) linux_only=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) fail "$asked_wrongly" "what is '$argument'? See --help" ;;
    esac
done

need_rights
code=0
# Windows first: it is asked about this distro, of which the daemon knows.
if [ -z "$linux_only" ]; then remove_from_windows || code=$?; fi
if is_root; then
    remove_from_here || code=$failed
else
    say "Removing wslnetd takes root."
    sudo -- "$here/uninstall.sh" --linux-only ${keep_config:+"$keep_config"} || code=$failed
fi
exit "$code"
