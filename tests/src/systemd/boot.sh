# shellcheck shell=bash
# Boots systemd over a throw-away copy of this machine's files: boot.sh SCRATCH CGROUP [FOLDER...]
# Run in a mount namespace of its own. What it changes is in memory and ends with it; of the machine
# it shares the network, the kernel and, to read, the folders.
set -e
export SCRATCH=$1 CGROUP=$2
shift 2

# A group of its own, which the new namespace takes for the root of all groups.
mount --make-rprivate /
mkdir -p "$SCRATCH/cgroup"
mount -t cgroup2 cgroup2 "$SCRATCH/cgroup"
mkdir "$SCRATCH/cgroup/$CGROUP"
echo 0 >"$SCRATCH/cgroup/$CGROUP/cgroup.procs"
umount "$SCRATCH/cgroup"

# shellcheck disable=SC2016  # the inner shell expands it
exec unshare --pid --mount --cgroup --uts --ipc --fork --kill-child=KILL bash -ec '
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$SCRATCH"
    mkdir "$SCRATCH/up" "$SCRATCH/work" "$SCRATCH/root"
    root=$SCRATCH/root
    mount -t overlay -o "lowerdir=/,upperdir=$SCRATCH/up,workdir=$SCRATCH/work" overlay "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    for folder; do
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
        mount -o remount,bind,ro "$root$folder"
    done
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    mkdir "$root/dev/shm" "$root/dev/pts"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    for device in null zero full random urandom tty; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    # Nothing of this machine is mounted, tuned, trimmed or logged in to.
    : >"$root/etc/fstab"
    for unit in getty.target timers.target systemd-udevd.service systemd-udev-trigger.service \
        systemd-networkd.service systemd-resolved.service systemd-timesyncd.service \
        systemd-logind.service systemd-sysctl.service systemd-modules-load.service \
        systemd-binfmt.service systemd-random-seed.service systemd-tmpfiles-setup-dev.service \
        systemd-journald-audit.socket systemd-remount-fs.service kmod-static-nodes.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
    mkdir "$root/oldroot"
    cd "$root"
    pivot_root . oldroot
    umount -l /oldroot
    # Or credentials would not reach the services.
    mount --make-rshared /
    echo e2e >/proc/sys/kernel/hostname
    export container=e2e
    exec /lib/systemd/systemd --unit=basic.target' boot "$@"
