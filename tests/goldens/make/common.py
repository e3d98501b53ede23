"""What every golden script shares: the formula for weights and inputs, the network's parameter
list, summaries of large tensors, and a safetensors writer whose output depends on nothing else.

The C++ tests use the same formula, so the files hold results only.
"""

import json
import math
import platform
import struct
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parent.parent

# Widths of the seven blocks; the stem has the first one's, the last separable convolution twice the
# last.
WIDTHS = {"published": [8, 16, 32, 64, 128, 256, 512], "narrow": [3, 4, 5, 3, 4, 6, 5]}
CLASSES = 2
PROJECTIONS = 8

MASK = (1 << 64) - 1


def fnv1a64(name):
    h = 14695981039346656037
    for byte in name.encode("utf-8"):
        h = ((h ^ byte) * 1099511628211) & MASK
    return h


def u(name, *shape):
    """u(name, i) = (splitmix64(fnv1a64(name) + i) >> 11) * 2^-53 in [0, 1), i the row-major
    index."""
    count = math.prod(shape)
    with np.errstate(over="ignore"):
        x = np.uint64(fnv1a64(name)) + np.arange(count, dtype=np.uint64)
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return ((x >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def signed(name, *shape):
    return 2.0 * u(name, *shape) - 1.0


def network_input(seed, batch, crop, channels=3):
    return u(f"input/{seed}", batch, crop, crop, channels)


def summary(name, tensor):
    """[norm, projection 0 .. 7]: projection k is the dot product with
    2u("projection/<k>/<name>")-1."""
    flat = np.ascontiguousarray(tensor, dtype=np.float64).reshape(-1)
    row = [math.sqrt(float(np.dot(flat, flat)))]
    for k in range(PROJECTIONS):
        row.append(float(np.dot(flat, signed(f"projection/{k}/{name}", flat.size))))
    return np.array(row)


def numbered(base, index):
    return base if index == 0 else f"{base}_{index}"


def parameters(widths=WIDTHS["published"], channels=3):
    """Name -> value by the formula, in the order of first use. Kernels are HWIO, depthwise
    [3,3,C]."""
    out = {}

    def kernel(name, shape, fan_in, fan_out):
        limit = math.sqrt(6.0 / (fan_in + fan_out))
        out[name] = signed(name, *shape) * limit

    def conv(index, size, cin, cout):
        name = numbered("conv2d", index)
        kernel(f"{name}/kernel", (size, size, cin, cout), size * size * cin, size * size * cout)
        out[f"{name}/bias"] = 0.2 * (u(f"{name}/bias", cout) - 0.5)

    def separable(index, cin, cout):
        name = numbered("separable_conv2d", index)
        kernel(f"{name}/depthwise_kernel", (3, 3, cin), 9 * cin, 9)
        kernel(f"{name}/pointwise_kernel", (1, 1, cin, cout), cin, cout)
        out[f"{name}/bias"] = 0.2 * (u(f"{name}/bias", cout) - 0.5)

    def norm(index, c):
        name = numbered("batch_normalization", index)
        out[f"{name}/gamma"] = 0.5 + u(f"{name}/gamma", c)
        out[f"{name}/beta"] = 0.2 * (u(f"{name}/beta", c) - 0.5)
        out[f"{name}/moving_mean"] = 0.2 * (u(f"{name}/moving_mean", c) - 0.5)
        out[f"{name}/moving_variance"] = 0.5 + u(f"{name}/moving_variance", c)

    conv(0, 3, channels, widths[0])
    norm(0, widths[0])
    cin, separables = widths[0], 0
    for block, cout in enumerate(widths):
        for c in (cin, cout):
            separable(separables, c, cout)
            norm(separables + 1, cout)
            separables += 1
        conv(block + 1, 1, cin, cout)
        cin = cout
    final = 2 * cin
    separable(separables, cin, final)
    norm(separables + 1, final)
    kernel("dense/kernel", (final, CLASSES), final, CLASSES)
    out["dense/bias"] = 0.2 * (u("dense/bias", CLASSES) - 0.5)
    return out


def is_statistic(name):
    return name.endswith("/moving_mean") or name.endswith("/moving_variance")


def same_padding(size, kernel, stride):
    """Keras' and TensorFlow's 'same': (before, after), the odd pixel after."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


DTYPES = {"float64": "F64", "float32": "F32", "uint8": "U8", "int32": "I32", "int64": "I64"}


def write(file, tensors, script, versions, **metadata):
    """Writes a safetensors file; every metadata value but text is stored as JSON text."""
    header = {
        "__metadata__": {
            "script": Path(script).name,
            "versions": json.dumps(
                {"python": platform.python_version(), "numpy": np.__version__, **versions}
            ),
        }
    }
    for key, value in metadata.items():
        header["__metadata__"][key] = value if isinstance(value, str) else json.dumps(value)
    blobs, at = [], 0
    # Wider elements first, so that each stays aligned.
    for name in sorted(tensors, key=lambda n: (-tensors[n].dtype.itemsize, n)):
        array = np.ascontiguousarray(tensors[name])
        blob = array.astype(array.dtype.newbyteorder("<")).tobytes()
        header[name] = {
            "dtype": DTYPES[array.dtype.name],
            "shape": list(tensors[name].shape),
            "data_offsets": [at, at + len(blob)],
        }
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with open(OUT / file, "wb") as f:
        f.write(struct.pack("<Q", len(text)))
        f.write(text)
        for blob in blobs:
            f.write(blob)
    print(f"{file}: {len(tensors)} tensors, {8 + len(text) + at} bytes")


def read_metadata(file):
    with open(OUT / file, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        return json.loads(f.read(size))["__metadata__"]
