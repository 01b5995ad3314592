#!/bin/bash
# Installs what is missing, builds, and runs every check and test. Meant for a fresh Debian 12.
#
#   ./test.sh             everything
#   ./test.sh STEP...     some of it: see `all_steps` below (`packages` and `build` are quick when
#                         there is nothing to do)
#
# As root the Python tests run twice: as root, and as an ordinary user (ckpt-test, created when it
# is missing). As an ordinary user they run once.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root" || exit 1
source scripts/common.sh

all_steps=(packages build format tidy types unit sanitized fuzz pytest pytest-user)
ordinary_user=ckpt-test
fuzz_seconds=${CKPT_FUZZ_SECONDS:-5}

step_packages() { need_packages "${packages_build[@]}" "${packages_demo[@]}" "${packages_test[@]}"; }

# demo.sh builds without the tests in the same place.
step_build() { build_tree build -DCKPT_TESTS=ON; }

step_format() {
  find native restart tests/unit -name '*.[ch]pp' -print0 | xargs -0r clang-format --dry-run -Werror
}

step_tidy() {
  # clang reads the command lines of g++, and lacks one thing that libstdc++ expects of a compiler.
  nice -n 10 run-clang-tidy -quiet -p build -j "$(nproc)" \
    -extra-arg=-include -extra-arg="$root/cmake/clang_source_location.hpp" \
    "$root/(native|restart)/" 2>&1 |
    grep -vE '^[0-9]+ warnings? |^clang-tidy|^$|^Suppressed|^Use -header-filter'
  return "${PIPESTATUS[0]}"
}

step_types() { mypy --config-file pyproject.toml; }

step_unit() { build/bin/ckpt-unit-tests --gtest_brief=1; }

# One build of clang's serves the sanitizers and the fuzz targets.
step_sanitized() {
  build_tree build-asan -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_C_COMPILER=clang -DCKPT_FUZZ=ON \
    -DCKPT_SANITIZE=address,undefined >build-asan.log || { cat build-asan.log; return 1; }
  build-asan/bin/ckpt-unit-tests --gtest_brief=1
}

step_fuzz() {
  local target name status=0
  for target in build-asan/fuzz/fuzz-*; do
    [[ -x $target ]] || { echo "$target: not built; run ./test.sh sanitized first"; return 1; }
    name=${target##*/fuzz-}
    # New inputs go to a directory of the build; the seeds are only read.
    mkdir -p "build-asan/corpus/$name" "tests/unit/fuzz/corpus/$name"
    if "$target" -max_total_time="$fuzz_seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
      -print_final_stats=1 -artifact_prefix="build-asan/crash-$name-" \
      "build-asan/corpus/$name" "tests/unit/fuzz/corpus/$name" >"build-asan/$name.log" 2>&1; then
      printf '%-12s %s runs\n' "$name" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "build-asan/$name.log")"
    else
      echo "fuzz target $name failed:"
      tail -n 60 "build-asan/$name.log"
      status=1
    fi
  done
  return $status
}

# GDB's Python, never the first python3 on PATH.
read -ra tests <<<"${CKPT_TESTS:-tests}" # which of them, e.g. tests/e2e
pytest=(/usr/bin/python3 -m pytest -q --durations=5 -n "$(nproc)" "${tests[@]}")

# What needs to be done by one of the two users only is left to the ordinary one.
step_pytest() {
  local follows=
  [[ $(id -u) == 0 && " ${steps[*]} " == *" pytest-user "* ]] && follows=yes
  CKPT_TEST_USER_FOLLOWS=$follows timeout -k 30 1800 "${pytest[@]}"
}

step_pytest-user() {
  if [[ $(id -u) != 0 ]]; then
    echo "Not root: the step pytest has done this already."
    return 0
  fi
  local place status
  place=$(mktemp -d /tmp/ckpt-test.XXXXXX)
  mkdir -p "$place"/{home,tmp}
  local as_user=(
    runuser -u "$ordinary_user" -- env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8
    TERM="${TERM:-xterm}" HOME="$place/home" TMPDIR="$place/tmp" PYTHONDONTWRITEBYTECODE=1
  )
  chown -R "$ordinary_user:" "$place"
  timeout -k 30 1800 "${as_user[@]}" "${pytest[@]}"
  status=$?
  rm -rf "$place"
  return $status
}

steps=("$@")
((${#steps[@]})) || steps=("${all_steps[@]}")

# Debug information and build files hold paths, so that another user's tests need the sources and the
# build where that user can read them. If it is not here, everything is done on a copy.
if [[ $(id -u) == 0 && " ${steps[*]} " == *" pytest-user "* ]]; then
  id -u "$ordinary_user" >/dev/null 2>&1 || useradd --system --no-create-home "$ordinary_user"
  if ! runuser -u "$ordinary_user" -- test -r "$root/tests/conftest.py"; then
    copy=$(mktemp -d /tmp/ckpt-source.XXXXXX)
    trap 'rm -rf "$copy"' EXIT
    tar -cf - --exclude=./.git --exclude='./build*' . | tar -xf - -C "$copy"
    chmod -R a+rX "$copy"
    say "Everything is done in $copy: $ordinary_user cannot read $root"
    [[ " ${steps[*]} " == *" build "* ]] || steps=(build "${steps[@]}")
    "$copy/test.sh" "${steps[@]}"
    exit
  fi
fi

summary=()
failed=0
for step in "${steps[@]}"; do
  if ! declare -F "step_$step" >/dev/null; then
    echo "test.sh: no step '$step'; there are: ${all_steps[*]}" >&2
    exit 2
  fi
  say "$step"
  begin=$SECONDS
  "step_$step"
  status=$?
  summary+=("$(printf '%-12s %-6s %4d s' "$step" \
    "$([[ $status == 0 ]] && echo ok || echo FAILED)" $((SECONDS - begin)))")
  ((status)) && failed=1
  # Without these there is nothing to check.
  [[ $status != 0 && ($step == packages || $step == build) ]] && break
done

say "summary"
printf '%s\n' "${summary[@]}"
if ((failed)); then
  echo "FAILED after $SECONDS s"
else
  echo "All passed in $SECONDS s"
fi
exit $failed
