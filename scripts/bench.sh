#!/usr/bin/env bash
# Measures how fast wslnet is, next to other programs for the same job, and prints tables. About 15 minutes, and the build.
#
#   scripts/bench.sh                    everything
#   scripts/bench.sh --quick            the same less often and shorter, in two minutes: for a first impression
#   scripts/bench.sh PART ...           some of it: exposure, idle, scan, relay, retarget, growth, micro
#   scripts/bench.sh --help             all options
#
# It writes bench/results.json with every sample, bench/README-table.md, and a plot: bench/how-fast.svg after a run of
# everything, bench/quick.svg after others. All traffic stays in network namespaces that it makes; whenever and however it
# ends, they go. As root on Debian or Ubuntu it installs the programs to compare with; one that cannot be had is
# left out, and its row says so. The exit code is 0 when everything was measured, whatever came out: the targets are in the
# report. What else runs on the machine shows in the figures.
set -euo pipefail
cd "$(dirname "$0")/.."

peers=(passt socat haproxy nginx-light libnginx-mod-stream docker.io rinetd valgrind)

case " $* " in
    *' -h '* | *' --help '*)
        sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"
        exec cargo bench --quiet --locked --bench bench -- --help
        ;;
esac
if [ "$(id -u)" != 0 ]; then
    echo "It needs root, for network namespaces: sudo env \"PATH=\$PATH\" \"HOME=\$HOME\" $0 $*" >&2
    exit 1
fi

missing=()
for package in "${peers[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "Installing ${missing[*]}"
    # One by one: what cannot be had must not keep the others away. RUNLEVEL=1 keeps the packages' servers from starting.
    apt-get update -qq || true
    for package in "${missing[@]}"; do
        RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$package" >/dev/null </dev/null ||
            echo "cannot install $package: its row will be empty" >&2
    done
fi

# As a release is built; the two programs with it.
program=$(cargo bench --quiet --locked --bench bench --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*\/bench-[^"]*\)".*/\1/p' | tail -n 1)

# Its processes have a PID namespace of their own, and its files are in memory: both end with it, and it ends with this script.
folder=$(mktemp -d)
trap 'rmdir "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# shellcheck disable=SC2016 # the inner shell expands these
TMPDIR=$folder setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
    sh -c 'mount -t tmpfs -o mode=755 tmpfs "$TMPDIR" && exec "$@"' sh "$program" "$@" &
wait $!
