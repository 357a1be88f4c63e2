#!/usr/lib/wsl-stand-in/sh
# Stands for WSL's wslinfo, asked for --networking-mode.
echo nat
