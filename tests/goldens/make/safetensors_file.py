"""Files in both directions between this project and the safetensors package.

Writes safetensors_python.safetensors, which the C++ reader is tested on, and reads
safetensors_fulmar.safetensors, which tests/safetensors_test.cpp compares with what the C++ writer
makes. Tried with safetensors 0.8.0, numpy 1.26.4, ml_dtypes 0.3.2.
"""

from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

OUT = Path(__file__).resolve().parent.parent

types = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}
tensors = {f"of/{name}": (np.arange(6) % 2 if name == "BOOL" else np.arange(6)).astype(t).reshape(2, 3)
           for name, t in types.items()}
tensors["scalar"] = np.array(2.5, np.float32)
tensors["nothing"] = np.zeros((0, 4), np.float32)
save_file(tensors, OUT / "safetensors_python.safetensors", metadata={"made by": "safetensors 0.8.0 \"ø\""})

path = OUT / "safetensors_fulmar.safetensors"
with safe_open(path, "numpy") as file:
    metadata = file.metadata()
assert metadata["note"] == 'a "quoted" ø\n', metadata
assert metadata["format_version"] == "1", metadata
assert set(metadata) == {"note", "format_version", "data_crc32c", "header_crc32c"}, metadata
read = load_file(path)
assert set(read) == {"dense/kernel", "labels", "step", "empty"}, read
assert read["dense/kernel"].dtype == np.float32
assert read["dense/kernel"].tolist() == [[0.5, -1, 2], [3, 4, 5.25]]
assert read["labels"].dtype == np.uint8 and read["labels"].tolist() == [1, 2, 3]
assert read["step"].dtype == np.int64 and read["step"].shape == () and read["step"] == 1 << 40
assert read["empty"].shape == (0, 3)
print("the package reads the project's file")
