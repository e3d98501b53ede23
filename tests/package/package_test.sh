#!/usr/bin/env bash
# package_test.sh BUILD WORK CXX MAKE_MODEL EXAMPLE: installs the library of BUILD under WORK, moves
# the copy to another path, and builds and runs against it a program that includes every installed
# header, one that trains for an epoch, and examples/predict, which must say what EXAMPLE, the same
# source in BUILD, says. examples/c, as C99 by pkg-config, and examples/python must say the same.
set -euo pipefail
build=$1 work=$2 cxx=$3 make_model=$4 example=$5
cc=${CC:-cc}
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
build_against_copy "$source/examples/explain" explain
lines=$(wc -l <"$source/examples/explain/explain.cpp")
[ "$lines" -le 40 ] || { echo "the example of explanations has $lines lines"; exit 1; }
"$work/explain/explain" "$work/model.safetensors" | tee "$work/explained"
grep -qE '^class [01] -?[0-9.]+, strongest at column [0-9]+, row [0-9]+$' "$work/explained"
numbers=$(sed 's/.* //' "$work/said" | tr '\n' ' ')

python3 -c 'import sys; sys.stdout.buffer.write(bytes(i * i % 251 for i in range(32 * 32 * 3)))' \
  >"$work/pixels"
lib=$(dirname "$(find "$work/moved" -name libfulmar.so)")
if command -v pkg-config >/dev/null; then
  read -ra flags < <(PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --cflags --libs fulmar)
else
  echo "there is no pkg-config: fulmar.pc is not tested"
  flags=("-I$work/moved/include" "-L$lib" -lfulmar)
fi
# c_program NAME SOURCE: C99 against the moved copy.
c_program() {
  "$cc" -std=c99 -pedantic -Wall -Wextra -Werror "$2" -o "$work/$1" "${flags[@]}" -pthread
}
export LD_LIBRARY_PATH=$lib
lines=$(wc -l <"$source/examples/c/predict.c")
[ "$lines" -le 60 ] || { echo "the example in C has $lines lines"; exit 1; }
c_program predict_c "$source/examples/c/predict.c"
"$work/predict_c" "$work/model.safetensors" 32 32 <"$work/pixels" | tee "$work/said_c"
[ "$(cat "$work/said_c")" = "probabilities [\"neg\",\"pos\"]: ${numbers% }" ]
"$source/examples/python/predict.py" "$lib/libfulmar.so" "$work/model.safetensors" 32 32 \
  <"$work/pixels" | diff "$work/said" -
# refused COMMAND...: it fails, and says why.
refused() {
  if "$@" <"$work/pixels" 2>"$work/error"; then echo "$* was not refused"; exit 1; fi
  grep -q "absent" "$work/error" || { cat "$work/error"; exit 1; }
}
refused "$work/predict_c" "$work/absent.safetensors" 32 32
refused "$source/examples/python/predict.py" "$lib/libfulmar.so" "$work/absent.safetensors" 32 32
c_program c_errors "$source/tests/package/c_errors.c"
"$work/c_errors" "$work/model.safetensors"
unset LD_LIBRARY_PATH
build_against_copy "$source/examples/c" predict_cmake
"$work/predict_cmake/predict" "$work/model.safetensors" 32 32 <"$work/pixels" |
  diff "$work/said_c" -

readelf -dW "$work/predict/predict" | grep -q 'NEEDED.*libfulmar\.so'
