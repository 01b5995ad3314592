#!/bin/bash
# Installs what is missing, builds, and runs every check and test. Meant for a fresh Debian 12.
#
#   ./test.sh             everything; each subject of the matrix of ways in two of them, in turn, of
#                         which one is each user's where there are two
#   ./test.sh quick       while working: unit tests, layers, types, and each subject of the
#                         integration tests in one way
#   ./test.sh full        every subject in every way, clang-tidy on every source, and the attacks with
#                         large numbers
#   ./test.sh attack      those alone: CKPT_ATTACK_TIMES times as many as among the other tests, with
#                         the random numbers of CKPT_ATTACK_SEED
#   ./test.sh coverage    which lines and branches the tests run, in C++ and in Python: a build of its own,
#                         and all tests in it; part of nothing else, and slow
#   ./test.sh STEP...     some of it: see the lists of steps below (`packages` and `build` are quick
#                         when there is nothing to do)
#
# As root the Python tests run twice: as root, and as an ordinary user (ckpt-test, created when it
# is missing). As an ordinary user they run once.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root" || exit 1
source scripts/common.sh
source scripts/clean_root.sh
source scripts/coverage.sh

# The unit tests are those of the step sanitized.
all_steps=(packages build format lint types pytest pytest-user tidy sanitized fuzz seam)
quick_steps=(build format lint types unit quick)
# These come after all others, in the order of worth, each while that many minutes of `minutes` remain.
long_steps=(kernels deb debian13)
declare -A needs_minutes=([kernels]=15 [deb]=40 [debian13]=60)
minutes=${CKPT_TEST_MINUTES:-80}
ordinary_user=ckpt-test
fuzz_seconds=${CKPT_FUZZ_SECONDS:-5}
ways=2

step_packages() { need_packages "${packages_build[@]}" "${packages_demo[@]}" "${packages_test[@]}"; }

# demo.sh builds without the tests in the same place. An installation has its Python compiled, too; without that
# each of some thousand GDBs would do it.
step_build() { build tests test-programs && /usr/bin/python3 -m compileall -q gdbext; }

step_format() {
  find native restart tests/unit -name '*.[ch]pp' -print0 | xargs -0r clang-format --dry-run -Werror
}

# The last commit before the last eight hours of the history; nothing where there is none.
hours_before() {
  local newest
  newest=$(git log -1 --format=%ct 2>/dev/null) && git rev-list -1 --before=$((newest - 8 * 3600)) HEAD
}

# What clang-tidy is to read: the sources that have changed since, and for a header one that includes it.
tidy_sources() {
  local base changed file
  base=$(hours_before)
  if [[ $ways == all || -z $base ]] || ! git diff --quiet "$base" -- .clang-tidy; then
    find native restart -name '*.cpp'
    return
  fi
  mapfile -t changed < <(
    git diff --name-only --diff-filter=d "$base" -- native restart
    git ls-files --others --exclude-standard -- native restart
  )
  for file in "${changed[@]}"; do
    case $file in
      *.cpp) echo "$file" ;;
      *.hpp)
        if [[ -e ${file%.hpp}.cpp ]]; then
          echo "${file%.hpp}.cpp"
        else
          grep -rlE --include='*.cpp' "#include \"(.*/)?${file##*/}\"" native restart | head -n 1
        fi
        ;;
    esac
  done | sort -u
}

# units_of SOURCE... : what is compiled in which they are. Most of what clang-tidy does is reading the
# headers, which sources of one unit share.
units_of() {
  local source unit
  for source; do
    unit=$(grep -rlF --include='*_cxx.cxx' "#include \"$root/$source\"" "$root/build-tidy" | head -n 1)
    echo "${unit:-$root/$source}"
  done | sort -u
}

