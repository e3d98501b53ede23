#!/usr/bin/env bash
# Installs what building and testing Fulmar needs, from the distribution's packages (Debian 12,
# Ubuntu 22.04 or later; as root or through sudo). Never CUDA. Does nothing where all is there.
#   tools/setup.sh           to build, test and run
#   tools/setup.sh --all     also what tools/test.sh --all needs (clang, sanitizers, linters)
#   tools/setup.sh --check   installs nothing; names what is missing and exits with 1 if anything is
set -euo pipefail

packages=(g++ cmake ninja-build git ca-certificates
  libhwy-dev libjpeg-dev libspng-dev libstb-dev libtiff-dev nlohmann-json3-dev libcli11-dev
  doctest-dev libbenchmark-dev
  curl jq unzip python3)  # tools/fetch_dataset.sh, and its test
all=(clang clang-format clang-tidy llvm shellcheck tidy)
check=no
for argument in "$@"; do
  case $argument in
    --all) packages+=("${all[@]}") ;;
    --check) check=yes ;;
    *) echo "usage: tools/setup.sh [--all] [--check]" >&2; exit 2 ;;
  esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "setup: no apt-get here. Install what these Debian packages hold, then build with CMake:" >&2
  echo "  ${packages[*]}" >&2
  exit 1
fi

find_missing() {
  # Debian 12 keeps libFuzzer and the sanitizers' runtimes apart from clang, others don't.
  local package state wanted=("${packages[@]}")
  if [[ " ${packages[*]} " == *" clang "* ]] && apt-cache show libclang-rt-dev >/dev/null 2>&1; then
    wanted+=(libclang-rt-dev)
  fi
  missing=()
  for package in "${wanted[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
  done
}
find_missing
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: all ${#packages[@]} packages are installed"
  exit 0
fi
echo "setup: missing: ${missing[*]}"
[ "$check" = no ] || exit 1

if [ "$(id -u)" = 0 ]; then
  as_root=()
elif command -v sudo >/dev/null; then
  as_root=(sudo)
else
  echo "setup: this needs root. Run as root: apt-get install ${missing[*]}" >&2
  exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >"$log" 2>&1 || {
    cat "$log" >&2
    echo "setup: apt-get $1 failed" >&2
    exit 1
  }
}
echo "setup: installing them with apt-get"
apt update
find_missing  # the lists of packages may have been empty before
apt install -y --no-install-recommends "${missing[@]}"
echo "setup: done"
