#!/usr/bin/env bash
# Builds, checks and measures the CUDA backend on a machine with a GPU. Needs there: the CUDA 13
# toolkit, cuDNN 9 and cuBLASLt (NVIDIA's Python packages will do), CMake, a C++ compiler, python3
# (with PyTorch, to be compared with); no network. The other libraries come along: before, run
# tools/setup.sh --into .packages
#
#   tools/gpu_check.sh --out DIR [--stages a,b,…] [--total SECONDS] [--packages DIR] [--build DIR]
#                      [--python PYTHON] [--device cuda|simt] [--commit ID]
#                      [--budget STAGE=SECONDS]…
#
# Stages, each with the seconds that it may take:
#   build 150      the program, the backend's library for this GPU, tests and benchmarks
#   tests 110      all tests that need a GPU
#   check 70       our losses and PyTorch's from the same weights and pictures
#   step 240       the training step, 1536 to 1024, batch 16, augmented, in turns with PyTorch:
#                  eager, and torch.compile with CUDA graphs
#   kernels 200    each kernel's time, bytes and percent of a copy's bandwidth, in each precision
#   train 80       the program itself: see tools/gpu_train.sh
#   plain 120      the training step without augmentation, beside PyTorch's eager mode
#   memcheck 120, racecheck 120    compute-sanitizer over the op table, on our own kernels, after a
#                  planted fault that it must find; without random rows, and with few of those that
#                  go to cuDNN and cuBLASLt: choosing their algorithms is what takes long under it
#   autotune 400   the step beside torch.compile's max-autotune: only where --stages names it
# All together end within --total (560): where too little is left, a stage is left out, and the
# result says so. Several calls can share the work, each adds to the result: see bench/README.md.
# A stage that fails or is late doesn't stop the others. DIR gets gpu-<date>-<device>.json and .md,
# written anew after each stage, and logs-<time>.tar.gz with the stages' logs.
#
# --device simt runs all of it here at tiny sizes, on the emulator: nothing that it measures means
# anything, and its result says so in its name.
# Exit codes: 0 all passed, 1 a stage failed or was left out, 2 usage, 4 no GPU (after the build).
set -euo pipefail
cd "$(dirname "$0")/.."
self=$PWD/tools/gpu_check.sh

declare -A budget=([build]=150 [tests]=110 [check]=70 [step]=240 [kernels]=200 [train]=80
  [plain]=120 [memcheck]=120 [racecheck]=120 [autotune]=400)
stages=(build tests check step kernels train plain memcheck racecheck)

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
  # A compiler that nobody has tried may warn of something.
  cmake -S . -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DFULMAR_WERROR=OFF \
    "${cuda[@]}" ${packages:+"-DFULMAR_PACKAGES=$packages"}
  # A test that is a program of ours is fulmar_tests_<its name>.
  local targets=(fulmar_cli bench_step "fulmar_$([ "$device" = cuda ] || echo fake_)cuda")
  [ "$device" != cuda ] || targets+=(fulmar_gpu_check_planted)
  local test
  while IFS= read -r test; do targets+=("fulmar_tests_$test"); done < <(tests_to_run)
  # Goes on after an error: one test that can't be compiled doesn't cost the other stages.
  local keep_going=(-k)
  if grep -q '^CMAKE_GENERATOR:INTERNAL=Ninja' "$build/CMakeCache.txt"; then keep_going=(-k 0); fi
  cmake --build "$build" --parallel "$(nproc)" --target "${targets[@]}" -- "${keep_going[@]}"
}

tests_named='^(cuda_.*|devices)$'
[ "${device-}" != simt ] || tests_named='^(capture|cuda_choices)$'
tests_to_run() {
  ctest --test-dir "$build" -N -R "$tests_named" | sed -n 's/^ *Test *#[0-9]*: //p'
}

stage_tests() {
  # Tests skip what needs a GPU where they find none: here that would be a failure. Some are about
  # other builds.
  ctest --test-dir "$build" --parallel 8 --verbose -R "$tests_named" |
    tee "$state/ctest.txt"
  grep -q '^100% tests passed' "$state/ctest.txt"
  if grep 'skipped: ' "$state/ctest.txt" |
    grep -v -e 'skipped: this build has the library' -e 'skipped: no ldd'; then
    echo "tests were skipped that need a GPU"
    return 1
  fi
}