step_tidy() {
  local sources units
  # The other architecture's are not part of this build.
  mapfile -t sources < <(tidy_sources | grep -v '^native/arch/aarch64/')
  echo "${#sources[@]} sources to read"
  ((${#sources[@]})) || return 0
  configure tidy || return 1
  mapfile -t units < <(units_of "${sources[@]}")
  nice -n 10 run-clang-tidy -quiet -p build-tidy -j "$(nproc)" -checks=-bugprone-suspicious-include "${units[@]}" 2>&1 |
    grep -vE '^[0-9]+ warnings? |^clang-tidy|^$|^Suppressed|^Use -header-filter'
  return "${PIPESTATUS[0]}"
}

# types_of DIRECTORY FILE... : modules are found as pytest finds them, first in that directory.
types_of() {
  MYPYPATH=.:tests:$1 mypy --config-file pyproject.toml --python-version 3.11 --explicit-package-bases "${@:2}"
}

# Each directory of the tests for itself, since all have a conftest; tests/support is a package, with a program in it.
types_of_tests() {
  local directories directory status=0
  mapfile -t directories < <(find tests -name '*.py' -printf '%h\n' | sort -u)
  for directory in "${directories[@]}"; do
    case $directory in
      tests/support) types_of tests tests/support --exclude /newborn && types_of tests/support tests/support/newborn.py ;;
      *) types_of "$directory" "$directory"/*.py ;;
    esac || status=1
  done
  return $status
}

# The programs in Python that are no part of the package are typed, too; pyflakes reads all there is.
step_types() {
  mypy --config-file pyproject.toml &&
    mypy --strict --ignore-missing-imports --scripts-are-modules \
      bench/run docs/examples/regenerate scripts/demo.py scripts/demo_program.py scripts/record_schema.py &&
    mypy --strict scripts/list_packages_files.py scripts/coverage/report.py scripts/coverage/sitecustomize.py &&
    types_of_tests
}

# Lines are as long as .editorconfig lets them be. No faults: names that gdbext/__init__.py only hands on, and one
# that load.py deletes when it is done.
step_lint() {
  local told files
  shellcheck -x -S warning .ci/run demo.sh test.sh scripts/*.sh || return 1
  mapfile -t files < <(find gdbext tests bench docs scripts setup.py -name '*.py')
  files+=(bench/run docs/examples/regenerate)
  pycodestyle --select=E501,W291,W293,W391 --max-line-length=100 "${files[@]}" || return 1
  told=$(pyflakes3 "${files[@]}" |
    grep -vE '^gdbext/(__init__\.py:.* imported but unused|load\.py:.* undefined name ._load.)$')
  [[ -z $told ]] || { echo "$told"; return 1; }
}

# The sources outside native/arch, compiled for an architecture that they do not run on.
step_seam() { need_packages "${packages_seam[@]}" && scripts/test_seam.sh; }

step_unit() { build tests && build/bin/ckpt-unit-tests --gtest_brief=1; }

# One build of clang's serves the sanitizers and the fuzz targets.
step_sanitized() {
  build sanitized >build-asan.log || { cat build-asan.log; return 1; }
  build-asan/bin/ckpt-unit-tests --gtest_brief=1
}

# fuzz TARGET : new inputs go to a directory of the build; the seeds are only read.
fuzz() {
  local name=${1##*/fuzz-}
  mkdir -p "build-asan/corpus/$name" "tests/unit/fuzz/corpus/$name"
  if "$1" -max_total_time="$fuzz_seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="build-asan/crash-$name-" \
    "build-asan/corpus/$name" "tests/unit/fuzz/corpus/$name" >"build-asan/$name.log" 2>&1; then
    printf '%-12s %s runs\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "build-asan/$name.log")"
  else
    printf 'fuzz target %s failed:\n%s\n' "$name" "$(tail -n 60 "build-asan/$name.log")"
    return 1
  fi
}

step_fuzz() {
  compgen -G 'build-asan/fuzz/fuzz-*' >/dev/null || { echo "nothing is built; run ./test.sh sanitized first"; return 1; }
  export -f fuzz
  export fuzz_seconds
  printf '%s\0' build-asan/fuzz/fuzz-* | xargs -0 -n 1 -P "$(nproc)" bash -c 'fuzz "$1"' bash
}

read -ra tests <<<"${CKPT_TESTS:-tests}" # which of them, e.g. tests/e2e
measured=() # variables that have them measured
pytest_seconds=1800
# GDB's Python, never the first python3 on PATH. Half of what a test does is waiting.
pytest=(/usr/bin/python3 -m pytest -q --durations=5 -n $((2 * $(nproc))))

# Both run every subject.
users() { user_follows && echo 2 || echo 1; }
user_follows() { [[ $(id -u) == 0 && " ${steps[*]} " == *" pytest-user "* ]]; }

# Where two users run the tests, what needs one of them only is left to the ordinary one: what knows nothing
# of users, what runs replays for other purposes than what becomes of the program in them, and what a user
# sees and types in GDB.
for_the_ordinary_user=(
  tests/unit/python tests/offline tests/replay/test_{plugin,other_program,replay}.py tests/e2e/test_{install,languages,typed}.py
  tests/e2e/test_gdb_{auto,commands,dap,editing,hardware,history,image,libraries,library_names,mi,odd_names,postmortem}.py
  tests/e2e/test_gdb_scripting.py
)
# This has a user of its own on each of two machines, where root makes them.
for_root=(tests/bughunt)

step_pytest() {
  local left=()
  user_follows && left=("${for_the_ordinary_user[@]/#/--ignore=}")
  env "${measured[@]}" timeout -k 30 "$pytest_seconds" "${pytest[@]}" --ways "$ways" --users "$(users)" "${left[@]}" \
    "${tests[@]}"
}

# A thousand kills, a thousand restores and a million mutants, or as many as one likes.
step_attack() {
  CKPT_ATTACK_TIMES=${CKPT_ATTACK_TIMES:-50} timeout -k 30 14400 "${pytest[@]}" -rP tests/attack
}

