# shellcheck shell=bash disable=SC2154
# Sourced by scripts that need a Debian system with nothing on it: makes one below build/ and runs
# commands in it. Not a program. The caller has sourced common.sh, and is root.
#
# It is the release of this machine, from the mirror in this machine's apt sources. It is made once
# and kept as a tar file; packages that were fetched are kept, too.

clean_roots=$root/build/clean-root

# The Debian archives among apt's sources, as lines of a sources.list.
clean_root_sources() {
  apt-get indextargets --format 'deb $(REPO_URI) $(CODENAME) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' | sort -u
}

# The mirror of Debian's archive that they name first; nothing if they name none.
debian_mirror() {
  [[ $(clean_root_sources) ]] || apt-get -qq update >&2
  clean_root_sources | awk '$3 !~ /-/ { print $2; exit }'
}

this_release() { (. /etc/os-release && echo "${VERSION_CODENAME:-}"); }

# why_no_root RELEASE : why a root of that release of Debian cannot be made or entered on this machine,
# in words; nothing if it can. Not for a reason to be looked for in gdb-ckpt.
why_no_root() {
  local release=$1 mirror
  if [[ $(id -u) != 0 ]]; then
    echo "making and entering a root of another system needs root"
  elif ! need_packages debootstrap >&2 || ! command -v debootstrap >/dev/null; then
    echo "there is no debootstrap, and it cannot be installed"
  elif mirror=$(debian_mirror) && [[ ! $mirror ]]; then
    echo "apt's sources name no mirror of Debian"
  elif ! wget -q --tries=2 --timeout=20 -O /dev/null "${mirror%/}/dists/$release/InRelease"; then
    echo "$mirror, which apt's sources name, cannot be reached or has no $release"
  elif ! can_enter; then
    echo "this user may not make mounts, devices and namespaces"
  fi
}

# What debootstrap does and what entering takes, where the roots are to be.
can_enter() {
  local place status
  mkdir -p "$root/build" && place=$(mktemp -d "$root/build/root.XXXXXX") || return
  unshare --mount --propagation private --pid --fork --kill-child bash -ec '
    mkdir "$1/proc"
    mount -t proc proc "$1/proc"
    mknod "$1/null" c 1 3
    echo >"$1/null"
    mount --bind "$1/proc" "$1/proc"
    chroot / true' bash "$place" >&2
  status=$?
  rm -rf --one-file-system "$place"
  return $status
}

# What comes from the mirror. That it cannot be had is no fault of gdb-ckpt: the script that sourced this
# ends with 77 then.
not_fetched() {
  echo "$(basename "$0"): the mirror does not deliver $1: see above" >&2
  exit 77
}

# Makes the tar file if it is not there.
clean_root_base() {
  local release mirror base=$clean_roots/base
  [[ -e $base.tar ]] && return
  release=$(this_release)
  mirror=$(debian_mirror)
  say "Making a minimal Debian $release"
  mkdir -p "$clean_roots/archives/partial"
  rm -rf --one-file-system "$base"
  nice debootstrap --variant=minbase "$release" "$base" "$mirror" >"$base.log" 2>&1 ||
    { tail -n 20 "$base.log" >&2; not_fetched "Debian $release"; }
  clean_root_sources >"$base/etc/apt/sources.list"
  apt-config dump | sed -n '/^Acquire::.*Proxy/Ip' >"$base/etc/apt/apt.conf.d/90proxy"
  printf '#!/bin/sh\nexit 101\n' >"$base/usr/sbin/policy-rc.d" # no service is to start
  chmod +x "$base/usr/sbin/policy-rc.d"
  rm -f "$base"/var/cache/apt/archives/*.deb
  tar -cf "$base.tar.new" -C "$base" . && mv "$base.tar.new" "$base.tar"
  rm -rf --one-file-system "$base" "$base.log"
}

# clean_root NAME : a new root of that name, with an ordinary user "visitor".
clean_root() {
  local place=$clean_roots/$1
  rm -rf --one-file-system "$place"
  mkdir -p "$place"
  tar -xf "$clean_roots/base.tar" -C "$place" || return
  cp -L /etc/resolv.conf /etc/hosts "$place/etc/"
  in_clean_root "$1" root useradd --create-home --shell /bin/bash visitor
}

# in_clean_root NAME USER COMMAND... : in the user's home directory. Mounts are made in a namespace of
# the command's own, and processes run in one: whatever it leaves behind ends with it.
in_clean_root() {
  local place=$clean_roots/$1 user=$2
  shift 2
  unshare --mount --propagation private --pid --fork --kill-child bash -c '
    place=$1 archives=$2 user=$3
    shift 3
    mount -t proc proc "$place/proc" && mount --rbind /dev "$place/dev" &&
      mount --bind "$archives" "$place/var/cache/apt/archives" || exit
    home=$(chroot "$place" getent passwd "$user" | cut -d: -f6)
    exec chroot "$place" setpriv --reuid "$user" --regid "$user" --init-groups env -i \
      --chdir="$home" HOME="$home" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      LANG=C.UTF-8 TERM="${TERM:-xterm}" DEBIAN_FRONTEND=noninteractive "$@"
  ' bash "$place" "$clean_roots/archives" "$user" "$@"
}

# clean_root_install NAME PACKAGE...
clean_root_install() {
  local name=$1 log=$clean_roots/$1.log
  shift
  in_clean_root "$name" root sh -c '
    apt() {
      apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -o APT::Keep-Downloaded-Packages=true "$@"
    }
    apt update || exit 77
    # A package that there is not is our fault.
    apt install -y --no-install-recommends --simulate "$@" || exit 1
    apt install -y --no-install-recommends --download-only "$@" || exit 77
    apt install -y --no-install-recommends "$@"' sh "$@" >"$log" 2>&1 || {
    local status=$?
    tail -n 30 "$log" >&2
    ((status != 77)) || not_fetched "$*"
    return 1
  }
  rm -f "$log"
}

# clean_root_remove NAME
clean_root_remove() { rm -rf --one-file-system "${clean_roots:?}/$1"; }
