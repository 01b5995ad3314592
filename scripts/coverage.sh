# shellcheck shell=bash disable=SC2034,SC2154
# Sourced by test.sh: what runs of our own code while the tests run. Not a program.
# The caller has set `root` to the top of the source tree, and is there.

# What the programs of the tests find each other by, and by what their Python is measured.
coverage_build=$root/build-coverage
coverage_data=$coverage_build/coverage
coverage_variables=(
  "CKPT_BUILD=$coverage_build" "CKPT_BUILD_DIR=$coverage_build"
  "CKPT_TEST_COVERAGE=$coverage_data/coveragerc" "PYTHONPATH=$root/scripts/coverage"
  # What cannot be written under a limit or in a sandbox of a test is lost; the test must not read of it.
  GCOV_ERROR_FILE=/dev/null
)

# Empties the counters. Each file of tests has counters of its own (tests/support/measured.py).
begin_coverage() {
  rm -rf "$coverage_data"
  find "$coverage_build" -name '*.gcda' -delete
  mkdir -p "$coverage_data"/{native,python} && chmod 1777 "$coverage_data"/{native,python} || return 1
  find "$coverage_build" -name '*.gcno' | sed 's/gcno$/gcda/' >"$coverage_data/counters"
  # What is below `if TYPE_CHECKING` is for mypy alone.
  cat >"$coverage_data/coveragerc" <<END
[run]
branch = true
parallel = true
source = $root/gdbext
data_file = $coverage_data/python/data
disable_warnings = module-not-imported, no-data-collected, module-not-measured, couldnt-parse
[report]
exclude_lines =
  pragma: no cover
  if TYPE_CHECKING:
END
}

# Adds all counters up, in the place where gcovr looks for them.
sum_counters() {
  local sum=$coverage_data/sum more spoilt=0
  find "$coverage_data/native" -name '*.gcda' -empty -delete
  find "$coverage_data/native" -type d -empty -delete
  rm -rf "$sum" && cp -r "$coverage_data/native/unit" "$sum" || return 1
  for more in "$coverage_data"/native/tmp*; do
    compgen -G "$more/*" >/dev/null || continue
    if nice -n 10 gcov-tool merge -o "$sum.next" "$sum" "$more" >"$sum.log" 2>&1; then
      rm -rf "$sum" && mv "$sum.next" "$sum"
    else
      rm -rf "$sum.next"
      spoilt=$((spoilt + 1))
    fi
  done
  ((spoilt == 0)) || echo "Counters of $spoilt files of tests are lost: a process was killed while it wrote them."
  cp -r "$sum$coverage_build/." "$coverage_build/"
}

# Prints the shares, and leaves reports with every line in the build's directory `coverage`.
report_coverage() {
  sum_counters || return 1
  # Each call of a function that may throw has a branch to where the stack is unwound. Nobody has written these
  # (there are more of them than of all others), and no test can take each.
  nice -n 10 gcovr --root "$root" --filter "$root/native/" --filter "$root/restart/" --exclude-throw-branches \
    -j "$(nproc)" --json-summary "$coverage_data/native.json" --json "$coverage_data/native-lines.json" \
    --txt "$coverage_data/native.txt" "$coverage_build" || return 1
  local coverage=(nice -n 10 /usr/bin/python3 -m coverage)
  "${coverage[@]}" combine -q --rcfile="$coverage_data/coveragerc" "$coverage_data/python" &&
    "${coverage[@]}" json -q --rcfile="$coverage_data/coveragerc" -o "$coverage_data/python.json" || return 1
  "${coverage[@]}" report -m --rcfile="$coverage_data/coveragerc" >"$coverage_data/python.txt"
  scripts/coverage/report.py "$coverage_data/native.json" "$coverage_data/python.json" &&
    echo "Lines that did not run: $coverage_data/native.txt and python.txt"
}
