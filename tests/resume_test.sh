#!/usr/bin/env bash
# A 10-epoch run killed with -9 at 20 moments spread over its time, each time resumed to its end,
# gives the bits of the undisturbed run: weights, metrics (but for the wall clock) and the best
# model. Half of the runs save after every step, so that kills fall into the writing of a
# checkpoint too. A third of the moments are of a run whose rate falls and which may stop early
# after the smallest number of epochs without progress, a third of one with a one-cycle schedule
# and unfused ops, a third of one in bf16. The same bits with 1 and 2 loader threads, with
# --threads 1 and 2, and with --recompute. So does a run on sea-ice scenes in NetCDF, by pixel,
# of three tasks with CutMix and turned patches, killed twice, with scenes in memory and in files.
#   tests/resume_test.sh FULMAR FOLDER
set -euo pipefail
fulmar=$1
work=$2
rm -rf "$work"
mkdir -p "$work"
"$fulmar" synth "$work/pictures" --train 600 --test 0 --size 96 --resolution 2000 --no-masks \
  >/dev/null 2>&1

options=("$work/pictures" --channels 1 --crop 48 --widths "4,8,8" --epochs 10 --batch 16 --lr 4e-3
  --validation 0.2 --sampling balanced --translate 0.1 --flip hv --gain 0.3 --speckle 0.2 --seed 5)
ice=("$work/scenes" --bands "hh,18.7,month" --crop 32 --widths "4,4" --epochs 4 --epoch-batches 8
  --batch 4 --lr 1e-2 --validation 0.34 --rotate 0.2 --cutmix 0.5 --optimizer sgd --seed 5)
declare -A schedule=([ice]="--schedule cosine"
  [plateau]="--plateau-patience 1 --stop-patience 3"
  [cycle]="--schedule one-cycle --stop-patience 0 --fuse off"
  [bf16]="--plateau-patience 1 --stop-patience 3 --precision bf16")

start() {  # start KIND RUN OPTION...: the program with the options of a kind
  local kind=$1 run=$2 of_kind=("${options[@]}")
  shift 2
  [ "$kind" != ice ] || of_kind=("${ice[@]}")
  # shellcheck disable=SC2086
  exec "$fulmar" train "${of_kind[@]}" ${schedule[$kind]} --out "$run" "$@"
}

train() {  # train KIND RUN OPTION...: quiet unless it fails
  local run=$2
  (start "$@") >/dev/null 2>"$run.log" ||
    { echo "training into $run failed:"; cat "$run.log"; exit 1; }
}

# A safetensors file's bytes behind its header: the tensors. The header of last.safetensors holds
# the wall clock, that of best.safetensors does not.
tensors() { tail -c "+$((9 + $(od -An -tu8 -N8 "$1")))" "$1"; }
# metrics.csv without its last column, the seconds.
metrics() { sed 's/,[^,]*$//' "$1/metrics.csv"; }

same() {  # same KIND RUN WHAT: as the undisturbed run of that kind?
  local whole=$work/$1
  if [ ! -s "$2/last.safetensors" ] ||
    ! cmp <(tensors "$whole/last.safetensors") <(tensors "$2/last.safetensors") ||
    ! cmp "$whole/best.safetensors" "$2/best.safetensors" ||
    ! cmp <(metrics "$whole") <(metrics "$2"); then
    echo "$2 differs: $3"
    exit 1
  fi
}

declare -A milliseconds
for kind in plateau cycle bf16; do
  begin=$(date +%s%N)
  train "$kind" "$work/$kind" --threads 2 --loader-threads 1
  milliseconds[$kind]=$((($(date +%s%N) - begin) / 1000000))
  bytes=$(tensors "$work/$kind/last.safetensors" | wc -c)
  [ "$bytes" -gt 1000 ] || { echo "$bytes bytes of tensors: nothing to compare"; exit 1; }
  rates=$(tail -n +2 "$work/$kind/metrics.csv" | cut -d, -f3 | sort -u | wc -l)
  epochs=$(($(wc -l <"$work/$kind/metrics.csv") - 1))
  echo "$kind: $epochs epochs, $rates learning rates at their ends, $bytes bytes of tensors"
done
[ "$(wc -l <"$work/cycle/metrics.csv")" = 11 ] || { echo "not 10 epochs"; exit 1; }

train plateau "$work/threads" --threads 1 --loader-threads 1
same plateau "$work/threads" "--threads 1"
train bf16 "$work/threads-bf16" --threads 1
same bf16 "$work/threads-bf16" "--threads 1 in bf16"
train plateau "$work/loaders" --threads 2 --loader-threads 2
same plateau "$work/loaders" "--loader-threads 2"
train plateau "$work/saving" --checkpoint-minutes 0.000001
same plateau "$work/saving" "a save after every step"
for kind in plateau cycle bf16; do
  train "$kind" "$work/recompute-$kind" --recompute
  same "$kind" "$work/recompute-$kind" "--recompute"
