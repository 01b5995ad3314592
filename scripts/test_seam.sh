#!/bin/bash
# Compiles the sources for another architecture, whose directory of native/arch/ is a stub: whatever
# knows the architecture outside of native/arch/ fails here. Nothing is linked and nothing is run.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

# These cannot be compiled yet:
declare -A left_out=(
  [native/libc/owners.cpp]="glibc lays its locks out differently on each architecture"
)

other=aarch64
place=build-seam
rm -rf "$place"
mkdir -p "$place/include"
# Not all of /usr/include: the other architecture has a C library of its own.
for library in fmt nlohmann xxhash.h xxh3.h zstd.h zstd_errors.h libelf.h gelf.h elfutils nlist.h; do
  [[ ! -e /usr/include/$library ]] || ln -s "/usr/include/$library" "$place/include/"
done

# The sources of a directory as one: most of the time goes into the headers, which they share.
sources=0
while read -r source; do
  if [[ -v "left_out[$source]" ]]; then
    printf '%s is left out: %s\n' "$source" "${left_out[$source]}"
    continue
  fi
  unit=$(dirname "$source")
  echo "#include \"$root/$source\"" >>"$place/${unit//\//_}.cpp"
  sources=$((sources + 1))
done < <(
  find native \( -path native/arch -o -path native/bindings \) -prune -o -name '*.cpp' -print | sort
  find "native/arch/$other" -name '*.cpp' | sort
)

printf '%s\0' "$place"/*.cpp | xargs -0 -n 1 -P "$(nproc)" nice -n 10 "$other-linux-gnu-g++" \
  -std=c++20 -fsyntax-only -Wall -Wextra -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DCKPT_VERSION='"seam"' \
  -Inative -isystem "$place/include" || exit 1
echo "$sources sources compiled for $other"
