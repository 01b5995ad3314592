#!/bin/bash
# Builds gdb-ckpt as README.md says, on a Debian system that has nothing but the packages that README.md
# names; makes the Debian package of that build, has lintian look at it, installs it on another such
# system, and runs the demo from it. Needs root, and Debian's mirror.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
source scripts/common.sh
source scripts/clean_root.sh

why=$(why_no_root "$(this_release)")
[[ ! $why ]] || { echo "test_deb.sh: $why" >&2; exit 1; }
need_packages lintian
clean_root_base

# What a reader would type: the first block of the section, without the continuation of lines.
readme_packages() {
  sed -n '/^## Requirements/,/^## /p' README.md | sed -n '/apt-get install/,/```/p' |
    grep -v '```' | tr -d '\\' | tr -s ' \n' ' ' | sed 's/^ *apt-get install //'
}
readme_build() { sed -n '/^Build once, in the checkout/,/^```$/p' README.md | grep '^cmake'; }

say "Building with README.md's packages"
clean_root builder
read -ra packages <<<"$(readme_packages)"
clean_root_install builder "${packages[@]}"
mkdir "$clean_roots/builder/home/visitor/gdb-ckpt"
tar -cf - --exclude=./.git --exclude='./build*' . |
  tar -xf - --no-same-owner -C "$clean_roots/builder/home/visitor/gdb-ckpt"
in_clean_root builder root chown -R visitor: /home/visitor/gdb-ckpt
# With the compiler flags of Debian's packages: the package is made of what is compiled here.
in_clean_root builder visitor nice bash -ec '
  export DEB_BUILD_MAINT_OPTIONS=hardening=+all
  for language in C CXX; do
    export "${language}FLAGS=$(dpkg-buildflags --get "${language}FLAGS") $(dpkg-buildflags --get CPPFLAGS)"
  done
  export LDFLAGS="$(dpkg-buildflags --get LDFLAGS)"
  cd gdb-ckpt
  eval "$1"' bash "$(readme_build)"

say "The Debian package"
clean_root_install builder debhelper dh-python
# It finds what has been compiled.
in_clean_root builder visitor nice env CKPT_DEB_BUILD=build DEB_BUILD_OPTIONS="parallel=$(nproc)" \
  bash -c 'cd gdb-ckpt && dpkg-buildpackage -b -nc -us -uc >../log 2>&1 || { tail -n 60 ../log; exit 1; }'
rm -rf "$clean_roots/packages"
mkdir "$clean_roots/packages"
cp "$clean_roots"/builder/home/visitor/*.{deb,changes,buildinfo} "$clean_roots/packages"
clean_root_remove builder
ls -l "$clean_roots/packages"
lintian --fail-on error,warning --allow-root "$clean_roots"/packages/*.changes

say "The demo, from the package"
clean_root installed
cp "$clean_roots"/packages/gdb-ckpt_*.deb "$clean_roots/installed/tmp"
clean_root_install installed "/tmp/$(cd "$clean_roots/packages" && echo gdb-ckpt_*.deb)" \
  "${packages_demo[@]}"
cp -r scripts "$clean_roots/installed/home/visitor"
in_clean_root installed visitor bash -ec '
  for page in man1/ckpt.1 man1/ckpt-save.1 man1/ckpt-restart.1 man1/ckpt-record.1 man1/ckpt-replay.1 man1/ckpt-replay-server.1 man7/gdb-ckpt.7; do
    zcat "/usr/share/man/$page.gz" >page
    grep -q "^\.SH NAME" page || { echo "$page is no manual page" >&2; exit 1; }
  done
  grep -q "^source /usr/lib/gdb-ckpt/gdbext/load.py" page'
load=$(in_clean_root installed root dpkg -L gdb-ckpt | grep '/load\.py$')
in_clean_root installed visitor /usr/bin/python3 scripts/demo.py "$load"
in_clean_root installed visitor bash -ec '
  ckpt --version
  mkfifo fifo ready
  exec 3<>fifo
  sh -c "echo >ready; read -r line; echo \"\$line\"" <fifo &
  read -r <ready
  # Its standard output is the FIFO until it has gone on from there.
  until grep -q "^0 0x0 " "/proc/$!/syscall"; do :; done
  ckpt-save $! reading.ckpt
  kill $!
  ckpt info ./reading.ckpt >/dev/null
  echo it went on >line
  ckpt-restart --stdin line --stdout printed reading.ckpt
  grep "^it went on$" printed
  LD_PRELOAD=/usr/lib/gdb-ckpt/libckpt.so /bin/true'
in_clean_root installed root sh -c 'apt-get -qq -o Dpkg::Use-Pty=0 purge -y gdb-ckpt >/dev/null &&
  ! find / -xdev -name "*gdb-ckpt*" -not -path "/home/*" -not -path "/tmp/*" -not -path "/var/*" |
    grep .'
clean_root_remove installed
echo "The package was built, checked, installed and used in $SECONDS s."
