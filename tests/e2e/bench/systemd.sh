# Run by the first process of a machine (see machine.rs): boots a distro with its own systemd in this network namespace.
# $ROOM: an empty folder, and beside it, if the daemon is to be there, $ROOM.toml; $UNITS: the project's systemd/;
# $PROGRAM: wslnetd; $GROUP: a name of its own; $BINDS: arguments of systemd-nspawn;
# $INTEROP: the folder wsl/.

# The host may mount cgroups the old way; systemd needs version 2, and no controllers.
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# What killed runs left; a group in use refuses.
for old in /sys/fs/cgroup/wslnet-e2e-*; do
    case $old in "/sys/fs/cgroup/${GROUP%-*}"-*) continue ;; esac
    [ ! -d "$old" ] || find "$old" -depth -type d -exec rmdir {} + 2>/dev/null || true
done

# A distro is this machine's own tree, with everything written kept in memory.
mount -t tmpfs tmpfs "$ROOM"
mkdir "$ROOM/upper" "$ROOM/work" "$ROOM/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$ROOM/upper,workdir=$ROOM/work" "$ROOM/root"
root=$ROOM/root
echo distro >"$root/etc/hostname"
rm -f "$root/etc/machine-id"
: >"$root/etc/machine-id"
units=$root/etc/systemd/system
# Only what comes enabled with the packages, and none of that on the network.
rm -rf "$units"/*.wants "$root"/etc/rc?.d/*
for unit in systemd-networkd.service systemd-resolved.service systemd-timesyncd.service getty@tty1.service \
    console-getty.service e2scrub_reap.service; do
    ln -sf /dev/null "$units/$unit"
done
# Names resolve at once or not at all.
printf '127.0.0.1 localhost\n127.0.1.1 distro\n' >"$root/etc/hosts"
rm -f "$root/etc/resolv.conf"
: >"$root/etc/resolv.conf"

if [ -e "$ROOM.toml" ]; then
    # As scripts/install.sh does it, which tests of its own try.
    install -D -m 0755 "$PROGRAM" "$root/usr/local/bin/wslnetd"
    for unit in wslnetd.service wslnetd-engines.socket wslnetd-engines@.service wslnetd-hosts.socket wslnetd-hosts@.service; do
        install -D -m 0644 "$UNITS/$unit" "$units/$unit"
    done
    install -D -m 0644 "$UNITS/sysusers.d/wslnetd.conf" "$root/etc/sysusers.d/wslnetd.conf"
    install -D -m 0644 "$UNITS/tmpfiles.d/wslnetd.conf" "$root/etc/tmpfiles.d/wslnetd.conf"
    install -D -m 0644 "$ROOM.toml" "$root/etc/wslnetd/config.toml"
else
    # What WSL puts into each distro. The unit lets the daemon execute these two, and what is in /usr/lib.
    install -D /bin/sh "$root/usr/lib/wsl-stand-in/sh"
    for one in wslinfo wslpath; do install "$INTEROP/$one.sh" "$root/usr/bin/$one"; done
    install "$INTEROP"/*.py "$root/usr/lib/wsl-stand-in"
fi

mkdir -p "/sys/fs/cgroup/$GROUP/sup"
(
    echo 0 >"/sys/fs/cgroup/$GROUP/sup/cgroup.procs"
    # shellcheck disable=SC2086 # several arguments, without blanks in them
    # As in WSL: all capabilities, no seccomp filter around the distro, the network of the VM.
    SYSTEMD_SECCOMP=0 exec systemd-nspawn --quiet --boot --register=no --keep-unit --machine=distro --capability=all \
        --directory="$root" $BINDS --console=pipe --kill-signal=SIGRTMIN+3 --resolv-conf=off --timezone=off \
        </dev/null >>"$LOG" 2>&1
) &
