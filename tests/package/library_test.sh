#!/usr/bin/env bash
# library_test.sh LIBFULMAR: it needs only the C and C++ runtimes and Highway, and exports only
# names of namespace fulmar and the C functions of abi.txt: those whose stability is promised. A
# function that is new belongs into that file; one that is there stays.
set -euo pipefail
library=$1
bad=0
while IFS= read -r needed; do
  case $needed in
    libc.so.*|libm.so.*|libstdc++.so.*|libgcc_s.so.*|libhwy.so.*|ld-linux*) ;;
    *) echo "$library needs $needed, which is neither a C or C++ runtime nor Highway"; bad=1 ;;
  esac
done < <(readelf -dW "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')

exported=$(readelf --dyn-syms -W "$library" |
  awk '$7 != "UND" && ($5 == "GLOBAL" || $5 == "WEAK") {print $8}')
[ -n "$exported" ] || { echo "$library exports nothing"; bad=1; }
foreign=$(grep -vE '^_Z(T[IVST])?(N|NK)6fulmar|^fulmar_' <<<"$exported" || true)
if [ -n "$foreign" ]; then
  printf '%s exports names outside namespace fulmar:\n%s\n' "$library" "$(head -20 <<<"$foreign")"
  bad=1
fi
if ! grep '^fulmar_' <<<"$exported" | LC_ALL=C sort |
    diff "$(dirname "$0")/abi.txt" - >&2; then
  echo "$library does not export the C functions of tests/package/abi.txt"
  bad=1
fi
exit "$bad"
