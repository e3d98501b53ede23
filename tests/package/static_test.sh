#!/usr/bin/env bash
# static_test.sh MAKE_MODEL C_ERRORS: the C API linked statically gives its statuses and messages.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$1" "$folder/model.safetensors"
"$2" "$folder/model.safetensors"
if ldd "$2" | grep libfulmar; then
  echo "it is not linked statically"
  exit 1
fi
