#!/usr/bin/env bash
# Checks of the sources themselves; prints what is wrong and exits with 1 if anything is.
#   tools/lint.sh tree     lengths of files and lines, includes between rooms (tools/rooms.txt),
#                          paths of one machine, types of CPU kernels that share a name
#   tools/lint.sh format   clang-format (version 14: others format differently)
#   tools/lint.sh tidy [FILE...]   clang-tidy with the flags of build/cuda (preset cuda must be
#                          built), but for files that it found clean before
#   tools/lint.sh shell    shellcheck over the scripts
#   tools/lint.sh fix      formats the sources in place
set -euo pipefail
cd "$(dirname "$0")/.."

# Without git there would be nothing to find fault with.
git rev-parse --is-inside-work-tree >/dev/null ||
  { echo "lint: looks at the files that git knows: needs a clone" >&2; exit 1; }
files() {  # files PATTERN...: tracked and new files, without ignored ones
  git ls-files --cached --others --exclude-standard -- "$@" | sort -u |
    while IFS= read -r file; do [ ! -f "$file" ] || printf '%s\n' "$file"; done
}
cpp=('*.h' '*.cpp' '*.inc' '*.cu' '*.cuh')

tool14() {  # tool14 NAME: version 14 of a clang tool, on which Debian 12 and Ubuntu 22.04 agree
  local name
  for name in "$1-14" "$1"; do
    if command -v "$name" >/dev/null && "$name" --version | grep -q 'version 14\.'; then
      echo "$name"
      return
    fi
  done
  echo "lint: $1 version 14 not found: tools/setup.sh --all installs it on Debian 12" >&2
  return 1
}

tree() {
  local bad=0 file lines found
  while IFS= read -r file; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 600 ]; then
      echo "$file: $lines lines, more than 600: does it hold one idea?"
      bad=1
    fi
  done < <(files "${cpp[@]}" '*.sh' '*.py' '*.cmake' '*CMakeLists.txt' '*.md')
  found=$(files "${cpp[@]}" '*.sh' |
    LC_ALL=C.UTF-8 xargs -r grep -nHE '^.{101,}$' | grep -v 'https\?:' || true)
  if [ -n "$found" ]; then
    printf 'lines longer than 100 columns:\n%s\n' "$found"
    bad=1
  fi
  files "${cpp[@]}" | tools/rooms.py tools/rooms.txt || bad=1
  found=$(files | grep -vE '\.(npy|bin|png|jpe?g|bmp|safetensors|tiff?)$' |
    xargs -r grep -nHIE '(^|[^[:alnum:]_.~/-])/(work|home|root|Users)/' || true)
  if [ -n "$found" ]; then
    printf 'a path of one machine:\n%s\n' "$found"
    bad=1
  fi
  # All these sources share a namespace for each instruction set: two types of one name would be one
  # to the linker, which keeps the members that it meets first.
  found=$(files 'kernels/cpu/*.h' 'kernels/cpu/*.cpp' |
    xargs -r grep -hoE '^(struct|class) \w+( final)? [:{]' | awk '{print $2}' | sort | uniq -d)
  if [ -n "$found" ]; then
    printf 'types of kernels/cpu that stand there twice under one name:\n%s\n' "$found"
    bad=1
  fi
  return "$bad"
}

case "${1-}" in
  tree) tree ;;
  format)
    clang_format=$(tool14 clang-format)
    files "${cpp[@]}" | xargs -r "$clang_format" --dry-run -Werror
    ;;
  fix)
    clang_format=$(tool14 clang-format)
    files "${cpp[@]}" | xargs -r "$clang_format" -i
    ;;
  tidy)
    shift
    clang_tidy=$(tool14 clang-tidy)
    if [ $# -gt 0 ]; then printf '%s\n' "$@"; else files '*.cpp'; fi |
      { grep -v '^examples/\|^tests/package/' || true; } |
      while IFS= read -r file; do
        if [[ $file == kernels/cuda/* || $file == tests/cuda_* ]] &&
            ! grep -sqF "/$file\"" build/cuda/compile_commands.json; then
          echo "lint: $file is left out: it needs CUDA, and no build/cuda that has it" >&2
        else
          printf '%s\n' "$file"
        fi
      done |
      xargs -r tools/tidy.py "$clang_tidy" build/cuda
    ;;
  shell)
    files '*.sh' .ci/run | xargs -r shellcheck
    ;;
  *) echo "usage: tools/lint.sh tree|format|tidy [FILE...]|shell|fix" >&2; exit 2 ;;
esac
