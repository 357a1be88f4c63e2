#!/usr/bin/env bash
# The one test command. Prints a line for each step, and at last: N passed, M failed, K skipped.
#
#   scripts/test.sh              every step
#   scripts/test.sh STEP ...     some of them
#   scripts/test.sh --help       this text
#
# Steps:
#   shell      shellcheck of the scripts
#   powershell the PowerShell scripts, read by two grammars (scripts/powershell.py), as no registry has a PowerShell to run;
#              and what scripts/verify-windows.ps1 runs on Linux
#   fmt        formatting
#   clippy     lints of everything for Linux
#   windows    lints of the Windows program and its crates
#   docs       the documentation builds without a warning
#   deny       licenses, banned crates and sources of the dependencies. Not the advisories: their database is a git
#              repository, and this command takes from package registries only
#   unit       unit and property tests, and the OpenAPI document against the types (root)
#   fuzz       each parser of foreign input, fuzzed for a few seconds (scripts/fuzz.sh)
#   wineunit   unit tests of the Windows side under Wine
#   e2e        the two programs between network namespaces (root)
#   containers real Docker and Podman engines (root)
#   systemd    the unit under a real systemd (root)
#   wine       the Windows program under Wine against the Linux daemon (root)
#   demo       scripts/demo.sh (root)
#
# As root on Debian or Ubuntu it installs what is missing, from package registries. A step that cannot run is skipped with
# its reason; where CI=true is set that is a failure. The output of each step is kept in target/test/STEP.log.
# Tests that run at once in a world of their own: WSLNET_TEST_THREADS (4).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

steps=(shell powershell fmt clippy windows docs deny unit fuzz wineunit e2e containers systemd wine demo)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wslnet
target=${CARGO_TARGET_DIR:-target}
logs=$target/test
skip_code=77
threads=${WSLNET_TEST_THREADS:-4}
deny_version=0.20.2
windows_crates=(-p wslnet-protocol -p wslnet-link -p wslnet-relay -p wslnet-console -p wslnet-hosts -p wslnet-companion -p wslnet-iphlpsvc -p wslnet-wsl)

skip() {
    echo "skipped: $*"
    exit $skip_code
}

# Installs packages, or skips the step.
need() {
    local package missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    if [ "$(id -u)" != 0 ]; then skip "not root, and not installed: ${missing[*]}"; fi
    # RUNLEVEL=1 keeps the packages' servers from starting.
    if ! { apt-get update -qq &&
        RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; }; then
        skip "cannot install: ${missing[*]}"
    fi
}

need_root() {
    if [ "$(id -u)" != 0 ]; then skip "needs root, for network namespaces"; fi
    unshare --net --mount --pid --fork true 2>/dev/null || skip "this root may not make namespaces"
}

need_windows() {
    scripts/windows.sh setup || skip "cannot set up Wine and the Windows target (see above)"
}