step_quick() {
  timeout -k 30 600 "${pytest[@]}" --ways 1 -m "not slow and not thorough" tests/unit/python tests/integration
}

step_pytest-user() {
  if [[ $(id -u) != 0 ]]; then
    echo "Not root: the step pytest has done this already."
    return 0
  fi
  local place status left=()
  [[ " ${steps[*]} " == *" pytest "* ]] && left=("${for_root[@]/#/--ignore=}")
  place=$(mktemp -d /tmp/ckpt-test.XXXXXX)
  mkdir -p "$place"/{home,tmp}
  local as_user=(
    runuser -u "$ordinary_user" -- env -i PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8
    TERM="${TERM:-xterm}" HOME="$place/home" TMPDIR="$place/tmp" PYTHONDONTWRITEBYTECODE=1 "${measured[@]}"
  )
  chown -R "$ordinary_user:" "$place"
  timeout -k 30 "$pytest_seconds" "${as_user[@]}" "${pytest[@]}" --ways "$ways" --users "$(users)" "${left[@]}" \
    "${tests[@]}"
  status=$?
  rm -rf "$place"
  return $status
}

# The figures are of what has run, whether it has passed or not. tests/attack kills and limits what is measured at
# random, and spoils the counters.
step_coverage() {
  need_packages "${packages_coverage[@]}" && build coverage && begin_coverage || return 1
  local measured=("${coverage_variables[@]}") pytest_seconds=5400 steps=(pytest pytest-user) step status=0
  local pytest=("${pytest[@]}" --ignore tests/attack)
  env "${measured[@]}" GCOV_PREFIX="$coverage_data/native/unit" build-coverage/bin/ckpt-unit-tests --gtest_brief=1 || status=1
  for step in "${steps[@]}"; do
    "step_$step" || status=1
  done
  report_coverage && return $status
}

# skippable SCRIPT : what cannot be had is said by the script, which ends with 77 then, and is no failure.
skippable() {
  "$1"
  local status=$?
  ((status == 77)) || return $status
  skipped="something that it needs cannot be had: see above"
}

# in_root_of RELEASE SCRIPT : where there can be no root of another system, that is said, and is no failure.
in_root_of() {
  skipped=$(why_no_root "$1")
  if [[ $skipped ]]; then
    echo "Skipped: $skipped"
  else
    skippable "$2"
  fi
}

# In a root of its own, kept in build/debian13 for the next time.
step_debian13() { in_root_of trixie scripts/test_debian13.sh; }

# The build with README.md's packages, and the Debian package, on systems that have nothing else.
step_deb() { in_root_of "$(this_release)" scripts/test_deb.sh; }

# Installs what it takes to boot kernels.
step_kernels() {
  [[ $(id -u) != 0 ]] || need_packages "${packages_kernels[@]}"
  skippable scripts/test_kernels.sh
}

case $* in
  "") steps=("${all_steps[@]}" "${long_steps[@]}") ;;
  quick) steps=("${quick_steps[@]}") ;;
  full) steps=("${all_steps[@]}" unit attack "${long_steps[@]}") ways=all minutes=1000000 ;;
  *) steps=("$@") minutes=1000000 ;;
esac

# Debug information and build files hold paths, so that another user's tests need the sources and the
# build where that user can read them. If it is not here, everything is done on a copy.
if user_follows || [[ $(id -u) == 0 && " ${steps[*]} " == *" coverage "* ]]; then
  id -u "$ordinary_user" >/dev/null 2>&1 || useradd --system --no-create-home "$ordinary_user"
  if ! runuser -u "$ordinary_user" -- test -r "$root/tests/conftest.py"; then
    copy=$(mktemp -d /tmp/ckpt-source.XXXXXX)
    trap 'rm -rf "$copy"' EXIT
    tar -cf - --exclude='./build*' . | tar -xf - -C "$copy"
    chmod -R a+rX "$copy"
    say "Everything is done in $copy: $ordinary_user cannot read $root"
    (($#)) && [[ " ${steps[*]} " != *" build "* ]] && set -- build "$@"
    "$copy/test.sh" "$@"
    exit
  fi
fi

summary=()
failed=0
for step in "${steps[@]}"; do
  if ! declare -F "step_$step" >/dev/null; then
    mapfile -t names < <(declare -F | sed -n 's/^declare -f step_//p')
    echo "test.sh: no step '$step'; there are: ${names[*]}" >&2
    exit 2
  fi
  if ((SECONDS + 60 * ${needs_minutes[$step]:-0} > 60 * minutes)); then
    summary+=("$(printf '%-12s left out: less than %d minutes remain' "$step" "${needs_minutes[$step]:-0}")")
    continue
  fi
  say "$step"
  begin=$SECONDS
  skipped=
  "step_$step"
  status=$?
  if [[ $skipped ]]; then
    summary+=("$(printf '%-12s skipped: %s' "$step" "$skipped")")
    continue
  fi
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
