#!/bin/bash
# Installs what is missing, builds, and shows two GDB sessions on a real program (CPython with three
# threads): the first saves it in the middle of its work, the second restores it and lets it end.
# Meant for a fresh Debian 12.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root"
source scripts/common.sh

need_packages "${packages_build[@]}" "${packages_demo[@]}"
say "Building"
build default
exec /usr/bin/python3 scripts/demo.py
