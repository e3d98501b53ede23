#!/usr/bin/env bash
# package_test.sh BUILD WORK CXX MAKE_MODEL EXAMPLE: installs the library of BUILD under WORK, moves
# the copy to another path, and builds and runs against it a program that includes every installed
# header, one that trains for an epoch, and examples/predict, which must say what EXAMPLE, the same
# source in BUILD, says.
set -euo pipefail
build=$1 work=$2 cxx=$3 make_model=$4 example=$5
source=$(cd "$(dirname "$0")/../.." && pwd)
rm -rf "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$work/first" --component library >"$work/install.log"
mv "$work/first" "$work/moved"

for notice in LICENSE THIRD_PARTY.md; do
  cmp "$source/$notice" "$work/moved/share/doc/fulmar/$notice"
done
if grep -rnE '#include *<(nlohmann|hwy|CLI|spng|stb)' "$work/moved/include"; then
  echo "a public header includes a third party's"
  exit 1
fi
# build_against_copy SOURCE NAME [ARGUMENT...]: configures, builds and runs it with the moved copy.
build_against_copy() {
  local from=$1 name=$2
  shift 2
  cmake -S "$from" -B "$work/$name" -G Ninja -DCMAKE_PREFIX_PATH="$work/moved" \
    -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_BUILD_TYPE=Release "$@"
  cmake --build "$work/$name"
}
(cd "$work/moved/include/fulmar" && find . -name '*.h' | sort | sed 's,^\./\(.*\),#include "\1",') \
  >"$work/every_header.inc"
[ "$(wc -l <"$work/every_header.inc")" -gt 1 ] || { echo "no headers were installed"; exit 1; }
build_against_copy "$source/tests/package" headers -DEVERY_HEADER="$work/every_header.inc"
"$work/headers/headers"
"$work/headers/train" "$work/run"
"$make_model" "$work/model.safetensors"

build_against_copy "$source/examples/predict" predict
lines=$(wc -l <"$source/examples/predict/predict.cpp")
[ "$lines" -le 40 ] || { echo "the example has $lines lines"; exit 1; }
"$work/predict/predict" "$work/model.safetensors" | tee "$work/said"
"$example" "$work/model.safetensors" | diff - "$work/said"
readelf -dW "$work/predict/predict" | grep -q 'NEEDED.*libfulmar\.so'