sanitize() {  # sanitize TOOL: over the op table's rows, on kernels whose (mangled) name is ours
  local sanitizer place log=$state/$1.txt
  sanitizer=$(command -v compute-sanitizer || true)
  for place in "${nvcc%/*}" "$(dirname "$(realpath -m "${nvcc:-.}")")" \
      "${CUDA_HOME:-/usr/local/cuda}/bin" /usr/local/cuda-*/bin; do
    if [ -z "$sanitizer" ] && [ -x "$place/compute-sanitizer" ]; then
      sanitizer=$place/compute-sanitizer
    fi
  done
  [ -n "$sanitizer" ] || { echo "compute-sanitizer not found"; return 1; }
  sanitizer=("$sanitizer" --tool "$1" --kernel-name kns=fulmar --report-api-errors no
    --error-exitcode 9)
  local planted=("$build/tests/fulmar_gpu_check_planted" "$1")
  local tests=("$build/tests/fulmar_tests_cuda_ops"
    '--test-case=*in fp32 and tf32*,*in bf16 every node*')
  if [ "$device" != cuda ]; then
    planted=(true "$1")  # a sanitizer that is none knows it by its argument
    tests=("$build/tests/fulmar_tests_capture")
  fi
  # What finds nothing where there is something says nothing by finding nothing.
  if "${sanitizer[@]}" "${planted[@]}" >"$log" 2>&1 ||
    ! grep -qE '(ERROR|RACECHECK) SUMMARY: [1-9]' "$log"; then
    cat "$log"
    echo "$1 does not find the fault that tests/gpu_check_planted.cu has: it checks nothing"
    return 1
  fi
  echo "the planted fault is found"
  # A number that is wrong is stage tests' matter: what counts here is the tool's summary.
  FULMAR_TEST_FEW_ROWS=1 "${sanitizer[@]}" "${tests[@]}" 2>&1 | tee "$log" || true
  grep -qE 'test cases: +[1-9]' "$log" || { echo "no test ran to its end"; return 1; }
  ! grep 'skipped: ' "$log" || { echo "tests were skipped"; return 1; }
  grep -qE '(ERROR|RACECHECK) SUMMARY: 0 ' "$log" || { echo "$1 gives no clean summary"; return 1; }
}
stage_memcheck() { sanitize memcheck; }
stage_racecheck() { sanitize racecheck; }

stage_kernels() {
  local precision all=. dense='^conv2d' code=0 options=(--seconds 0.02)
  if [ "$device" != cuda ]; then
    all='^(relu|max_pool)' dense='^conv2d/block 1'
    options=(--seconds 0 --batch 1 --crop 32)
  fi
  # In tf32 all but convolutions is fp32's. One that is stopped leaves those before it.
  for precision in bf16 tf32 fp32; do
    if "$build/bin/fulmar" bench --device cuda --precision "$precision" --json "${options[@]}" \
      --filter "$([ "$precision" = tf32 ] && echo "$dense" || echo "$all")" \
      >"$state/kernels-$precision.part"; then
      mv "$state/kernels-$precision.part" "$state/kernels-$precision.json"
    else
      code=1
    fi
  done
  return "$code"
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

stage_train() {
  bash tools/gpu_train.sh "$build/bin/fulmar" "$build/gpu_check_train" "$device" "$python"
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
  clocks before >"$state/$name-clocks.txt"
  local code=0
  "$python" bench/peers/alternate.py "$state/$name-plan.json" "$state/$name.json" \
    --rounds "$rounds" --seconds "$seconds" || code=$?
  clocks after >>"$state/$name-clocks.txt"
  return "$code"
}
clocks() {  # clocks WORD: whether a GPU was hot or held back
  local query=clocks.sm,clocks.mem,temperature.gpu,clocks_event_reasons.active
  [ "$device" != cuda ] ||
    echo "$1: $(timeout 10 nvidia-smi "--query-gpu=$query" --format=csv,noheader 2>&1 | head -n 1)"
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
  # What takes longest to start and what matters most first: what is late is left out.
  export TORCHINDUCTOR_CACHE_DIR=$build/inductor
  take_turns step $((limit - 12)) --augment -- "torch compile bf16 110" "fulmar bf16" \
    "torch compile bf16_weights 80" "torch eager bf16 40" "torch eager bf16_weights 40" \
    "fulmar tf32" "torch eager tf32 40" "fulmar fp32" "torch eager fp32 40"
}
stage_plain() {
  take_turns plain $((limit - 12)) -- "fulmar bf16" "torch eager bf16 40" \
    "torch eager bf16_weights 40" "fulmar tf32" "torch eager tf32 40"
}
stage_autotune() {
  export TORCHINDUCTOR_CACHE_DIR=$build/inductor
  take_turns autotune $((limit - 12)) --augment -- \
    "torch autotune bf16_weights $((limit - 90))" "fulmar bf16" "torch eager bf16_weights 40"
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

# run_stage NAME: within its budget and what is left of all, as a process of its own; notes how it
# ended.
run_stage() {
  local name=$1 start=$SECONDS code=0 status=passed left=$((total - SECONDS - 8))
  limit=$((budget[$name] < left ? budget[$name] : left))
  rm -f "$state/$name.status"
  # In less than half of its time a stage would hardly end.
  if [ $((2 * limit)) -lt "${budget[$name]}" ]; then
    status="left out: $((left > 0 ? left : 0)) of $total s are left"
    echo "== $name: $status"
    failed=yes
  else
    echo "== $name (up to $limit s)"
    timeout --kill-after 5 "$limit" bash "$self" --run-stage "$name" \
      >"$state/$name.log" 2>&1 || code=$?
    case $code in
      0) ;;
      124 | 137) status="stopped after $limit s" ;;
      *) status="failed ($code)" ;;
    esac
    echo "   $status, $((SECONDS - start)) s"
  fi
  printf '%s\n%s\n%s\n' "$status" $((SECONDS - start)) "$limit" >"$state/$name.status"
  if [ "$code" != 0 ]; then
    tail -n 15 "$state/$name.log" | sed 's/^/   | /'
    failed=yes
  fi
}

