#!/usr/bin/env bash
# Installs what is missing, builds, trains a small network on radar images, evaluates it on the test
# set and predicts a few pictures.
#   tools/demo.sh [DATA [OUT]]
# DATA is a folder with train/CLASS/* and test/CLASS/*, pictures of 88 pixels or more each way
# (default: the MSTAR chips at ../shared/data/mstar10/MSTAR-10 beside the repository; where they
# are not, pictures made here). OUT receives the run (default build/demo in the repository): a new
# or empty folder, or that of an earlier demo, which is replaced.
set -euo pipefail
[ $# -le 2 ] || { echo "usage: tools/demo.sh [DATA [OUT]]" >&2; exit 2; }
data=${1-}
[ -z "$data" ] || data=$(realpath -m -- "$data")
[ -z "$data" ] || [ -d "$data" ] || { echo "$data: no such folder; check the path" >&2; exit 3; }
out=${2-}
[ -z "$out" ] || out=$(realpath -m -- "$out")
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
cmake --build --preset release --parallel "$(nproc)" --target fulmar_cli fulmar_demo_pictures
fulmar=build/release/bin/fulmar

rm -rf -- "$out/run" "$out/pictures"
mkdir -p "$out"
touch "$mark"
epochs=16
if [ -z "$data" ]; then
  data=../shared/data/mstar10/MSTAR-10
  if [ ! -d "$data" ]; then
    data=$out/pictures
    epochs=24  # they are fewer
    say "No radar images at hand: making small pictures in $data (name a folder to use yours)"
    build/release/bin/fulmar_demo_pictures "$data"
  fi
fi

say "Train on $data/train: the polar-low network, short and wide, on the central 88x88 pixels, grey"
"$fulmar" train "$data" --out "$out/run" --channels 1 --crop 88 --widths 32,64,128,256 \
  --epochs "$epochs" --batch 32 --schedule one-cycle --lr 3e-3 --stop-patience 0 --sampling epoch \
  --validation 0.15 --augment none --translate 0.12 --gain 1 --speckle 0.3 --seed 1

say "Evaluate on $data/test"
"$fulmar" eval "$out/run/best.safetensors" "$data/test"

say "Predict: one picture of each class"
pictures=()
for class in "$data"/test/*/; do
  for picture in "$class"*; do pictures+=("$picture"); break; done
done
"$fulmar" predict "$out/run/best.safetensors" "${pictures[@]}"

say "Done. The run is in $out/run: best.safetensors (the model), metrics.csv, config.json, events"