done

torn=0
killed=0
for moment in $(seq 1 20); do
  run=$work/kill-$moment
  # Frequent saving slows a run; its kills are spread over the same time and so lie in its first
  # part.
  saving=()
  [ $((moment % 2)) = 0 ] || saving=(--checkpoint-minutes 0.000001)
  kinds=(plateau plateau cycle cycle bf16 bf16)
  kind=${kinds[$((moment % 6))]}
  delay=$((milliseconds[$kind] * moment / 21))
  # A machine that is busy at one time and free at another ends some runs before their moment: those
  # are begun again, to be killed earlier.
  for ((try = 0; try < 10; try++)); do
    rm -rf "$run"
    (start "$kind" "$run" "${saving[@]}") >/dev/null 2>&1 &
    process=$!
    sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
    # With frequent saving: the next moment at which a file is being written.
    for ((wait = 0; ${#saving[@]} > 0 && wait < 1000; wait++)); do
      if compgen -G "$run/*.tmp" >/dev/null || ! kill -0 "$process" 2>/dev/null; then break; fi
    done
    kill -9 "$process" 2>/dev/null || true
    status=0
    wait "$process" 2>/dev/null || status=$?
    if [ "$status" = 137 ]; then break; fi
    delay=$((delay * 3 / 4))
  done
  if [ "$status" = 137 ]; then killed=$((killed + 1)); fi
  if compgen -G "$run/*.tmp" >/dev/null; then torn=$((torn + 1)); fi
  if [ -f "$run/config.json" ]; then
    "$fulmar" train --out "$run" --resume >/dev/null 2>"$run.log" ||
      { echo "resuming $run failed:"; cat "$run.log"; exit 1; }
  else
    train "$kind" "$run"  # killed before it had begun
  fi
  same "$kind" "$run" "killed at moment $moment of 20"
  if compgen -G "$run/*.tmp" >/dev/null; then echo "$run: a temporary file is left"; exit 1; fi
done
echo "$killed of 20 runs were killed, $torn of them while a file was being written; all ended" \
  "with the bits of the undisturbed run (${milliseconds[plateau]}, ${milliseconds[cycle]} and" \
  "${milliseconds[bf16]} ms)"
if [ "$killed" -lt 20 ] || [ "$torn" -lt 1 ]; then
  echo "not all were killed before their end, or none while a file was being written"
  exit 1
fi

if ! command -v "$(dirname "$fulmar")/fulmar-netcdf" >/dev/null; then
  echo "skipped: scenes in NetCDF, fulmar-netcdf is not built"
  exit 0
fi
"$fulmar" synth "$work/scenes" --kind sea-ice --train 3 --test 0 --size 120 >/dev/null 2>&1
begin=$(date +%s%N)
train ice "$work/ice" --threads 2 --loader-threads 2
milliseconds[ice]=$((($(date +%s%N) - begin) / 1000000))
train ice "$work/ice-1" --threads 1 --loader-threads 1
same ice "$work/ice-1" "--threads 1"
train ice "$work/ice-files" --threads 2 --memory 0.00001 --loader-threads 2
same ice "$work/ice-files" "scenes read in parts"
killed=0
for part in 2 3; do
  run=$work/ice-kill-$part
  delay=$((milliseconds[ice] * part / 4))
  for ((try = 0; try < 10; try++)); do
    rm -rf "$run"
    (start ice "$run" --loader-threads 2 --threads "$((part - 1))" --checkpoint-minutes 0.000001) \
      >/dev/null 2>&1 &
    process=$!
    sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
    kill -9 "$process" 2>/dev/null || true
    status=0
    wait "$process" 2>/dev/null || status=$?
    if [ "$status" = 137 ] && [ -f "$run/last.safetensors" ]; then break; fi
    if [ "$status" = 137 ]; then delay=$((delay * 5 / 4)); else delay=$((delay * 3 / 4)); fi
  done
  if [ "$status" = 137 ]; then killed=$((killed + 1)); fi
  "$fulmar" train --out "$run" --resume --loader-threads 2 >/dev/null 2>"$run.log" ||
    { echo "resuming $run failed:"; cat "$run.log"; exit 1; }
  same ice "$run" "killed after $delay ms"
done
echo "$killed of 2 runs on scenes in NetCDF were killed, and ended with the same bits"
[ "$killed" = 2 ] || { echo "not all were killed before their end"; exit 1; }
