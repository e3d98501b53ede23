#!/usr/bin/env bash
# A 10-epoch run killed with -9 at 20 moments spread over its time, each time resumed to its end, gives
# the bits of the undisturbed run: weights, metrics (but for the wall clock) and the best model. Half of
# the runs save after every step, so that kills fall into the writing of a checkpoint too. The same bits
# with 1 and 2 loader threads and with --threads 1 and 2.
#   tests/resume_test.sh FULMAR DEMO_PICTURES FOLDER
set -euo pipefail
fulmar=$1
pictures=$2
work=$3
rm -rf "$work"
mkdir -p "$work"
"$pictures" "$work/pictures" >/dev/null

options=("$work/pictures" --channels 1 --crop 48 --widths "4,8,8" --epochs 10 --batch 16 --lr 4e-3
  --validation 0.2 --sampling balanced --translate 0.1 --flip hv --gain 0.3 --speckle 0.2 --seed 5)

train() {  # train RUN OPTION...: quiet unless it fails
  local run=$1
  shift
  "$fulmar" train "${options[@]}" --out "$run" "$@" >/dev/null 2>"$run.log" ||
    { echo "training into $run failed:"; cat "$run.log"; exit 1; }
}

# A safetensors file's bytes behind its header: the tensors. The header holds the wall clock.
tensors() { tail -c "+$((9 + $(od -An -tu8 -N8 "$1")))" "$1"; }
# metrics.csv without its last column, the seconds.
metrics() { sed 's/,[^,]*$//' "$1/metrics.csv"; }

same() {  # same RUN WHAT: as the undisturbed run?
  if ! cmp <(tensors "$work/whole/last.safetensors") <(tensors "$1/last.safetensors") ||
    ! cmp <(tensors "$work/whole/best.safetensors") <(tensors "$1/best.safetensors") ||
    ! cmp <(metrics "$work/whole") <(metrics "$1"); then
    echo "$1 differs: $2"
    exit 1
  fi
}

begin=$(date +%s%N)
train "$work/whole" --threads 2 --loader-threads 1
milliseconds=$((($(date +%s%N) - begin) / 1000000))
[ "$(wc -l <"$work/whole/metrics.csv")" = 11 ] || { echo "not 10 epochs"; exit 1; }

train "$work/threads" --threads 1 --loader-threads 1
same "$work/threads" "--threads 1"
train "$work/loaders" --threads 2 --loader-threads 2
same "$work/loaders" "--loader-threads 2"
train "$work/saving" --checkpoint-minutes 0.000001
same "$work/saving" "a save after every step"

torn=0
killed=0
for moment in $(seq 1 20); do
  run=$work/kill-$moment
  # Frequent saving slows a run; its kills are spread over the same time and so lie in its first part.
  saving=()
  [ $((moment % 2)) = 0 ] || saving=(--checkpoint-minutes 0.000001)
  delay=$((milliseconds * moment / 21))
  # A machine that is busy at one time and free at another ends some runs before their moment: those
  # are begun again, to be killed earlier.
  for ((try = 0; try < 10; try++)); do
    rm -rf "$run"
    "$fulmar" train "${options[@]}" --out "$run" "${saving[@]}" >/dev/null 2>&1 &
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
    train "$run"  # killed before it had begun
  fi
  same "$run" "killed at moment $moment of 20"
  if compgen -G "$run/*.tmp" >/dev/null; then echo "$run: a temporary file is left"; exit 1; fi
done
echo "$killed of 20 runs were killed, $torn of them while a file was being written; all ended with the" \
  "bits of the undisturbed run ($milliseconds ms)"
if [ "$killed" -lt 20 ] || [ "$torn" -lt 1 ]; then
  echo "not all were killed before their end, or none while a file was being written"
  exit 1
fi
