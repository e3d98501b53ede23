#!/usr/bin/env bash
# The dense products of the polar-low network, ours and PyTorch's, one after the other in one run.
#   bench/gemm.sh [TORCH_PYTHON [THREADS]]
# TORCH_PYTHON is the interpreter of an environment that bench/peers/README.md makes; without it
# PyTorch is left out. Build first: cmake --preset release && cmake --build --preset release
set -euo pipefail
cd "$(dirname "$0")/.."
torch=${1-}
threads=${2-$(nproc)}
ours=build/release/bench/bench_gemm
[ -x "$ours" ] || { echo "bench/gemm.sh: $ours is not built" >&2; exit 2; }
"$ours" --seconds 0.1 --threads "$threads"
[ -z "$torch" ] || "$torch" bench/peers/gemm.py --threads "$threads"
