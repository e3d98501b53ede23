#!/usr/bin/env bash
# Builds, checks and measures the CUDA backend on a machine with a GPU. Needs there: the CUDA 13
# toolkit, cuDNN 9 and cuBLASLt (NVIDIA's Python packages will do), CMake, a C++ compiler, python3
# (with PyTorch, to be compared with); no network. The other libraries come along: before, run
# tools/setup.sh --into .packages
#
#   tools/gpu_check.sh --out DIR [--stages a,b,…] [--packages DIR] [--build DIR] [--python PYTHON]
#                      [--device cuda|simt] [--commit ID] [--budget STAGE=SECONDS]…
#
# Stages, each with the seconds that it may take (together less than 10 minutes):
#   build 150      the program, the backend's library for this GPU, tests and benchmarks
#   tests 60       all tests that need a GPU
#   memcheck 40, racecheck 40    compute-sanitizer over the op table, on our own kernels
#   kernels 60     each kernel's time, bytes and percent of a copy's bandwidth, in each precision
#   check 40       our losses and PyTorch's from the same weights and pictures
#   step 80        the training step, 1536 to 1024, batch 16, augmented, beside PyTorch in turns
#   plain 50       the same without augmentation
#   compile 70     beside torch.compile (CUDA graphs; max-autotune needs more: --budget compile=300)
# A stage that fails or is late doesn't stop the others; the result says so. DIR gets
# gpu-<date>-<device>.json and .md; a later call with other stages of the same commit adds to them.
#
# --device simt runs all of it here at tiny sizes, on the emulator: nothing that it measures means
# anything, and its result says so in its name.
# Exit codes: 0 all passed, 1 a stage failed, 2 usage, 4 no GPU (after the build).
set -euo pipefail
cd "$(dirname "$0")/.."
self=$PWD/tools/gpu_check.sh

declare -A budget=([build]=150 [tests]=60 [memcheck]=40 [racecheck]=40 [kernels]=60 [check]=40
  [step]=80 [plain]=50 [compile]=70)
stages=(build tests memcheck racecheck kernels check step plain compile)

die() { echo "gpu_check: $2" >&2; exit "$1"; }

# ---- stages: each runs in a process of its own (see run_stage), and writes what it finds to $state

stage_build() {
  local cuda=() capability
  if [ "$device" = cuda ]; then
    find_nvcc
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null |
      head -n 1 | tr -d '. ' || true)
    cuda=(-DFULMAR_CUDA=ON "-DFULMAR_CUDA_ARCHITECTURES=${capability:-90}-real"
      "-DFULMAR_NVCC=$nvcc" "-DFULMAR_PYTHON=$python")
  fi
  local generator=()
  if command -v ninja >/dev/null; then generator=(-G Ninja); fi
  cmake -S . -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release "${cuda[@]}" \
    ${packages:+"-DFULMAR_PACKAGES=$packages"}
  # A test that is a program of ours is fulmar_tests_<its name>.
  local targets=(fulmar_cli bench_step "fulmar_$([ "$device" = cuda ] || echo fake_)cuda")
  local test
  while IFS= read -r test; do targets+=("fulmar_tests_$test"); done < <(tests_to_run)
  cmake --build "$build" --parallel "$(nproc)" --target "${targets[@]}"
}

tests_named='^(cuda_.*|devices)$'
[ "${device-}" != simt ] || tests_named='^kernel_bench$'
tests_to_run() {
  ctest --test-dir "$build" -N -R "$tests_named" | sed -n 's/^ *Test *#[0-9]*: //p'
}

stage_tests() {
  # Tests skip what needs a GPU where they find none: here that would be a failure. Some are about
  # other builds.
  env -u FULMAR_CUDA_LIBRARY ctest --test-dir "$build" --verbose -R "$tests_named" |
    tee "$state/ctest.txt"
  grep -q '^100% tests passed' "$state/ctest.txt"
  if grep 'skipped: ' "$state/ctest.txt" |
    grep -v -e 'skipped: this build has the library' -e 'skipped: no ldd'; then
    echo "tests were skipped that need a GPU"
    return 1
  fi
}

sanitize() {  # sanitize TOOL: over the op table's rows, on kernels whose (mangled) name is ours
  local sanitizer
  sanitizer=$(command -v compute-sanitizer ||
    { [ -z "$nvcc" ] || ls "$(dirname "$nvcc")/compute-sanitizer"; })
  [ -n "$sanitizer" ] || { echo "compute-sanitizer not found"; return 1; }
  local tests=("$build/tests/fulmar_tests_cuda_ops"
    '--test-case=*in fp32 and tf32*,*in bf16 every node*')
  [ "$device" = cuda ] || tests=("$build/bin/fulmar" bench --list)
  "$sanitizer" --tool "$1" --kernel-name kns=fulmar --report-api-errors no --error-exitcode 9 \
    "${tests[@]}"
}
stage_memcheck() { sanitize memcheck; }
stage_racecheck() { sanitize racecheck; }

