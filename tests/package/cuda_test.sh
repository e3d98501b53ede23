#!/usr/bin/env bash
# cuda_test.sh PROGRAM [BACKEND]: the program needs no library of CUDA's, directly or by another,
# and none of those that fulmar-hdf5 alone loads; the CUDA backend's library needs only cuDNN,
# cuBLASLt and the C and C++ runtimes, and exports one function.
set -euo pipefail
program=$1 backend=${2-}
bad=0
libraries=$(ldd "$program")
if grep -E 'lib(cuda|cudart|cudnn|cublas|nvrtc|nvidia)' <<<"$libraries"; then
  echo "$program needs these libraries of CUDA's"
  bad=1
fi
if grep -E 'lib(hdf5|zip|curl)' <<<"$libraries"; then
  echo "$program needs these libraries, which only fulmar-hdf5 should"
  bad=1
fi
[ -n "$backend" ] || exit "$bad"

needed=$(readelf -dW "$backend" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
while IFS= read -r library; do
  case $library in
    libcudnn.so.9|libcublasLt.so.1[23]|libc.so.*|libm.so.*|libstdc++.so.*|libgcc_s.so.*) ;;
    ld-linux*|libdl.so.*|libpthread.so.*|librt.so.*) ;;
    *) echo "$backend needs $library"; bad=1 ;;
  esac
done <<<"$needed"
exported=$(readelf --dyn-syms -W "$backend" |
  awk '$7 != "UND" && ($5 == "GLOBAL" || $5 == "WEAK") {print $8}')
if [ "$exported" != fulmar_cuda_library ]; then
  echo "$backend should export fulmar_cuda_library alone, and exports: $exported"
  bad=1
fi
exit "$bad"
