"""Weights that every program computes for itself, so that results can be compared.

u(name, i) in [0, 1), as bench/step/noise.h has it: names and shapes are Keras'.
"""

import numpy as np


def splitmix64(x):
    """Of an array of uint64; arithmetic wraps around."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(name, shape):
    hashed = 14695981039346656037
    for byte in name.encode():
        hashed = (hashed ^ byte) * 1099511628211 % 2**64
    i = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(hashed)
    return ((splitmix64(i) >> np.uint64(11)) * 2.0**-53).reshape(shape)


def weight(name, shape):
    """A variable by its Keras name and shape: kernels by Glorot's range, the others small."""
    if name.endswith("gamma"):
        return 0.5 + uniform(name, shape)
    if len(shape) == 1:
        return 0.2 * (uniform(name, shape) - 0.5)
    taps = 1 if len(shape) == 2 else shape[0] * shape[1]
    fan_in, fan_out = taps * shape[-2], taps * shape[-1]
    if name.endswith("depthwise_kernel"):
        fan_out = taps
    return (2 * uniform(name, shape) - 1) * np.sqrt(6 / (fan_in + fan_out))


def set_keras(net):
    """Of a Keras model; moving statistics stay as they are."""
    for variable in net.weights:
        name = variable.name.partition(":")[0]
        if "moving" not in name:
            variable.assign(weight(name, tuple(variable.shape)))


def put(parameter, values):
    import torch

    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def vector(parameter, name):
    put(parameter, weight(name, tuple(parameter.shape)))


def conv(module, name, kernel="kernel"):
    cout, cin, kh, kw = module.weight.shape
    put(module.weight, weight(f"{name}/{kernel}", (kh, kw, cin, cout)).transpose(3, 2, 0, 1))
    if module.bias is not None:
        vector(module.bias, f"{name}/bias")


def norm(module, name):
    vector(module.weight, f"{name}/gamma")
    vector(module.bias, f"{name}/beta")


def dense(module, name):
    classes, features = module.weight.shape
    put(module.weight, weight(f"{name}/kernel", (features, classes)).T)
    vector(module.bias, f"{name}/bias")


def set_torch_by_names(net):
    """Of a PyTorch network whose modules have our layers' names."""
    setters = {"Conv2d": conv, "BatchNorm2d": norm, "Linear": dense}
    for name, module in net.named_modules():
        setter = setters.get(type(module).__name__)
        if setter:
            setter(module, name)


def set_torch(net):
    """Of step.py's torch_network: each of its parameters by the Keras name that it stands for."""

    def numbered(name, number):
        return f"{name}_{number}" if number else name

    def separable(module, number):
        name = numbered("separable_conv2d", number)
        channels = module.depthwise.weight.shape[0]
        values = weight(f"{name}/depthwise_kernel", (3, 3, channels, 1))
        put(module.depthwise.weight, values.transpose(2, 3, 0, 1))
        conv(module.pointwise, name, "pointwise_kernel")
        norm(module.norm, numbered("batch_normalization", number + 1))

    conv(net.stem, "conv2d")
    norm(net.norm, "batch_normalization")
    number = 0
    for i, block in enumerate(net.blocks):
        for module in block.main:
            separable(module, number)
            number += 1
        conv(block.skip, f"conv2d_{i + 1}")
    separable(net.last, number)
    dense(net.dense, "dense")
