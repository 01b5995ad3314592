#!/bin/bash
# Snapshots over kernels: boots Debian's kernels in qemu with what was built, has snapshots made there
# and here, and restores each under the others (tests/kernels/exchange.py).
#
#   scripts/test_kernels.sh [DIRECTORY]     of the build; build/ without
#
# The kernels' packages are fetched from the mirror that apt uses, and kept in DIRECTORY/kernels. Needs
# root (for the ids, and to make the guest's file system), and no KVM, which it uses if it works.
# Exits with 77 and a reason if something that is not of this tree cannot be had.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/common.sh"
source "$root/scripts/clean_root.sh"
build=$(cd "${1:-$root/build}" && pwd)
kept=$build/kernels
suites=(bookworm trixie)      # Debian 12: Linux 6.1; Debian 13: Linux 6.12
image_gib=3
limit_s=${CKPT_KERNELS_LIMIT:-600} # of one boot: it hangs

skip() { echo "kernels: not run: $*" >&2; exit 77; }
[[ $(id -u) == 0 ]] || skip "the guest's file system takes root to make"
for program in busybox cpio debugfs depmod dpkg-deb mke2fs modprobe qemu-system-x86_64 xz; do
  command -v "$program" >/dev/null || skip "there is no $program"
done

work=$(mktemp -d /var/tmp/ckpt-kernels.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir -p "$kept" "$work/root"
# The same path here and in the guests: a snapshot knows where its store is.
exchange=$work/exchange
mkdir "$exchange"

# --- kernels --------------------------------------------------------------------------------------

# fetch SUITE: the newest cloud kernel of a suite, unpacked; prints where. apt gets lists of its own:
# this system's sources stay as they are.
fetch() {
  local suite=$1 place=$kept/$1 apt package from
  if [[ ! -e $place/complete ]]; then
    rm -rf "$place"
    mkdir -p "$place"/{lists/partial,cache/archives/partial,parts,unpacked}
    from=$(debian_mirror)
    [[ $from ]] || skip "apt's sources name no Debian mirror"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $from $suite main" \
      >"$place/sources.list"
    apt=(-o "Dir::Etc::SourceList=$place/sources.list" -o "Dir::Etc::SourceParts=$place/parts"
      -o "Dir::State::Lists=$place/lists" -o "Dir::Cache=$place/cache" -o APT::Sandbox::User=root)
    apt-get -qq "${apt[@]}" update >&2 || skip "the package lists of $suite cannot be fetched"
    package=$(apt-cache "${apt[@]}" depends linux-image-cloud-amd64 |
      sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [[ $package ]] || skip "the mirror's $suite has no linux-image-cloud-amd64"
    (cd "$place" && apt-get -qq "${apt[@]}" download "$package" >&2) ||
      skip "$package cannot be fetched"
    dpkg-deb -x "$place"/linux-image-*.deb "$place/unpacked"
    rm -rf "$place"/{lists,cache,parts,sources.list} "$place"/*.deb
    touch "$place/complete"
  fi
  echo "$place/unpacked"
}

# make_initrd UNPACKED FILE: finds the disk and goes on from there.
make_initrd() {
  local unpacked=$1 file=$2 tree=$work/initrd version wanted modules module base=$1
  [[ -d $unpacked/usr/lib/modules ]] && base=$unpacked/usr
  version=$(ls "$base/lib/modules")
  depmod -b "$base" "$version"
  rm -rf "$tree"
  mkdir -p "$tree"/{bin,proc,sys,dev,new,modules}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  ln -s busybox "$tree/bin/sh"
  # tcp_diag and the like: a save asks them about sockets.
  for wanted in virtio_pci virtio_blk unix_diag inet_diag tcp_diag udp_diag fuse; do
    # Built in: there is nothing to load.
    modules=$(modprobe -d "$base" -S "$version" --show-depends "$wanted" 2>/dev/null |
      sed -n 's/^insmod \([^ ]*\).*/\1/p')
    for module in $modules; do
      local name=${module##*/}
      name=${name%.xz}
      grep -qx "$name" "$tree/modules/order" 2>/dev/null && continue
      echo "$name" >>"$tree/modules/order"
      case $module in
        *.xz) xz -dc "$module" >"$tree/modules/$name" ;;
        *) cp "$module" "$tree/modules/$name" ;;
      esac
    done
  done
  cat >"$tree/init" <<'END'
#!/bin/sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
while read -r name; do $b insmod /modules/$name; done </modules/order
i=0; while [ ! -b /dev/vda ] && [ $i -lt 100 ]; do $b sleep 0.1; i=$((i+1)); done
$b mount -t ext4 /dev/vda /new || { echo "no root file system"; $b poweroff -f; }
for d in proc sys dev; do $b mount --move /$d /new/$d; done
exec $b switch_root /new /guest
END
  chmod 755 "$tree/init"
  (cd "$tree" && find . | cpio -o -H newc --quiet) | gzip -1 >"$file"
}

# --- the guest's file system ------------------------------------------------------------------------

# What the tests need of this system, and what was built, at the same path.
make_root() {
  local tree=$work/root directory
  mkdir -p "$tree"/{usr/bin,usr/sbin,usr/lib,usr/lib64,proc,sys,dev,run,root,etc,tmp,var/tmp}
  for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$tree/$directory"; done
  chmod 1777 "$tree/tmp" "$tree/var/tmp"
  "$root/scripts/list_packages_files.py" bash coreutils debianutils findutils gawk gdb grep gzip \
    libc-bin libelf1 libfmt9 libfmt10 libgcc-s1 libxxhash0 mawk mount procps python3 \
    python3-pexpect sed tar util-linux >"$work/files"
  tar -C / -c --no-recursion --null -T "$work/files" 2>/dev/null |
    tar -C "$tree" -x --keep-directory-symlink
  cp -a /etc/{passwd,group,nsswitch.conf,ld.so.conf,ld.so.conf.d,alternatives} "$tree/etc/"
  echo "127.0.0.1 localhost guest" >"$tree/etc/hosts"
  mkdir -p "$tree$root" "$tree$build" "$tree$exchange"
  tar -C "$root" -c CMakeLists.txt pyproject.toml gdbext tests | tar -C "$tree$root" -x
  tar -C "$build" -c bin gdbext lib tests CMakeCache.txt | tar -C "$tree$build" -x
  cp "$(command -v busybox)" "$tree/busybox"
  ldconfig -r "$tree"
  cat >"$tree/guest" <<'END'
#!/bin/bash
export PATH=/usr/bin:/usr/sbin HOME=/root TERM=xterm LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm; mount -t mqueue mqueue /dev/mqueue
echo guest >/proc/sys/kernel/hostname; /busybox ip link set lo up
echo; setsid -w bash /job </dev/null 2>&1
echo "JOB ENDED $?"
sync; mount -o remount,ro /; echo o >/proc/sysrq-trigger; sleep 60
END
  chmod 755 "$tree/guest"
  rm -f "$work/disk"
  truncate -s "${image_gib}G" "$work/disk"
  mke2fs -q -t ext4 -O ^has_journal -d "$tree" -E root_owner=0:0,lazy_itable_init=1 "$work/disk"
  rm -rf "$tree"
}

# into_disk FILE PATH and out_of_disk PATH DIRECTORY, while nothing runs on it.
into_disk() { printf 'rm %s\nwrite %s %s\n' "$2" "$1" "$2" | debugfs -w "$work/disk" >/dev/null 2>&1; }
out_of_disk() { debugfs -R "rdump $1 $2" "$work/disk" >/dev/null 2>&1; }

# A device is no proof: some hypervisors let it be opened and no guest run.
find_accelerator() {
  accelerator=(-accel kvm -cpu host)
  [[ -w /dev/kvm ]] && timeout -k 5 20 qemu-system-x86_64 "${accelerator[@]}" -m 512 -nographic \
    -no-reboot -nic none -kernel "$1"/boot/vmlinuz-* -append "console=ttyS0 panic=-1" </dev/null 2>&1 |
    grep -q "Linux version" && return
  # Not several threads: kernels that rewrite their own code trip over that.
  accelerator=(-accel "tcg,thread=single" -cpu max)
}

# boot NAME UNPACKED: runs $work/job there; its output goes to $work/NAME.log.
boot() {
  local name=$1 unpacked=$2 status=0
  into_disk "$work/job" /job
  make_initrd "$unpacked" "$work/$name.initrd"
  timeout -k 5 "$limit_s" qemu-system-x86_64 "${accelerator[@]}" -m 1536 -smp 2 -nographic -no-reboot \
    -nic none -kernel "$unpacked"/boot/vmlinuz-* -initrd "$work/$name.initrd" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on no_timer_check nowatchdog" \
    -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" </dev/null >"$work/$name.log" 2>&1 ||
    status=$?
  tr -d '\r' <"$work/$name.log" | grep -E '^(ok|not ok|--) ' | sed "s/^/  $name: /" || true
  if ((status)) || ! grep -q '^JOB ENDED 0' "$work/$name.log"; then
    echo "  $name: its job has failed (qemu: $status); the end of its console:"
    tail -n 40 "$work/$name.log" | tr -d '\r' | sed 's/^/  | /'
    return 1
  fi
}

# --- what is done -----------------------------------------------------------------------------------

run_exchange() { PYTHONPATH=$root/tests:$root /usr/bin/python3 "$root/tests/kernels/exchange.py" "$build" "$exchange" "$@"; }

began=$SECONDS
failed=0
for suite in "${suites[@]}"; do fetch "$suite" >/dev/null || exit; done
echo "kernels fetched after $((SECONDS - began)) s"
find_accelerator "$(fetch "${suites[0]}")"
echo "qemu: ${accelerator[*]}"
run_exchange save here || failed=1
make_root
# debugfs writes no trees: the snapshots made here go in as one file.
tar -C "$exchange" -cf "$work/here.tar" .
into_disk "$work/here.tar" /here.tar
echo "file system made after $((SECONDS - began)) s"

known=here
# The emulator has no AVX-512, and libc has chosen functions for what it found where a program was started.
if [[ ${accelerator[*]} != *kvm* ]] && grep -qw avx512f /proc/cpuinfo; then
  echo "not restored in the guests: what was saved here, since this processor has AVX-512 and qemu's has not"
  known=
fi
for suite in "${suites[@]}"; do
  cat >"$work/job" <<END
cd $exchange && tar -xf /here.tar || exit 1
export PYTHONPATH=$root/tests:$root
exchange="/usr/bin/python3 $root/tests/kernels/exchange.py $build $exchange"
status=0
\$exchange save $suite || status=1
\$exchange restore $known || status=1
\$exchange again $known $suite || status=1
exit \$status
END
  boot "$suite" "$(fetch "$suite")" || failed=1
  known+=" $suite"
  echo "$suite done after $((SECONDS - began)) s"
done

rm -rf "$exchange"
out_of_disk "$exchange" "$work"
# shellcheck disable=SC2086 # words
run_exchange restore ${known#here } here+bookworm here+trixie bookworm+trixie || failed=1
if ((failed)); then
  echo "kernels: FAILED after $((SECONDS - began)) s"
  exit 1
fi
echo "kernels: snapshots of Linux $(uname -r), $(basename "$kept"/bookworm/unpacked/boot/vmlinuz-* | cut -d- -f2-) and $(basename "$kept"/trixie/unpacked/boot/vmlinuz-* | cut -d- -f2-) restored under each other, in $((SECONDS - began)) s"
