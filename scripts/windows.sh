#!/usr/bin/env bash
# Builds for Windows on Debian and runs the result under Wine.
#
#   scripts/windows.sh tools        install what building needs: linker and Windows std
#   scripts/windows.sh setup        the same, and Wine with a prefix
#   scripts/windows.sh cargo ARGS   cargo for the Windows target; runs and tests go through Wine
#   scripts/windows.sh prefix       print the Wine prefix
#   scripts/windows.sh folder       print where the builds for Windows are, by profile
#   scripts/windows.sh clippy ARGS  the lints for the Windows target, where the toolchain has them
#
# What takes long to make is kept in ${XDG_CACHE_HOME:-~/.cache}/wslnet.
set -euo pipefail

target=x86_64-pc-windows-gnu
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wslnet
prefix=$cache/wine/prefix

has_package() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

install_packages() {
    local package missing=()
    for package in "$@"; do has_package "$package" || missing+=("$package"); done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    if [ "$(id -u)" != 0 ]; then
        echo "not installed, and only root can install them: ${missing[*]}" >&2
        return 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

rustup_has_target() { rustup target list --installed 2>/dev/null | grep -qx "$target"; }

# Where rustup cannot fetch the Windows std, Debian's compiler comes with the sources of its own: built once.
sysroot() { printf '%s/sysroot-%s\n' "$cache" "$(dpkg-query -W -f '${Version}' rust-web-src 2>/dev/null | tr -c 'A-Za-z0-9.' _)"; }

build_std() {
    install_packages rustc-web rust-web-src
    local root room
    root=$(sysroot)
    if [ -e "$root/done" ]; then return; fi
    room=$(mktemp -d)
    mkdir "$room/src"
    : >"$room/src/lib.rs"
    printf '[package]\nname = "windows-std"\nversion = "0.0.0"\nedition = "2021"\n[lib]\npath = "src/lib.rs"\n[workspace]\n' >"$room/Cargo.toml"
    # RUSTC_BOOTSTRAP for this one build: -Zbuild-std is unstable.
    (cd "$room" && env -u RUSTFLAGS -u RUSTC_WRAPPER RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
        CARGO_TARGET_DIR="$room/target" CARGO_INCREMENTAL=0 \
        cargo build -Zbuild-std=std,panic_unwind,panic_abort,proc_macro,test --target "$target" --release)
    rm -rf "$root"
    mkdir -p "$root/lib/rustlib/$target/lib"
    cp "$room/target/$target/release/deps/"*.rlib "$root/lib/rustlib/$target/lib/"
    rm -f "$root/lib/rustlib/$target/lib/"libwindows_std*
    rm -rf "$room"
    touch "$root/done"
}

# Wine 8 lacks the library from which Rust's std takes random numbers (Wine 10 has it). For Wine only, never for Windows.
build_shim() {
    local room=$cache/wine/shim
    if [ -e "$room/bcryptprimitives.dll" ]; then return; fi
    mkdir -p "$room"
    cat >"$room/bcryptprimitives.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG); /* RtlGenRandom */
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T left) {
    while (left) {
        ULONG part = left > 0x10000000 ? 0x10000000 : (ULONG)left;
        if (!SystemFunction036(to, part)) return FALSE;
        to += part;
        left -= part;
    }
    return TRUE;
}
C
    x86_64-w64-mingw32-gcc -shared -O2 -s -o "$room/made.dll" "$room/bcryptprimitives.c" -ladvapi32
    mv "$room/made.dll" "$room/bcryptprimitives.dll"
}

make_prefix() {
    if [ -e "$prefix/done" ]; then return; fi
    rm -rf "$prefix"
    mkdir -p "$prefix"
    wineboot -i >/dev/null 2>&1
    wineserver -w
    # Wine 8 says Windows 7 unless told otherwise.
    timeout 120 wine winecfg -v win10 >/dev/null 2>&1 || true
    wineserver -w
    cp "$cache/wine/shim/bcryptprimitives.dll" "$prefix/drive_c/windows/system32/"
    touch "$prefix/done"
}

export_settings() {
    export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc
    export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine
    export CC_x86_64_pc_windows_gnu=x86_64-w64-mingw32-gcc AR_x86_64_pc_windows_gnu=x86_64-w64-mingw32-ar
    export WINEPREFIX=$prefix WINEDEBUG=${WINEDEBUG:--all}
    if ! rustup_has_target; then
        export RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/windows
        CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUSTFLAGS="--sysroot=$(sysroot)"
        export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUSTFLAGS
    fi
}

tools() {
    install_packages gcc-mingw-w64-x86-64-win32
    rustup_has_target || rustup target add "$target" || build_std
}

setup() {
    tools
    install_packages wine wine64
    build_shim
    export_settings
    make_prefix
}

case ${1:-} in
    tools) tools ;;
    setup) setup ;;
    prefix) echo "$prefix" ;;
    folder)
        export_settings
        echo "${CARGO_TARGET_DIR:-target}/$target"
        ;;
    cargo)
        # Behind the verb, because what follows `--` is for the programs.
        verb=$2
        shift 2
        export_settings
        # A program that starts while the former ones' Wine is shutting down finds no network driver.
        if command -v wineserver >/dev/null; then timeout 60 wineserver -w || wineserver -k; fi
        exec cargo "$verb" --target "$target" "$@"
        ;;
    clippy)
        shift
        if ! rustup_has_target; then
            echo "clippy cannot read the std of another compiler; rustc's own lints must do"
            export_settings
            exec env RUSTFLAGS="-D warnings" cargo check "$@" --target "$target"
        fi
        export_settings
        exec cargo clippy "$@" --target "$target" -- -D warnings
        ;;
    *)
        sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"
        exit 2
        ;;
esac