stage_kernels() {
  local precision options=(--seconds 0.02)
  [ "$device" = cuda ] || options=(--seconds 0 --batch 1 --crop 32)
  for precision in bf16 fp32 tf32; do
    "$build/bin/fulmar" bench --device cuda --precision "$precision" --json "${options[@]}" \
      >"$state/kernels-$precision.part"
    mv "$state/kernels-$precision.part" "$state/kernels-$precision.json"
  done
}

stage_check() {
  local shape=(--size 384 --crop 256 --batch 4 --lr 1e-5)
  [ "$device" = cuda ] || shape=("${tiny[@]}" --lr 1e-5)
  "$build/bench/bench_step" --check --runs 5 --device cuda --precision fp32 \
    "${shape[@]}" | tee "$state/check-fulmar.json"
  [ "$with_torch" = yes ] || { echo "no PyTorch in $python: nothing to compare with"; return; }
  "$python" bench/peers/torch_cuda.py --check --repeat 5 --device "$torch_device" \
    "${shape[@]}" | tee "$state/check-torch.json"
  "$python" - "$state" <<'PYTHON'
import json, sys
ours, theirs = (json.load(open(f"{sys.argv[1]}/check-{who}.json"))["losses"]
                for who in ("fulmar", "torch"))
worst = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))
print(f"losses differ by {worst:.1e} at most, relative")
# Two correct programs differ by what ReLU and pooling switch.
sys.exit(not worst <= 1e-3)
PYTHON
}

# take_turns NAME SECONDS OPTIONS -- PROGRAM…: a PROGRAM is "fulmar PRECISION" or
# "torch MODE PRECISION SECONDS_TO_START"
take_turns() {
  local name=$1 seconds=$2 options=() shape=() rounds=5 repeat=10 warmup=3 program words
  shift 2
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  if [ "$device" != cuda ]; then shape=("${tiny[@]}") rounds=2 repeat=1 warmup=1; fi
  {
    echo '['
    local comma=
    for program in "$@"; do
      read -r -a words <<<"$program"
      if [ "${words[0]}" = fulmar ]; then
        words=("fulmar ${words[1]}" 60 "$build/bench/bench_step" --serve --device cuda --precision
          "${words[1]}" --warmup "$warmup" --runs "$repeat")
      elif [ "$with_torch" = yes ]; then
        words=("torch ${words[1]} ${words[2]}" "${words[3]}" "$python" bench/peers/torch_cuda.py
          --device "$torch_device" --mode "${words[1]}" --precision "${words[2]}" --warmup "$warmup"
          --repeat "$repeat")
      else
        continue
      fi
      echo "$comma"
      json_plan "${words[@]}" "${options[@]}" "${shape[@]}"
      comma=,
    done
    echo ']'
  } >"$state/$name-plan.json"
  "$python" bench/peers/alternate.py "$state/$name-plan.json" "$state/$name.json" \
    --rounds "$rounds" --seconds "$seconds"
}
json_plan() {  # json_plan LABEL SECONDS COMMAND…
  printf '{"label": "%s", "start_seconds": %s, "command": [' "$1" "$2"
  shift 2
  local word comma=
  for word; do
    word=${word//\\/\\\\}
    printf '%s"%s"' "$comma" "${word//\"/\\\"}"
    comma=', '
  done
  printf ']}\n'
}

stage_step() {
  # What matters most first: a program that is late is left out.
  take_turns step $((limit - 12)) --augment -- "fulmar bf16" "torch eager bf16 40" \
    "torch eager bf16_weights 30" "fulmar tf32" "torch eager tf32 30" "fulmar fp32" \
    "torch eager fp32 30"
}
stage_plain() {
  take_turns plain $((limit - 12)) -- "fulmar bf16" "torch eager bf16 30" \
    "torch eager bf16_weights 30" "fulmar tf32" "torch eager tf32 30"
}
stage_compile() {
  export TORCHINDUCTOR_CACHE_DIR=$build/inductor
  take_turns compile $((limit - 12)) --augment -- "fulmar bf16" "torch eager bf16 30" \
    "torch compile bf16 $limit" "torch autotune bf16 $limit" "torch autotune bf16_weights $limit"
}

# ---- around them

find_nvcc() {  # sets nvcc; empty where there is none
  local place
  nvcc=$(command -v nvcc || true)
  for place in "${CUDA_HOME:-/usr/local/cuda}"/bin/nvcc /usr/local/cuda-*/bin/nvcc; do
    if [ -z "$nvcc" ] && [ -x "$place" ]; then nvcc=$place; fi
  done
  if [ -z "$nvcc" ]; then  # NVIDIA's Python packages
    nvcc=$("$python" -c 'import glob, importlib.util as u
s = u.find_spec("nvidia")
places = s.submodule_search_locations if s else []
found = [f for place in places for f in glob.glob(place + "/*/bin/nvcc")]
print(found[0] if found else "")' 2>/dev/null || true)
  fi
}

# run_stage NAME: within its budget, as a process of its own; notes how it ended.
run_stage() {
  local name=$1 start=$SECONDS code=0 status=passed
  echo "== $name (up to ${budget[$name]} s)"
  rm -f "$state/$name.status"
  limit=${budget[$name]} timeout --kill-after 5 "${budget[$name]}" "$self" --run-stage "$name" \
    >"$state/$name.log" 2>&1 || code=$?
  case $code in
    0) ;;
    124 | 137) status="stopped after ${budget[$name]} s" ;;
    *) status="failed ($code)" ;;
  esac
  printf '%s\n%s\n%s\n' "$status" $((SECONDS - start)) "${budget[$name]}" >"$state/$name.status"
  echo "   $status, $((SECONDS - start)) s"
  if [ "$code" != 0 ]; then
    tail -n 15 "$state/$name.log" | sed 's/^/   | /'
    failed=yes
  fi
}

