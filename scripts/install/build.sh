# Builds both programs. Read by install.sh.
# shellcheck shell=bash disable=SC2154

# Asks before anything is installed that the build needs.
need_packages() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null; then
        command -v cc >/dev/null || missing+=("a C compiler")
        [ -n "$linux_only" ] || command -v x86_64-w64-mingw32-gcc >/dev/null || missing+=("the MinGW-w64 compiler x86_64-w64-mingw32-gcc")
        if [ ${#missing[@]} -eq 0 ]; then return; fi
        fail "$cannot_here" "the build needs, by this distro's own packages: ${missing[*]}"
    fi
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    say "The build needs these packages: ${missing[*]}"
    if [ -z "$yes" ] && [ -t 0 ]; then
        local answer=''
        read -r -p "Install them by apt-get? [y/N] " answer
        case $answer in y | Y | yes) yes=yes ;; esac
    fi
    if [ -z "$yes" ]; then
        fail "$cannot_here" "run it with --yes, or first: sudo apt-get update && sudo apt-get install ${missing[*]}"
    fi
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# Sets `from`: a folder with the two programs.
build() {
    if is_root && [ -n "${SUDO_USER:-}" ]; then
        fail "$asked_wrongly" "run it without sudo: it builds as you, and asks for sudo itself"
    fi
    if ! command -v cargo >/dev/null; then
        PATH=$PATH:$HOME/.cargo/bin
        command -v cargo >/dev/null || fail "$cannot_here" "the build needs Rust: install it as https://rustup.rs says, and run this again"
    fi
    local windows_packages=(gcc-mingw-w64-x86-64-win32)
    if [ -n "$linux_only" ]; then windows_packages=(); fi
    need_packages gcc libc6-dev "${windows_packages[@]}"
    cd "$root" || exit
    say "Building wslnetd"
    cargo build --locked --release --bin wslnetd || fail "$failed" "wslnetd could not be built; nothing was installed"
    from=$(realpath "${CARGO_TARGET_DIR:-target}")/install
    mkdir -p "$from"
    install -m 755 "$(dirname "$from")/release/wslnetd" "$from/wslnetd"
    if [ -n "$linux_only" ]; then return; fi

    say "Building wslnet-companion for Windows"
    scripts/windows.sh tools || fail "$cannot_here" "the Windows target of Rust could not be set up (see above); nothing was installed"
    scripts/windows.sh cargo build --locked --release --bin wslnet-companion ||
        fail "$failed" "wslnet-companion could not be built; nothing was installed"
    install -m 644 "$(scripts/windows.sh folder)/release/wslnet-companion.exe" "$from/wslnet-companion.exe"
}

# Whether everything is there that will be installed. Sets `source_of_units`.
check_parts() {
    local file
    source_of_units=$root/systemd
    if [ -d "$from/systemd" ]; then source_of_units=$from/systemd; fi
    for file in "${units[@]}" sysusers.d/wslnetd.conf tmpfiles.d/wslnetd.conf config.toml; do
        [ -f "$source_of_units/$file" ] || fail "$failed" "$source_of_units/$file is missing; nothing was changed"
    done
    [ -s "$from/wslnetd" ] || fail "$failed" "$from/wslnetd is missing; nothing was changed"
    if [ -n "$linux_only" ]; then return; fi
    [ -s "$from/wslnet-companion.exe" ] ||
        fail "$failed" "$from/wslnet-companion.exe is missing; nothing was changed (--linux-only does without)"
    # What every Windows program begins with.
    [ "$(head -c 2 "$from/wslnet-companion.exe")" = MZ ] ||
        fail "$failed" "$from/wslnet-companion.exe is not a program for Windows; nothing was changed"
}
