#!/usr/lib/wsl-stand-in/sh
# shellcheck disable=SC1003
# Stands for WSL's wslpath, as far as drive C and the distro's own name go. Linux, unlike Windows, tells big letters from small
# ones, so each part of a path is looked up.
back='\\'
from_linux() { printf '%s' "$1" | tr / "$back"; }

case $1:$2 in
    -wa:/ | -w:/) printf '%s\n' '\\wsl.localhost\Ubuntu\' ;;
    -w:/mnt/c) printf '%s\n' 'C:\' ;;
    -w:/mnt/c/*) printf 'C:%s\n' "$(from_linux "${2#/mnt/c}")" ;;
    -w:/*) printf '%s%s\n' '\\wsl.localhost\Ubuntu' "$(from_linux "$2")" ;;
    -u:[Cc]:*)
        # What is not mounted cannot be translated.
        [ -d /mnt/c/windows ] || exit 1
        path=/mnt/c
        rest=$(printf '%s' "${2#??}" | tr "$back" /)
        IFS=/
        for part in $rest; do
            [ -n "$part" ] || continue
            found=$(find "$path" -mindepth 1 -maxdepth 1 -iname "$part" 2>/dev/null | head -n 1)
            path=${found:-$path/$part}
        done
        printf '%s\n' "$path"
        ;;
    *) exit 1 ;;
esac
