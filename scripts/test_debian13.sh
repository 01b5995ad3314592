#!/bin/bash
# Builds gdb-ckpt on Debian 13 and tests it there: in a root of its own, made with debootstrap from
# the mirror in the system's apt sources. Needs root. The root is kept for the next time.
#
#   scripts/test_debian13.sh              the build, the quick tests, the end-to-end tests; the last
#                                         ones of threads and errors as an ordinary user, too
#   scripts/test_debian13.sh STEP...      some of it: build, quick, e2e, user; or: shell
#
# CKPT_DEBIAN13_ROOT  where the root is kept; build/debian13 if not set
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
source scripts/common.sh
source scripts/clean_root.sh

release=trixie
place=${CKPT_DEBIAN13_ROOT:-$root/build/debian13}
steps=("$@")
((${#steps[@]})) || steps=(build quick e2e user)

# Compilers and debuggers that no test of the steps here needs.
not_here='^(clang|clang-.*|libclang-.*|lldb|mypy)$'

fail() {
  echo "debian13: $*" >&2
  exit 1
}

# All mounts are made in a mount namespace of our own: they are gone when we are, however we end.
if [[ ${CKPT_DEBIAN13_INSIDE:-} != "$$" ]]; then
  why=$(why_no_root "$release")
  [[ ! $why ]] || fail "$why"
  CKPT_DEBIAN13_INSIDE=$$ exec unshare --mount --propagation private "${BASH_SOURCE[0]}" "$@"
fi

make_root() {
  local from
  from=$(debian_mirror)
  say "Making a root of Debian 13 in $place"
  rm -rf --one-file-system "$place"
  mkdir -p "${place%/*}"
  nice debootstrap --variant=minbase --include=ca-certificates "$release" "$place" "$from" \
    >"$place.log" 2>&1 || { tail -n 20 "$place.log" >&2; not_fetched "Debian $release"; }
  # Of packages only what is used; and no service is to start.
  printf 'path-exclude=/usr/share/%s/*\n' man doc info locale >"$place/etc/dpkg/dpkg.cfg.d/small"
  printf '#!/bin/sh\nexit 101\n' >"$place/usr/sbin/policy-rc.d"
  chmod +x "$place/usr/sbin/policy-rc.d"
  touch "$place/made"
}

# The place becomes the root of a mount namespace: in one that was only changed to with chroot nobody may
# make namespaces, as some tests do.
enter() {
  unshare --mount bash -ec 'cd "$1" && shift && pivot_root . mnt && umount -l /mnt && cd / && exec "$@"' \
    bash "$place" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 \
    TERM="${TERM:-xterm}" HOME=/root PYTHONDONTWRITEBYTECODE=1 \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} "$@"
}

# The sources where all users can read them, and a build directory that belongs to the root.
mount_all() {
  mkdir -p "$place/ckpt" "$place/ckpt-build" "$root/build"
  mount --bind "$place" "$place"
  mount -t proc proc "$place/proc"
  mount --rbind /sys "$place/sys"
  mount --rbind /dev "$place/dev"
  mount --bind "$root" "$place/ckpt"
  mount --bind "$place/ckpt-build" "$place/ckpt/build"
  cp -L /etc/resolv.conf /etc/hosts "$place/etc/"
}

# Asked in there: the lists leave out what there is already.
install_packages() {
  enter bash -c 'root=/ckpt && source /ckpt/scripts/common.sh && wanted=()
    for name in "${packages_build[@]}" "${packages_demo[@]}" "${packages_test[@]}"; do
      [[ $name =~ $1 ]] || wanted+=("$name")
    done
    need_packages "${wanted[@]}"' bash "$not_here" >"$place.log" 2>&1 ||
    { tail -n 20 "$place.log" >&2; fail "the packages could not be installed"; }
}

# As the ordinary user of test.sh if the first word is "user".
run_pytest() {
  local who=()
  if [[ $1 == user ]]; then
    shift
    enter bash -c 'id -u ckpt-test >/dev/null 2>&1 || useradd --system --create-home ckpt-test'
    who=(runuser -u ckpt-test -- env HOME=/home/ckpt-test TMPDIR=/home/ckpt-test)
  fi
  enter "${who[@]}" bash -c 'cd /ckpt && exec timeout -k 30 "$@"' bash 2400 nice \
    /usr/bin/python3 -m pytest -q -p no:cacheprovider -n "$(nproc)" "$@"
}

# Keeps the last line that pytest has said, which has its counts.
counted() {
  "$@" 2>&1 | tee "$place.log"
  local status=${PIPESTATUS[0]}
  counts+=("$(printf '%-6s %s' "$step" "$(tail -n 1 "$place.log")")")
  return "$status"
}

step_build() {
  if ! enter bash -c 'cd /ckpt && cmake --preset tests &&
    nice cmake --build --preset tests -j "$(nproc)"' >"$place.log" 2>&1; then
    tail -n 60 "$place.log"
    return 1
  fi
  # Of linking statically on purpose the linker warns on every system.
  ! grep 'warning: ' "$place.log" | grep -v 'in statically linked applications'
}
step_quick() {
  enter bash -c 'cd /ckpt && build/bin/ckpt-unit-tests --gtest_brief=1' &&
    counted run_pytest --ways 1 -m "not slow" tests/unit/python tests/integration
}
step_e2e() { counted run_pytest tests/e2e; }
step_user() {
  counted run_pytest user tests/e2e/test_gdb_save_restore.py \
    tests/e2e/test_gdb_thread_ids.py tests/e2e/test_gdb_errors.py
}
step_shell() { enter bash -i; }

[[ -e $place/made ]] || make_root
mount_all || fail "the mounts could not be made"
install_packages

counts=()
failed=()
for step in "${steps[@]}"; do
  declare -F "step_$step" >/dev/null || fail "no step '$step'; there are: build quick e2e user shell"
  say "Debian 13: $step"
  "step_$step" || failed+=("$step")
  [[ ${failed[*]} == *build* ]] && break
done
rm -f "$place.log"

say "Debian 13: $(enter gdb --version | head -n 1), $(enter ldd --version | head -n 1)"
((${#counts[@]})) && printf '%s\n' "${counts[@]}"
if ((${#failed[@]})); then
  echo "Debian 13: FAILED (${failed[*]}) after $SECONDS s"
  exit 1
fi
echo "Debian 13: all passed in $SECONDS s"
