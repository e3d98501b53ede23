#!/usr/bin/env bash
# Installs what is missing, builds, tests.
#   tools/test.sh         the release build and its tests (within 15 minutes on 2 cores)
#   tools/test.sh --all   the cuda preset, which is the release build and, where nvcc is found, the
#                         CUDA backend's library; also clang's builds with ASan + UBSan and the fuzz
#                         targets and with TSan (both with assertions), formatting, clang-tidy
#                         and shellcheck (within 55 minutes)
# Prints where the time went, the ten slowest tests and, as its last lines, ctest's summary. Stops
# with an error at the first build that fails; a failing test doesn't stop the others.
# FULMAR_TEST_DATA names the folder of real data (default: ../shared/data beside the repository);
# tests skip what is not there.
set -euo pipefail
cd "$(dirname "$0")/.."

all=no
case "$*" in
  "") ;;
  --all) all=yes ;;
  *) echo "usage: tools/test.sh [--all]" >&2; exit 2 ;;
esac

jobs=$(nproc)
parts=  # what was built and how long it took, a line each
build() {  # build PRESET: configures and builds it under build/PRESET
  local start=$SECONDS
  echo "== $1: configure and build"
  mkdir -p build
  if ! { cmake --preset "$1" && cmake --build --preset "$1" --parallel "$jobs"; } \
      >"build/$1.log" 2>&1; then
    cat "build/$1.log"
    echo "tools/test.sh: the build of preset $1 failed (build/$1.log)" >&2
    exit 1
  fi
  echo "== $1: built in $((SECONDS - start)) s"
  parts+=$(printf '%9d s  build of preset %s' "$((SECONDS - start))" "$1")$'\n'
}

# run_tests FOLDER: ctest there; the time by part and the ten slowest tests are printed before its
# summary, which comes last. Tests that begin alike ("asan: ", "lint ", "fuzz ") are one part.
run_tests() {
  ctest --test-dir "$1" --output-on-failure --no-label-summary --parallel "$jobs" 2>&1 |
    parts=$parts awk '
    { if (summary || /^[0-9]+% tests passed/) summary = summary $0 "\n"; else { print; fflush() } }
    /^ *[0-9]+\/[0-9]+ Test +#[0-9]+: .* sec *$/ {
      name = $0; sub(/^[^:]*: /, "", name); sub(/ \.\.+.*/, "", name)
      seconds = $(NF - 1); count++; names[count] = name; times[count] = seconds
      part = match(name, /^(asan: fuzz|asan:|tsan:|lint) /) ? substr(name, 1, RLENGTH - 1) : "other"
      if (!(part in sums)) order[++kinds] = part
      sums[part] += seconds
    }
    END {
      print "Where the time went (tests run side by side: theirs is added up):"
      printf "%s", ENVIRON["parts"]
      for (k = 1; k <= kinds; k++) printf "%9.0f s  tests: %s\n", sums[order[k]], order[k]
      print "The ten slowest tests:"
      for (k = 0; k < 10 && k < count; k++) {
        best = 0
        for (i = 1; i <= count; i++) if (!(i in done) && (!best || times[i] > times[best])) best = i
        done[best] = 1
        printf "%9.2f s  %s\n", times[best], names[best]
      }
      printf "\n%s", summary
    }'
}

if [ "$all" = no ]; then
  tools/setup.sh
  build release
  run_tests build/release
  exit
fi

tools/setup.sh --all
presets=(cuda asan tsan)
for preset in "${presets[@]}"; do build "$preset"; done
grep -e '^-- CUDA:' build/cuda.log

# One ctest over everything: the presets' own tests and the linters.
mkdir -p build/all
{
  for preset in "${presets[@]}"; do echo "subdirs(\"$PWD/build/$preset\")"; done
  for linter in format tidy shell; do
    echo "add_test(\"lint $linter\" \"$PWD/tools/lint.sh\" $linter)"
    echo "set_tests_properties(\"lint $linter\" PROPERTIES TIMEOUT 1800 PROCESSORS $jobs)"
  done
} >build/all/CTestTestfile.cmake
run_tests build/all
