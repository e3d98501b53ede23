#!/usr/bin/env bash
# Installs what building and testing Fulmar needs, from the distribution's packages (Debian 12,
# Ubuntu 22.04 or later; as root or through sudo). Never CUDA. Does nothing where all is there.
#   tools/setup.sh           to build, test and run
#   tools/setup.sh --all     also what tools/test.sh --all needs (clang, sanitizers, linters)
#   tools/setup.sh --check   installs nothing; names what is missing and exits with 1 if anything is
#   tools/setup.sh --into DIR   installs nothing and needs no root: unpacks the libraries that the
#                            build needs into DIR, for a machine that has a compiler and CMake
#                            but neither these packages nor a network. Build there with
#                            cmake --preset PRESET -DFULMAR_PACKAGES=DIR. That machine must be of
#                            the same architecture, its glibc no older than what is said at the end.
set -euo pipefail

packages=(g++ binutils cmake ninja-build ccache git ca-certificates
  libhwy-dev libjpeg-dev libspng-dev libdeflate-dev libstb-dev libtiff-dev nlohmann-json3-dev
  libcli11-dev libhdf5-dev libnetcdf-dev libzip-dev doctest-dev libbenchmark-dev
  curl jq unzip python3)  # tools/fetch_dataset.sh, and its test
# The library's older name, in Ubuntu 22.04.
geographic=libgeographiclib-dev
if command -v apt-cache >/dev/null && ! apt-cache show $geographic >/dev/null 2>&1 &&
    apt-cache show libgeographic-dev >/dev/null 2>&1; then
  geographic=libgeographic-dev
fi
packages+=("$geographic")
all=(clang clang-format clang-tidy llvm shellcheck tidy)
check=no
into=
given=$#
while [ $# -gt 0 ]; do
  case $1 in
    --all) packages+=("${all[@]}") ;;
    --check) check=yes ;;
    --into) into=${2-}; [ -n "$into" ] || { echo "setup: --into takes a folder" >&2; exit 2; }
      shift ;;
    *) echo "usage: tools/setup.sh [--all] [--check] | --into DIR" >&2; exit 2 ;;
  esac
  shift
done
[ -z "$into" ] || [ "$given" = 2 ] ||
  { echo "setup: --into stands alone: it takes no --check and no --all" >&2; exit 2; }

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "setup: no apt-get here. Install what these Debian packages hold, then build with CMake:" >&2
  echo "  ${packages[*]}" >&2
  exit 1
fi

# unpack DIR: what the build needs of the packages, and the shared libraries that these need.
unpack() {
  local triplet package field name
  local wanted=(libhwy-dev libjpeg-dev libspng-dev libdeflate-dev libstb-dev libtiff-dev
    nlohmann-json3-dev libcli11-dev libhdf5-dev libnetcdf-dev libzip-dev doctest-dev
    libbenchmark-dev "$geographic")
  local options=(-qq -o APT::Sandbox::User=root)
  declare -A seen=()
  mkdir -p "$1"
  into=$(cd "$1" && pwd)
  stage=$(mktemp -d "$into/.stage.XXXXXX")
  trap 'rm -rf "$stage"' EXIT
  cd "$stage"
  # Where nobody has fetched the lists of packages yet, a copy of our own.
  if ! apt-cache show libhwy-dev >/dev/null 2>&1; then
    mkdir -p lists/partial
    options+=(-o "Dir::State::Lists=$stage/lists")
    apt-get "${options[@]}" update
  fi
  while [ ${#wanted[@]} -gt 0 ]; do
    package=${wanted[0]}
    wanted=("${wanted[@]:1}")
    [ -z "${seen[$package]-}" ] || continue
    seen[$package]=yes
    apt-get "${options[@]}" download "$package" ||
      { echo "setup: could not download $package: with old lists of packages, apt-get update" \
        "(as root) helps" >&2; exit 1; }
    # Other headers than libjpeg's are not included by those that we include; what every compiler
    # brings along is not taken.
    while IFS= read -r field; do
      name=$(sed 's/^ *//; s/[ (:|].*//' <<<"$field")
      case $name in
        libc6* | libgcc* | libstdc++* | libgomp* | libgtest* | libstb0) ;;
        libhdf5-cpp* | libhdf5*-fortran* | libhdf5-hl-cpp*) ;;  # HDF5 for other languages
        libjpeg*-dev) wanted+=("$name") ;;
        *-dev) ;;
        lib* | zlib1g*) wanted+=("$name") ;;
      esac
    done < <(dpkg-deb -f "${package}"_*.deb Depends | tr ',' '\n')
  done
  rm -rf "${into:?}/usr"
  for package in *.deb; do dpkg -x "$package" unpacked; done
  # Where /lib and /usr/lib are still two folders.
  [ ! -d unpacked/lib ] || cp -a unpacked/lib/. unpacked/usr/lib/
  triplet=$(basename "$(dirname "$(find unpacked/usr/lib -name libhwy.so)")")
  find unpacked/usr/lib \( -name '*.a' ! -name 'libbenchmark*' -o -name 'libhwy_test.so*' \
    -o -name 'libhdf5*_cpp.*' -o -name 'libhdf5*fortran.*' \
    -o -name 'libhwy_contrib.so*' -o -name 'libtiffxx.so*' -o -name 'libstb.so*' \) -delete
  # Some of CMake's files name the place that packages are installed to.
  # shellcheck disable=SC2016  # CMake expands it
  find unpacked/usr -name '*.cmake' -exec sed -i \
    's|set(_IMPORT_PREFIX "/usr")|set(_IMPORT_PREFIX "${FULMAR_PACKAGES}/usr")|' {} +
  mkdir -p unpacked/usr/share/cmake
  find unpacked/usr/share -mindepth 1 -maxdepth 1 ! -name cmake ! -name doc -exec rm -rf {} +
  # Of the documentation, the licences.
  find unpacked/usr/share/doc -type f ! -name copyright -delete
  find unpacked/usr/share/doc \( -type l -o -type d -empty \) -delete
  mv unpacked/usr "$into/usr"
  echo "setup: unpacked ${#seen[@]} packages into $into ($(du -sh "$into/usr" | cut -f 1)," \
    "$triplet); they need $(glibc_of "$into/usr/lib/$triplet") or newer"
}

# glibc_of FOLDER: the newest glibc that the libraries there ask for.
glibc_of() {
  find "$1" -name '*.so*' -type f -exec grep -ahoE 'GLIBC_2\.[0-9]+' {} + | sort -V | tail -n 1
}

if [ -n "$into" ]; then
  unpack "$into"
  exit 0
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
