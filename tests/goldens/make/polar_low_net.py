"""The polar-low network in PyTorch, plainly, on the parameters of common.py (NHWC names, HWIO
kernels)."""

import torch
import torch.nn.functional as F

from common import is_statistic, numbered, same_padding

BN_EPSILON = 1e-3
BN_MOMENTUM = 0.01  # of the new value: running = 0.99 running + 0.01 batch


def to_torch(arrays, dtype=torch.float64):
    out = {}
    for name, value in arrays.items():
        tensor = torch.tensor(value, dtype=dtype)
        out[name] = tensor if is_statistic(name) else tensor.requires_grad_()
    return out


def trainable(p):
    return {name: t for name, t in p.items() if not is_statistic(name)}


def pad_same(x, kernel, stride, value=0.0):
    top, bottom = same_padding(x.shape[2], kernel, stride)
    left, right = same_padding(x.shape[3], kernel, stride)
    return F.pad(x, (left, right, top, bottom), value=value)


class PolarLow:
    """Runs forward on NHWC input, keeps every layer's value (NCHW) by its Keras name, and the
    margins: the smallest |ReLU input| and the smallest gap in a pooling window between its maximum
    and the runner-up (windows whose maximum is 0 do not count: ReLU stops their gradient)."""

    def __init__(self, p, train, blocks=7):
        self.p, self.train, self.blocks = p, train, blocks

    def conv(self, x, index, stride):
        name = numbered("conv2d", index)
        w = self.p[f"{name}/kernel"].permute(3, 2, 0, 1)
        y = F.conv2d(pad_same(x, w.shape[2], stride), w, self.p[f"{name}/bias"], stride)
        return self.keep(name, y)

    def separable(self, x, index):
        name = numbered("separable_conv2d", index)
        depthwise = self.p[f"{name}/depthwise_kernel"].permute(2, 0, 1).unsqueeze(1)
        pointwise = self.p[f"{name}/pointwise_kernel"].permute(3, 2, 0, 1)
        x = F.conv2d(x, depthwise, padding=1, groups=x.shape[1])
        return self.keep(name, F.conv2d(x, pointwise, self.p[f"{name}/bias"]))

    def norm_relu(self, x, index):
        name = numbered("batch_normalization", index)
        g = lambda part: self.p[f"{name}/{part}"]
        x = F.batch_norm(
            x,
            g("moving_mean"),
            g("moving_variance"),
            g("gamma"),
            g("beta"),
            training=self.train,
            momentum=BN_MOMENTUM,
            eps=BN_EPSILON,
        )
        self.keep(name, x)
        self.relu_margin = min(self.relu_margin, x.detach().abs().min().item())
        return self.keep(numbered("activation", index), self.rectify(x, index))

    def rectify(self, x, index):
        return F.relu(x)

    def pool(self, x, index):
        padded = pad_same(x, 3, 2, value=float("-inf"))
        with torch.no_grad():
            windows = padded.unfold(2, 3, 2).unfold(3, 3, 2).flatten(-2)
            top = windows.topk(2).values
            gaps = (top[..., 0] - top[..., 1])[top[..., 0] > 0]
            if gaps.numel():
                self.pool_margin = min(self.pool_margin, gaps.min().item())
        return self.keep(numbered("max_pooling2d", index), F.max_pool2d(padded, 3, 2))

    def keep(self, name, value):
        if value.requires_grad and self.retain:
            value.retain_grad()
        self.values[name] = value
        return value

    def __call__(self, x, retain=False):
        self.values, self.retain = {}, retain
        self.relu_margin = self.pool_margin = float("inf")
        x = self.norm_relu(self.conv(x.permute(0, 3, 1, 2), 0, 2), 0)
        for block in range(self.blocks):
            skip = x
            for half in (0, 1):
                x = self.norm_relu(self.separable(x, 2 * block + half), 2 * block + half + 1)
            x = self.pool(x, block)
            skip = self.conv(skip, block + 1, 2)
            x = self.keep(numbered("add", block), x + skip)
        last = 2 * self.blocks
        x = self.norm_relu(self.separable(x, last), last + 1)
        x = self.keep("global_average_pooling2d", x.mean((2, 3)))
        return self.keep("logits", x @ self.p["dense/kernel"] + self.p["dense/bias"])


def nhwc(value):
    value = value.detach()
    return (value.permute(0, 2, 3, 1) if value.ndim == 4 else value).contiguous().numpy()
