#!/usr/bin/env bash
# Fuzzes everything that reads what others wrote; tests/fuzz/fuzz.rs says what that is, and why like this. Prints a line for
# each target: how often it ran, how many edges of the program that covered, and whether it found anything. A finding
# is kept, and told with the command that repeats it; then the exit code is 1.
#
#   scripts/fuzz.sh                          every target
#   scripts/fuzz.sh TARGET ...               some of them
#   scripts/fuzz.sh --repeat TARGET FILE     one input once more, with all that it says
#   scripts/fuzz.sh --list                   their names
#   scripts/fuzz.sh --help                   this text
#
# How long each of them takes: WSLNET_FUZZ_SECONDS (10). The search is left to chance; with WSLNET_FUZZ_SEED=1 it is the
# same every time. What it found worth keeping is in target/fuzz, and the next one starts from there. Needs g++.
set -euo pipefail

# Counts edges and compares for libFuzzer, as `cargo fuzz` has it done, and checks what a debug build checks. A little
# optimized, it runs ten times as often.
flags=(
    --cfg fuzzing
    -C passes=sancov-module
    -C llvm-args=-sanitizer-coverage-level=4
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters
    -C llvm-args=-sanitizer-coverage-pc-table
    -C llvm-args=-sanitizer-coverage-trace-compares
    -C codegen-units=1
    -C opt-level=1
    -C debug-assertions
    -C overflow-checks
)
# Cargo calls this script for each crate of the workspace, with the compiler and its arguments: see build. It does not know
# that these flags matter, so after a change of them: touch src/*/lib.rs
case ${1:-} in
    rustc | */rustc) exec "$@" "${flags[@]}" ;;
esac

here=$PWD
cd "$(dirname "$0")/.."
seconds=${WSLNET_FUZZ_SECONDS:-10}
seed=${WSLNET_FUZZ_SEED:-0}
target=${CARGO_TARGET_DIR:-target}
room=$target/fuzz
program=$target/debug/wslnet-fuzz
# What is too long for one input, in seconds of a machine that has other things to do, and too large, in MiB.
limits=(-timeout=20 -rss_limit_mb=1024)

say_help() { sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; }

# Builds the program. The flags are for the crates of the workspace; the libraries are those of other builds.
build() {
    RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/fuzz.sh CXXFLAGS="-O1 ${CXXFLAGS:-}" \
        cargo build --locked --package wslnet-fuzz --features libfuzzer
}

names() { WSLNET_FUZZ_TARGET='' "$program" 2>/dev/null; }

# Runs one target, and says what became of it.
fuzz() {
    local name=$1 corpus=$room/corpus/$1 findings=$room/findings/$1 log=$room/$1.log code=0 words=()
    mkdir -p "$corpus" "$findings"
    if [ -e "tests/fuzz/words/$name.dict" ]; then words=("-dict=tests/fuzz/words/$name.dict"); fi
    WSLNET_FUZZ_TARGET=$name "$program" "${limits[@]}" "${words[@]}" -seed="$seed" -max_total_time="$seconds" \
        -artifact_prefix="$findings/" -print_final_stats=1 "$corpus" "tests/fuzz/seeds/$name" >"$log" 2>&1 || code=$?
    local runs edges file
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%-10s %9s runs %7s edges  ' "$name" "${runs:-0}" "${edges:-0}"
    if [ "$code" = 0 ] && [ "${runs:-0}" != 0 ]; then
        echo ok
        return
    fi
    echo FAILED
    # The panic, or what libFuzzer says of time and memory.
    grep -A 3 -E "panicked at|^==[0-9]+== ?ERROR" "$log" | head -n 12 | cut -c 1-1000 | sed 's/^/    /' || true
    file=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    if [ -n "$file" ]; then
        echo "    the input is $file"
        echo "    once more: scripts/fuzz.sh --repeat $name $file"
    fi
    echo "    all that it said is in $log"
    return 1
}

case ${1:-} in
    -h | --help)
        say_help
        exit 0
        ;;
    --list | --repeat) ;;
    -*)
        say_help >&2
        exit 2
        ;;
esac

build
mapfile -t known < <(names)
must_know() {
    case " ${known[*]} " in
        *" $1 "*) ;;
        *)
            echo "there is no target $1; the targets are: ${known[*]}" >&2
            exit 2
            ;;
    esac
}

case ${1:-} in
    --list)
        printf '%s\n' "${known[@]}"
        exit 0
        ;;
    --repeat)
        if [ $# != 3 ]; then
            say_help >&2
            exit 2
        fi
        must_know "$2"
        # As it was printed, or as the caller sees it.
        file=$3
        if [ ! -e "$file" ]; then file=$here/$3; fi
        WSLNET_FUZZ_TARGET=$2 RUST_BACKTRACE=1 exec "$program" "${limits[@]}" "$file"
        ;;
esac

chosen=("$@")
if [ $# = 0 ]; then chosen=("${known[@]}"); fi
for name in "${chosen[@]}"; do must_know "$name"; done

passed=0 failed=0
for name in "${chosen[@]}"; do
    if fuzz "$name"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
verdict=ok
if [ $failed != 0 ]; then verdict=FAILED; fi
echo "test result: $verdict. $passed passed; $failed failed; 0 ignored"
[ $failed = 0 ]
