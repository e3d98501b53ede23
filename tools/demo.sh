#!/usr/bin/env bash
# Installs what is missing, builds, and shows the whole way on scenes like Sentinel-1's, made here:
# makes them, trains the polar-low network on them, evaluates it on scenes held out, predicts a few,
# and writes a report.
#   tools/demo.sh [OUT [SEED]]
# OUT receives it all (default build/demo in the repository): a new or empty folder, or that of an
# earlier demo, which is replaced. SEED (default 1) is that of the scenes and of the training.
# Less than 8 minutes on 2 cores after the build.
set -euo pipefail
[ $# -le 2 ] || { echo "usage: tools/demo.sh [OUT [SEED]]" >&2; exit 2; }
out=${1-}
[ -z "$out" ] || out=$(realpath -m -- "$out")
seed=${2-1}
if ! [[ $seed =~ ^[0-9]{1,9}$ ]]; then
  echo "tools/demo.sh: the seed '$seed' is no whole number" >&2
  exit 2
fi
cd "$(dirname "$0")/.."
out=${out:-$PWD/build/demo}
mark=$out/made-by-fulmar-demo
if [ -e "$out" ] && [ ! -e "$mark" ] && [ -n "$(ls -A -- "$out")" ]; then
  echo "$out: holds something that no demo made; name another folder, or empty this one" >&2
  exit 3
fi

say() { printf '\n== %s\n' "$*"; }

say "Install what is missing and build"
tools/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)" --target fulmar_cli
fulmar=build/release/bin/fulmar
began=$SECONDS

rm -rf -- "$out/run" "$out/scenes"
mkdir -p "$out"
touch "$mark"

say "Make 2800 scenes of 512 x 512 km, half of them with a polar low, in $out/scenes"
"$fulmar" synth "$out/scenes" --train 2400 --test 400 --size 256 --resolution 2000 --twins \
  --seed "$seed"

say "Train on 2400 of them, a tenth held back for validation: the polar-low network, wide and short"
"$fulmar" train "$out/scenes" --out "$out/run" --crop 168 --widths 16,32,64,128,256 \
  --epochs 32 --batch 32 --schedule one-cycle --lr 3e-3 --stop-patience 0 --sampling epoch \
  --validation 0.1 --seed "$seed"

say "Evaluate on the other 400, and add that to the report"
"$fulmar" eval "$out/run/best.safetensors" "$out/scenes/test" --report

say "Predict: two scenes with a polar low, and their twins, which are the same without it"
pictures=()
for picture in "$out"/scenes/test/pos/*; do
  pictures+=("$picture" "$out/scenes/twins/neg/${picture##*/}")
  [ ${#pictures[@]} -lt 4 ] || break
done
"$fulmar" predict "$out/run/best.safetensors" "${pictures[@]}"

say "Done in $((SECONDS - began)) s after the build. To look at:"
echo "  $out/run/report.html         how the training went, what the model gets right and wrong"
echo "  $out/run/best.safetensors    the model, for fulmar predict and fulmar eval"
echo "  $out/scenes                  the scenes, their parameters and where each vortex is (masks)"
