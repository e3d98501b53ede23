#!/usr/bin/env bash
# alone_test.sh WORK CXX [PACKAGES]: with FULMAR_LIBRARY_ONLY the build is configured where of all
# packages only Highway and JSON's headers are found, and it compiles no file but the library's.
# (The files themselves are compiled by every other build.)
set -euo pipefail
work=$1 cxx=$2 packages=${3-}
source=$(cd "$(dirname "$0")/../.." && pwd)
rm -rf "$work"
absent=()
for package in CLI11 doctest benchmark CUDAToolkit; do
  absent+=("-DCMAKE_DISABLE_FIND_PACKAGE_$package=ON")
done
cmake -S "$source" -B "$work" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$cxx" \
  -DFULMAR_LIBRARY_ONLY=ON -DFULMAR_STATIC=ON -DFULMAR_PACKAGES="$packages" "${absent[@]}"
if grep -E '^(spng|deflate|jpeg|tiff|geographic|stb)_' "$work/CMakeCache.txt"; then
  echo "it looked for these, which are the program's"
  exit 1
fi
commands=$(ninja -C "$work" -t commands)
if foreign=$(grep -oE ' -c [^ ]+' <<<"$commands" | grep -vE "$source/(kernels|engine|model)/") ||
    foreign=$(grep -oE "$source/kernels/(simt|cuda)/[^ ]*\\.(cpp|cu)" <<<"$commands"); then
  printf 'it compiles what is not of the library:\n%s\n' "$foreign"
  exit 1
fi
grep -q 'libfulmar\.a' <<<"$commands"
grep -q 'libfulmar\.so' <<<"$commands"