step_shell() {
    need shellcheck
    shellcheck scripts/*.sh scripts/install/*.sh .ci/run
    # Text for the shell that the tests hand to a machine; its variables come from there.
    shellcheck --shell=sh --exclude=SC2153,SC2154 tests/e2e/bench/systemd.sh
    shellcheck --shell=sh tests/e2e/bench/wsl/*.sh
}

step_powershell() {
    need python3 python3-venv
    local room=$cache/tools/powershell
    if ! cmp -s scripts/powershell.txt "$room/made-of"; then
        rm -rf "$room"
        python3 -m venv "$room" || skip "cannot make a Python environment"
        "$room/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
            --requirement scripts/powershell.txt || skip "cannot install the grammars of PowerShell"
        cp scripts/powershell.txt "$room/made-of"
    fi
    "$room/bin/python" scripts/powershell.py scripts/*.ps1
    python3 tests/verify_helper.py
}

step_fmt() { cargo fmt --all --check; }

step_clippy() {
    need gcc libc6-dev
    cargo clippy --locked --workspace --all-targets -- -D warnings
    # The fuzz targets and the doors to what they try. Nothing is linked, so libFuzzer does not have to be there.
    CUSTOM_LIBFUZZER_PATH=/nowhere/libfuzzer.a cargo clippy --locked --package wslnet-fuzz --features libfuzzer -- \
        -D warnings --cfg fuzzing
}

step_windows() {
    need gcc libc6-dev
    need_windows
    scripts/windows.sh clippy --locked "${windows_crates[@]}"
    scripts/windows.sh clippy --locked --bin wslnet-companion
}

step_docs() {
    need gcc libc6-dev
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
}

step_deny() {
    local tool=$cache/tools/bin/cargo-deny
    if [ "$("$tool" --version 2>/dev/null)" != "cargo-deny $deny_version" ]; then
        cargo install --locked --root "$cache/tools" --version "$deny_version" cargo-deny
    fi
    "$tool" --locked check licenses bans sources
}

step_unit() {
    # Some of them change owners of files, make network namespaces and give up capabilities.
    need_root
    need gcc libc6-dev iproute2 util-linux dbus
    cargo test --locked --workspace --exclude wslnet --no-fail-fast
}

step_fuzz() {
    need gcc g++ libc6-dev
    # The same search every time, so that it is the change that fails here and not its luck. scripts/fuzz.sh alone searches
    # elsewhere, and longer.
    WSLNET_FUZZ_SECONDS=3 WSLNET_FUZZ_SEED=1 scripts/fuzz.sh
}

step_wineunit() {
    need gcc libc6-dev
    need_windows
    # Left out: Wine 8 takes no notice of FILE_FLAG_FIRST_PIPE_INSTANCE, so only real Windows can keep a pipe for its owner.
    scripts/windows.sh cargo test --locked --no-fail-fast -p wslnet-protocol -p wslnet-link -p wslnet-relay -p wslnet-console -p wslnet-hosts \
        --lib -- --skip a_living_owner_keeps_its_pipe
    scripts/windows.sh cargo test --locked --no-fail-fast -p wslnet-companion --lib -- host:: portproxy:: names:: install:: event_log:: pair:: bulletin:: firewall:: control_address
}

# Runs the tests of the programs, or those of some modules.
e2e() { timeout --kill-after=10 900 cargo test --locked --package wslnet --tests --no-fail-fast -- --test-threads "$threads" "$@"; }

step_e2e() {
    need_root
    need gcc libc6-dev iproute2 procps util-linux mount python3 curl nginx-light redis-server dnsmasq-base postgresql gdbserver \
        bind9-dnsutils iptables
    e2e --skip systemd:: --skip sandbox:: --skip wine:: --skip containers::
    # What scripts/bench.sh measures with still works: every part of it, in the least time, without other programs.
    timeout --kill-after=10 300 cargo test --locked --package wslnet --bench bench -- --smoke --out "$(realpath "$logs")/bench"
}

step_containers() {
    need_root
    need gcc libc6-dev iproute2 procps util-linux mount python3 curl docker.io podman netavark conmon crun iptables busybox-static
    e2e containers::
}

step_systemd() {
    need_root
    need gcc libc6-dev iproute2 procps util-linux mount python3 curl systemd systemd-container dbus nginx-light
    e2e systemd:: sandbox::
}

step_wine() {
    need_root
    need gcc libc6-dev iproute2 procps util-linux mount python3 systemd systemd-container dbus sudo
    need_windows
    scripts/windows.sh cargo build --locked --bin wslnet-companion
    scripts/windows.sh cargo build --locked -p wslnet-iphlpsvc -p wslnet-wsl
    local exe helper wsl
    exe=$(find "$target" -path '*x86_64-pc-windows-gnu/debug/wslnet-companion.exe' -print -quit)
    helper=$(find "$target" -path '*x86_64-pc-windows-gnu/debug/iphlpsvc.exe' -print -quit)
    wsl=$(find "$target" -path '*x86_64-pc-windows-gnu/debug/wsl.exe' -print -quit)
    WSLNET_WINDOWS_EXE=$(realpath "$exe") WSLNET_IPHLPSVC_EXE=$(realpath "$helper") WSLNET_WSL_EXE=$(realpath "$wsl") \
        WSLNET_WINEPREFIX=$(scripts/windows.sh prefix) e2e wine::
}

step_demo() {
    need_root
    need gcc libc6-dev iproute2 python3 curl
    scripts/demo.sh
}

passed=0 failed=0 skipped=0

# The tests of a log that said why they can prove nothing here: a line each, the reason and how many.
left_out() { sed -n 's/^left out: //p' "$1" | sort | uniq -c; }

# Adds up the closing lines of the test programs in a log. A step without any counts as one test. A test that said why it can
# prove nothing here has passed for its program, and is skipped.
count() {
    local log=$1 code=$2 sums out
    if [ "$code" = $skip_code ]; then
        if [ "${CI:-}" = true ]; then failed=$((failed + 1)); else skipped=$((skipped + 1)); fi
        return
    fi
    sums=$(awk '/^test result: / { p += $4; f += $6; s += $8; n++ } END { print n + 0, p + 0, f + 0, s + 0 }' "$log")
    local lines p f s
    read -r lines p f s <<<"${sums:-0 0 0 0}"
    if [ "$code" != 0 ] && [ "$f" = 0 ]; then f=1; fi
    if [ "$code" = 0 ] && [ "$lines" = 0 ]; then p=1; fi
    out=$(grep -c '^left out: ' "$log")
    passed=$((passed + p - out)) failed=$((failed + f)) skipped=$((skipped + s + out))
}

run() {
    local step=$1 log=$logs/$1.log start=$SECONDS code=0 verdict
    # Not as part of a condition: there `set -e` would not hold.
    (
        set -e
        "step_$step"
    ) >"$log" 2>&1 </dev/null &
    wait $! || code=$?
    case $code in
        0) verdict=ok ;;
        "$skip_code") verdict=$(tail -n 1 "$log") ;;
        *) verdict=FAILED ;;
    esac
    printf '%-10s %4d s  %s\n' "$step" $((SECONDS - start)) "$verdict"
    left_out "$log" | while read -r times reason; do printf '%-10s         %d skipped: %s\n' '' "$times" "$reason"; done
    if [ "$verdict" = FAILED ]; then sed 's/^/    /' "$log"; fi
    count "$log" $code
}

for wanted in "$@"; do
    case " ${steps[*]} " in
        *" $wanted "*) ;;
        *)
            sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"
            case $wanted in -h | --help) exit 0 ;; *) exit 2 ;; esac
            ;;
    esac
done
if [ $# -gt 0 ]; then steps=("$@"); fi

mkdir -p "$logs"
# A former run as root may have made them.
for step in "${steps[@]}"; do
    if ! touch "$logs/$step.log"; then
        echo "cannot write $logs/$step.log: remove $logs, or run as the user who owns it" >&2
        exit 1
    fi
done
for step in "${steps[@]}"; do run "$step"; done
echo "$passed passed, $failed failed, $skipped skipped"
# A test that its program left out counts as skipped too, and there is no reason for that where everything is there.
[ $failed = 0 ] && { [ "${CI:-}" != true ] || [ $skipped = 0 ]; }