# Of an emulated run. PyTorch refuses smaller ones: its normalisation wants more than one value.
tiny=(--size 96 --crop 64 --batch 1)
[ "${with_torch-}" != yes ] || tiny=(--size 384 --crop 256 --batch 2)
limit=${limit-0}  # of a stage that runs, in seconds
if [ "${1-}" = --run-stage ]; then  # of run_stage, which has exported what a stage needs
  "stage_$2"
  exit
fi

out='' chosen='' packages='' build='' device=cuda commit='' failed=no
python=$(command -v python3 || true)
while [ $# -gt 0 ]; do
  [ $# -gt 1 ] || die 2 "$1 takes a value"
  case $1 in
    --out) out=$2 ;;
    --stages) chosen=$2 ;;
    --packages) packages=$2 ;;
    --build) build=$2 ;;
    --python) python=$2 ;;
    --device) device=$2 ;;
    --commit) commit=$2 ;;
    --budget)
      [[ $2 =~ ^([a-z]+)=([0-9]+)$ && -n ${budget[${BASH_REMATCH[1]}]-} ]] ||
        die 2 "--budget takes STAGE=SECONDS, '$2' is none"
      budget[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]} ;;
    *) die 2 "unknown option $1 (see the top of tools/gpu_check.sh)" ;;
  esac
  shift 2
done
[ -n "$out" ] || die 2 "--out DIR is needed: where the result goes"
case $device in cuda | simt) ;; *) die 2 "--device is cuda or simt" ;; esac
if [ -n "$chosen" ]; then
  IFS=, read -r -a stages <<<"$chosen"
  for name in "${stages[@]}"; do
    [ -n "${budget[$name]-}" ] || die 2 "there is no stage '$name': ${!budget[*]}"
  done
fi
[ -n "$python" ] || die 2 "python3 not found: --python PYTHON"
out=$(realpath -m "$out")
if [ "$device" = simt ] && [ "$out" = "$PWD/bench/results" ]; then
  die 2 "bench/results is for what was measured: an emulated run goes elsewhere"
fi
mkdir -p "$out"
if [ -z "$packages" ] && [ -d .packages ]; then packages=.packages; fi
[ -z "$packages" ] || packages=$(cd "$packages" && pwd)
if [ -z "$build" ]; then
  build=build/gpu
  [ "$device" = cuda ] || build=build/release
fi
mkdir -p "$build"
build=$(cd "$build" && pwd)
state=$build/gpu_check
rm -rf "$state"
mkdir -p "$state"
if [ -z "$commit" ]; then
  commit=$(git describe --always --abbrev=12 --dirty=+ --exclude='*' 2>/dev/null || echo unknown)
fi
torch_device=$device
[ "$device" = cuda ] || torch_device=cpu
with_torch=no
if "$python" -c 'import torch' 2>/dev/null; then with_torch=yes; fi
find_nvcc
[ "$device" = cuda ] || export FULMAR_CUDA_LIBRARY=$build/tests/libfulmar_fake_cuda.so
export device build state packages python torch_device with_torch nvcc

begin=$SECONDS
for name in "${stages[@]}"; do
  [ "$name" != build ] || run_stage build
done
[ -x "$build/bin/fulmar" ] ||
  die 1 "there is no $build/bin/fulmar: the build failed, or was left out"
"$build/bin/fulmar" devices --json >"$state/devices.json"
if ! "$python" tools/gpu_report.py has-gpu "$state/devices.json"; then
  echo "gpu_check: the build is done; nothing else can run here" >&2
  exit 4
fi
for name in "${stages[@]}"; do
  [ "$name" = build ] || run_stage "$name"
done
"$python" tools/gpu_report.py write "$state" "$out" --commit "$commit" \
  --seconds $((SECONDS - begin)) --nvcc "$nvcc" ${FULMAR_CUDA_LIBRARY:+--emulated}
[ "$failed" = no ]
