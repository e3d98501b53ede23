#!/usr/bin/env bash
# The training step at full size (1536x1536 in, crop 1024, batch 16, fp32) and one inference, ours
# and the peers', one after the other in one run; two rounds. One line of JSON each on stdout.
#   bench/step.sh [KERAS_PYTHON [TORCH_PYTHON]]
# The arguments are the interpreters of the environments that bench/peers/README.md makes; what is
# not given is left out. Build first: cmake --preset release && cmake --build --preset release
set -euo pipefail
cd "$(dirname "$0")/.."
keras=${1-}
torch=${2-}
ours=build/release/bench/bench_step
[ -x "$ours" ] || { echo "bench/step.sh: $ours is not built" >&2; exit 2; }

peer() {  # peer PYTHON WHAT FRAMEWORK MODE
  [ -z "$1" ] || "$1" bench/peers/step.py "$2" --framework "$3" --mode "$4" --warmup 2 --repeat 5 \
    2>/dev/null | tail -n 1
}

for round in 1 2; do
  echo "round $round" >&2
  "$ours" --runs 5
  peer "$keras" step tensorflow graph
  peer "$torch" step torch channels_last
  "$ours" --runs 15 --batch 1 --inference
  peer "$keras" inference tensorflow graph
  peer "$torch" inference torch channels_last
done
