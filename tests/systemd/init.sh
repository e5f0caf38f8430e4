#!/bin/bash
# init.sh PLACE [SOURCE:TARGET]...: runs as pid 1 of new namespaces. Lays a throw-away overlay over this machine's own
# root, binds each SOURCE read-only to TARGET in it, and becomes systemd: system manager, journal, D-Bus and logind.
set -euo pipefail

place=$1
shift
mount --make-rprivate /
mount -t tmpfs -o mode=0755,size=1g tmpfs "$place"
mkdir "$place"/{upper,work,root}
root=$place/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" "$root"

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o nosuid,nodev,noexec,ro sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755,nosuid,strictatime tmpfs "$root/dev"
for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir -p "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for stream in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${stream%:*}" "$root/dev/${stream#*:}"; done
for directory in run tmp; do mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs "$root/$directory"; done
chmod 1777 "$root/tmp"

# nothing of the machine's own services, of its journal, of its name
units=$root/etc/systemd/system
rm -rf "$units" "$root/var/log/journal" "$root/var/lib/systemd/linger"
mkdir -p "$units" "$root/etc/systemd/journald.conf.d" "$root/etc/systemd/system.conf.d"
: >"$root/etc/machine-id"
: >"$root/etc/fstab"
echo tidegate-test >"$root/etc/hostname"
printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' >"$root/etc/systemd/journald.conf.d/test.conf"
printf '[Manager]\nShowStatus=no\n' >"$root/etc/systemd/system.conf.d/test.conf"
cat >"$units/test.target" <<'UNIT'
[Unit]
Description=Everything that the tests need
Requires=basic.target systemd-journald.service
After=basic.target
Wants=dbus.socket systemd-logind.service
AllowIsolate=yes
UNIT
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-{control,kernel}.socket \
    systemd-{modules-load,sysctl,random-seed,timesyncd,hwdb-update,journal-flush,resolved,networkd}.service \
    systemd-{update-utmp,update-done,binfmt,sysusers,firstboot,pstore,machine-id-commit,boot-random-seed}.service \
    systemd-tmpfiles-clean.timer systemd-ask-password-console.path ldconfig.service first-boot-complete.target \
    proc-sys-fs-binfmt_misc.automount dev-{hugepages,mqueue}.mount sys-kernel-{debug,tracing,config}.mount \
    sys-fs-fuse-connections.mount tmp.mount getty.target cryptsetup.target; do
    ln -s /dev/null "$units/$unit"
done

for bind in "$@"; do
    target=$root${bind#*:}
    mkdir -p "$target"
    mount --rbind "${bind%%:*}" "$target"
    mount -o remount,bind,ro "$target"
done

cd "$root"
mkdir -p mnt/old
pivot_root . mnt/old
umount -l /mnt/old
mount --make-rshared / # systemd leaves this out in containers, and LoadCredential= needs it
ip link set lo up 2>/dev/null || true
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=tidegate-test \
    /lib/systemd/systemd --system --unit=test.target --log-target=journal-or-kmsg </dev/null
