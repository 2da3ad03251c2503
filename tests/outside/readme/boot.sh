#!/bin/sh
# Become a throwaway machine: a layer over the server's tree, with systemd as its process 1.
# Usage: sh boot.sh TREE DIRECTORY; as root, below `unshare` with every namespace but that of users.
# DIRECTORY/disk/* are mounted as disks of the machine's own: home, srv, containers.
set -eu

tree=$1
directory=$2
root=$directory/root

mount --make-rprivate /
mkdir -p "$directory/upper" "$directory/work" "$root" "$directory/disk/home" "$directory/disk/srv" \
    "$directory/disk/containers"
layers=lowerdir=$tree,upperdir=$directory/upper,workdir=$directory/work
mount -t overlay overlay -o "$layers" "$root"
mkdir -p "$root/var/lib/containers" "$root/old"
mount --bind "$directory/disk/home" "$root/home"
mount --bind "$directory/disk/srv" "$root/srv"
mount --bind "$directory/disk/containers" "$root/var/lib/containers"

# What is not of these namespaces alone can be read there, and no more: the kernel's settings.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
    : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# The control groups of this namespace are a branch of its own; see machine.py.
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
    mkdir "$root/sys/fs/cgroup/unified" "$root/sys/fs/cgroup/systemd"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
fi

hostname server
ip link set lo up
cd "$root"
pivot_root . old
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=lxc \
    chroot . sh -c 'umount -l /old; rmdir /old; exec /lib/systemd/systemd --log-target=null' \
    </dev/null