# A call that is stopped leaves what it has.
write_report() {
  local options=(--commit "$commit" --nvcc "$nvcc")
  [ "$device" = cuda ] || options+=(--emulated)
  "$python" tools/gpu_report.py write "$state" "$out" "${options[@]}"
}

# Of an emulated run. PyTorch refuses smaller ones: its normalisation wants more than one value.
tiny=(--size 96 --crop 64 --batch 1)
[ "${with_torch-}" != yes ] || tiny=(--size 384 --crop 256 --batch 2)
limit=${limit-0}  # of a stage that runs, in seconds
if [ "${1-}" = --run-stage ]; then  # of run_stage, which has exported what a stage needs
  "stage_$2"
  exit
fi

out='' chosen='' packages='' build='' device=cuda commit='' failed=no total=560
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
    --total)
      [[ $2 =~ ^[0-9]+$ ]] || die 2 "--total takes seconds, '$2' is none"
      total=$2 ;;
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
# Of Python's environment: CMake and Ninja may be there alone.
PATH=$PATH:$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
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
  commit=$(git describe --always --abbrev=12 --dirty=+ --exclude='*' 2>/dev/null ||
    date -u +unknown-%H%M%S)  # no other call's
fi
torch_device=$device
[ "$device" = cuda ] || torch_device=cpu
with_torch=no
# Importing it would take long where nothing is in the page cache.
if "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'; then
  with_torch=yes
fi
find_nvcc
if [ "$device" = cuda ]; then
  unset FULMAR_CUDA_LIBRARY  # the library that was built here, beside the program
else
  export FULMAR_CUDA_LIBRARY=$build/tests/libfulmar_fake_cuda.so
fi
export limit device build state packages python torch_device with_torch nvcc

logs=$out/logs-$(date -u +%Y%m%d-%H%M%S).tar.gz
write_logs() { "$python" tools/gpu_report.py logs "$state" "$logs"; }
# Between two stages: a result that can't be written now may be later.
note_result() {
  write_report >/dev/null || echo "gpu_check: the result could not be written" >&2
  write_logs || echo "gpu_check: the logs could not be written" >&2
}
for name in "${stages[@]}"; do
  [ "$name" != build ] || run_stage build
done
write_logs || echo "gpu_check: the logs could not be written" >&2
[ -x "$build/bin/fulmar" ] ||
  die 1 "there is no $build/bin/fulmar: the build failed, or was left out ($logs)"
"$build/bin/fulmar" devices --json >"$state/devices.json" || true
if ! "$python" tools/gpu_report.py has-gpu "$state/devices.json"; then
  echo "gpu_check: the build is done; nothing else can run here" >&2
  exit 4
fi
note_result
for name in "${stages[@]}"; do
  [ "$name" != build ] || continue
  run_stage "$name"
  note_result
done
write_report
[ "$failed" = no ]
