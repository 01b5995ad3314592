# shellcheck shell=bash disable=SC2034,SC2154
# Sourced by test.sh and demo.sh: what is needed, and how to build. Not a program.
# The caller has set `root` to the top of the source tree.

packages_build=(
  build-essential ccache cmake gdb libcli11-dev libelf-dev libfmt-dev libxxhash-dev libzstd-dev
  libzydis-dev ninja-build nlohmann-json3-dev pybind11-dev python3-dev
)
packages_demo=(python3-pexpect)
packages_test=(
  bc btrfs-progs clang clang-format clang-tidy clang-tools elfutils fish gawk groff-base less libc6-dbg libclang-rt-dev
  libgtest-dev libjemalloc2 lldb make mariadb-client-core mariadb-server-core musl-tools mypy nginx-light nscd patch
  postgresql procps pycodestyle pyflakes3 python3-hypothesis python3-pexpect python3-pip python3-pytest
  python3-pytest-xdist python3-setuptools python3-venv python3-wheel redis-server shellcheck sqlite3 strace tcsh
  util-linux vim-tiny zsh
)
packages_seam=(g++-aarch64-linux-gnu)
packages_coverage=(gcovr python3-coverage)
packages_kernels=(busybox-static cpio dpkg-dev e2fsprogs kmod qemu-system-x86 xz-utils)
# These are as good from elsewhere, if it is where all users find it.
for_all() { PATH=/usr/local/bin:/usr/bin:/bin command -v "$1" >/dev/null; }
for_all node || packages_test+=(nodejs)
for_all javac || packages_test+=(default-jdk-headless)
for_all rustc || packages_test+=(rustc)
for_all go || packages_test+=(golang-go)
for_all gfortran || packages_test+=(gfortran)
for_all gnatmake || packages_test+=(gnat)
for_all fpc || packages_test+=(fp-compiler)
for_all gdc || packages_test+=(gdc)

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# need_packages NAME... : installs what is missing, or says what to install.
need_packages() {
  if ! command -v dpkg-query >/dev/null; then
    echo "Not a Debian system: provide what these packages provide: $*" >&2
    return 0
  fi
  local name missing=()
  for name in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed* ]] ||
      missing+=("$name")
  done
  ((${#missing[@]})) || return 0
  if [[ $(id -u) != 0 ]]; then
    echo "Missing packages; as root: apt-get install ${missing[*]}" >&2
    return 1
  fi
  say "Installing ${missing[*]}"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
  "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
}

# configure PRESET : CMake's presets are in CMakePresets.json.
configure() {
  local log
  log=$(cmake --preset "$1" 2>&1) || { echo "$log" >&2; return 1; }
}

# build PRESET [BUILD-PRESET] : configures and builds, at low priority.
build() { configure "$1" && nice -n 10 cmake --build --preset "${2:-$1}" -j "$(nproc)"; }
