#!/usr/bin/env bash
# The program's training on a GPU: a stage of tools/gpu_check.sh.
#   tools/gpu_train.sh FULMAR FOLDER cuda|simt PYTHON
# In bf16, two epochs over made scenes. Runs with the same convolutions.txt end with the same
# weights, to the bit: with no pictures kept in the GPU's memory, with a few, with all of them; and
# one that was interrupted and went on. predict and eval on the GPU agree with the CPU's:
# probabilities and loss (above 1: relative) within 1e-4 in fp32; in bf16, with 8 bits of everything
# between layers, within 0.05.
# simt: smaller, for the emulator behind FULMAR_CUDA_LIBRARY.
set -euo pipefail
fulmar=$1 work=$2 device=$3 python=$4
rm -rf "$work"
mkdir -p "$work"

scenes=(--train 64 --test 16 --size 256 --resolution 1000)
network=(--crop 192 --widths "8,16,32,64" --batch 8)
few=4000000  # bytes: less than the pictures take
if [ "$device" = simt ]; then
  scenes=(--train 12 --test 4 --size 64 --resolution 2000)
  network=(--channels 1 --crop 48 --widths "4,8" --batch 4)
  few=15000
fi
"$fulmar" synth "$work/pictures" "${scenes[@]}" --no-masks

# A safetensors file's bytes behind its header, which holds the wall clock.
tensors() { tail -c "+$((9 + $(od -An -tu8 -N8 "$1")))" "$1"; }
same() {  # same RUN: as the first?
  local bytes
  bytes=$(tensors "$work/off/last.safetensors" | wc -c)
  [ "$bytes" -gt 1000 ] || { echo "$bytes bytes of tensors: nothing to compare"; exit 1; }
  if ! cmp <(tensors "$work/off/last.safetensors") <(tensors "$work/$1/last.safetensors") ||
    ! cmp "$work/off/best.safetensors" "$work/$1/best.safetensors"; then
    echo "$1: not the bits of the first run"
    exit 1
  fi
}
# again RUN OPTION...: begins the first run anew elsewhere, with its settings and algorithms
again() { "$fulmar" train --out "$work/$1" --resume "${@:2}"; }
like_the_first() {
  mkdir "$work/$1"
  cp "$work/off/config.json" "$work/off/convolutions.txt" "$work/$1"
}

"$fulmar" train "$work/pictures" --out "$work/off" --device cuda --precision bf16 --epochs 2 \
  --sampling epoch --validation 0.25 --seed 3 "${network[@]}" --device-cache off
[ -s "$work/off/convolutions.txt" ] || { echo "no convolutions.txt: nothing was chosen"; exit 1; }
for cache in "$few" auto; do
  like_the_first "cache-$cache"
  again "cache-$cache" --device-cache "$cache"
  same "cache-$cache"
done
echo "train: the same bits with --device-cache off, $few and auto"

# Interrupted as soon as it has saved; a run that ends before is begun again.
for ((try = 1;; try++)); do
  rm -rf "$work/interrupted"
  like_the_first interrupted
  "$fulmar" train --out "$work/interrupted" --resume --checkpoint-minutes 0.000001 &
  process=$!
  while [ ! -f "$work/interrupted/last.safetensors" ] && kill -0 "$process" 2>/dev/null; do
    sleep 0.005
  done
  kill -TERM "$process" 2>/dev/null || true
  code=0
  wait "$process" || code=$?
  case $code in
    0) ;;
    130) [ "$(wc -l <"$work/interrupted/metrics.csv")" = 3 ] || break ;;  # not yet its last epoch
    *) echo "interrupted, it exits with $code instead of 130"; exit 1 ;;
  esac
  [ "$try" -lt 5 ] || { echo "not interrupted in 5 tries: each run ended before"; exit 1; }
done
again interrupted
same interrupted
echo "train: the same bits after an interruption and --resume"

look() {  # look NAME OPTION...: what predict and eval say
  local name=$1
  shift
  "$fulmar" predict "$work/off/best.safetensors" "$work/pictures/test" --json "$@" \
    >"$work/predict-$name.json"
  "$fulmar" eval "$work/off/best.safetensors" "$work/pictures/test" --json "$@" \
    >"$work/eval-$name.json"
}
look cpu --device cpu
look fp32 --device cuda --precision fp32
look bf16 --device cuda --precision bf16
"$python" - "$work" <<'PYTHON'
import json, sys

def read(name):
    with open(f"{sys.argv[1]}/predict-{name}.json") as file:
        pictures = {p["path"]: p["probabilities"] for p in map(json.loads, file)}
    with open(f"{sys.argv[1]}/eval-{name}.json") as file:
        return pictures, json.load(file)

pictures, evaluation = read("cpu")
assert len(pictures) == evaluation["samples"] > 0, "nothing to compare"
failed = False
for name, bound in ("fp32", 1e-4), ("bf16", 0.05):
    others, other = read(name)
    assert others.keys() == pictures.keys() and other["samples"] == evaluation["samples"]
    worst = max(abs(q - others[path][c]) for path, p in pictures.items() for c, q in p.items())
    loss = abs(other["loss"] - evaluation["loss"])
    print(f"train: {name} beside the CPU: probabilities within {worst:.1e}, loss within {loss:.1e}")
    failed |= not (worst <= bound and loss <= bound * max(1, evaluation["loss"]))
sys.exit(failed)
PYTHON
