"""Goldens of networks that give each pixel classes, from PyTorch in float64: U-Nets with either way
of doubling, at odd extents, and atrous spatial pyramid pooling behind a residual encoder for several
lists of rates, with global and with window pooling. One step in train mode: logits, loss over the
pixels that have a label, and every gradient. Of some also the losses of ten steps of SGD, and the
parameters after them. Single-threaded, so that a rerun gives the same bits."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from common import signed, summary, u, write
from polar_low_net import nhwc

torch.set_num_threads(1)
BATCH, IGNORE = 2, 255
LR, MOMENTUM, DECAY = 0.02, 0.9, 1e-2
TRAINED = ("unet", "aspp_1_2", "aspp_2_4_6")
VERSIONS = {"torch": torch.__version__}


class Net:
    """Layers by name, whose parameters are the formula's and made when they are first used."""

    def __init__(self):
        self.p = {}

    def parameter(self, name, value):
        if name not in self.p:
            self.p[name] = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        return self.p[name]

    def conv(self, name, x, filters, kernel, stride=1, dilation=1, bias=False):
        cin = x.shape[1]
        limit = math.sqrt(6.0 / (kernel * kernel * (cin + filters)))
        key = f"{name}/kernel"
        w = self.parameter(key, signed(key, kernel, kernel, cin, filters) * limit)
        key = f"{name}/bias"
        b = self.parameter(key, 0.2 * (u(key, filters) - 0.5)) if bias else None
        return F.conv2d(x, w.permute(3, 2, 0, 1), b, stride, kernel // 2 * dilation, dilation)

    def norm(self, name, x):
        c = x.shape[1]
        gamma = self.parameter(f"{name}/gamma", 0.5 + u(f"{name}/gamma", c))
        beta = self.parameter(f"{name}/beta", 0.2 * (u(f"{name}/beta", c) - 0.5))
        return F.batch_norm(x, None, None, gamma, beta, True, 0.1, 1e-5)


class Unet(Net):
    def __init__(self, widths, outputs, align_corners):
        super().__init__()
        self.widths, self.outputs, self.align_corners = widths, outputs, align_corners

    def two(self, name, x, filters):
        for n in "12":
            x = F.relu(self.norm(f"{name}.bn{n}", self.conv(f"{name}.conv{n}", x, filters, 3)))
        return x

    def __call__(self, x):
        levels = []
        for i, width in enumerate(self.widths):
            x = self.two(f"down{i + 1}", F.max_pool2d(x, 2) if i else x, width)
            levels.append(x)
        x = self.two("bridge", F.max_pool2d(x, 2), self.widths[-1])
        for i in reversed(range(len(self.widths))):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=self.align_corners)
            skip = levels[i]
            down, right = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
            x = F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
            x = self.two(f"up{i + 1}", torch.cat([x, skip], 1), self.widths[i])
        return {name: self.conv(name, x, k, 1, bias=True) for name, k in self.outputs.items()}


class Deeplab(Net):
    """ResNet-18 or -50 cut after its second or third stage, dilated beyond a stride of 8."""

    def __init__(self, encoder, outputs, rates, width, pool, stages=2, shared=False):
        super().__init__()
        self.encoder, self.outputs, self.rates = encoder, outputs, rates
        self.width, self.pool, self.stages, self.shared = width, pool, stages, shared

    def cnr(self, name, x, filters, kernel, dilation=1):
        x = self.conv(f"{name}.conv", x, filters, kernel, dilation=dilation)
        return F.relu(self.norm(f"{name}.bn", x))

    def block(self, name, x, width, stride, dilation):
        layer = lambda y, n, *how: self.norm(f"{name}.bn{n}", self.conv(f"{name}.conv{n}", y, *how))
        if self.encoder == "resnet18":
            filters = width
            y = F.relu(layer(x, 1, width, 3, stride, dilation))
            y = layer(y, 2, width, 3, 1, dilation)
        else:
            filters = 4 * width
            y = F.relu(layer(x, 1, width, 1))
            y = F.relu(layer(y, 2, width, 3, stride, dilation))
            y = layer(y, 3, filters, 1)
        if stride > 1 or x.shape[1] != filters:
            x = self.conv(f"{name}.downsample.0", x, filters, 1, stride)
            x = self.norm(f"{name}.downsample.1", x)
        return F.relu(x + y)

    def features(self, x):
        x = F.max_pool2d(F.relu(self.norm("bn1", self.conv("conv1", x, 64, 7, 2))), 3, 2, 1)
        reached, dilation = 4, 1
        blocks = [2, 2, 2] if self.encoder == "resnet18" else [3, 4, 6]
        for stage in range(self.stages):
            count, width = blocks[stage], 64 << stage
            stride, before = (2 if stage else 1), dilation
            if reached * stride > 8:
                dilation, stride = dilation * stride, 1
            reached *= stride
            for i in range(count):
                how = (stride, before) if i == 0 else (1, dilation)
                x = self.block(f"layer{stage + 1}.{i}", x, width, *how)
        return x

    def decoder(self, name, x):
        a = f"{name}.aspp"
        branches = [self.cnr(f"{a}.convs.0", x, self.width, 1)]
        for i, rate in enumerate(self.rates):
            branches.append(self.cnr(f"{a}.convs.{i + 1}", x, self.width, 3, rate))
        pooled = F.avg_pool2d(x, self.pool) if self.pool else x.mean((2, 3), keepdim=True)
        pooled = self.cnr(f"{a}.pooled", pooled, self.width, 1)
        branches.append(F.interpolate(pooled, x.shape[2:], mode="bilinear", align_corners=False))
        y = self.cnr(f"{a}.project", torch.cat(branches, 1), self.width, 1)
        return self.cnr(name, y, self.width, 3)

    def __call__(self, x):
        features = self.features(x)
        shared = self.decoder("decoder", features) if self.shared else None
        logits = {}
        for name, k in self.outputs.items():
            y = shared if self.shared else self.decoder(f"decoder.{name}", features)
            y = self.conv(f"{name}.logits", y, k, 1, bias=True)
            logits[name] = F.interpolate(y, x.shape[2:], mode="bilinear", align_corners=False)
        return logits


def labels_of(name, classes, height, width):
    """A quarter of the pixels has no label."""
    drawn = torch.tensor(u(f"labels/{name}", BATCH, height, width))
    return torch.where(drawn < 0.25, IGNORE, ((drawn - 0.25) / 0.75 * classes).long())


def input_of(case, extents, channels):
    return torch.tensor(u(f"input/{case}", BATCH, *extents, channels)).permute(0, 3, 1, 2)


def loss_of(logits, extents, weights):
    loss = 0
    for name, y in logits.items():
        labels = labels_of(name, y.shape[1], *extents)
        loss = loss + weights[name] * F.cross_entropy(y, labels, ignore_index=IGNORE)
    return loss


def train(case, net, extents, channels, weights):
    """Ten steps; with PyTorch's own optimiser: coupled decay of all parameters."""
    x = input_of(case, extents, channels)
    net(x)  # makes the parameters
    optimizer = torch.optim.SGD(net.p.values(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = loss_of(net(x), extents, weights)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    out = {f"{case}/sgd/losses": np.array(losses)}
    for name, p in net.p.items():
        out[f"{case}/sgd/after/{name}"] = summary(name, p.detach().numpy())
    return out


def step(case, net, extents, channels, weights):
    logits = net(input_of(case, extents, channels))
    out = {}
    for name, y in logits.items():
        out[f"{case}/logits/{name}"] = summary(f"logits/{name}", nhwc(y))
    loss = loss_of(logits, extents, weights)
    loss.backward()
    out[f"{case}/loss"] = loss.detach().numpy().reshape(1)
    for name, p in net.p.items():
        out[f"{case}/gradient/{name}"] = summary(name, p.grad.numpy())
    return out


def main():
    tasks, weights = {"SIC": 4, "SOD": 3}, {"SIC": 1.0, "SOD": 0.5}
    single, one = {"labels": 2}, {"labels": 1.0}
    cases = {
        "unet": (Unet([4, 6, 8], tasks, False), (21, 26), 3, weights),
        "unet_corners": (Unet([4, 6, 8], tasks, True), (21, 26), 3, weights),
        "unet_even": (Unet([4, 6], single, True), (16, 24), 2, one),
        "aspp_1_2": (Deeplab("resnet18", tasks, [1, 2], 8, 2), (50, 41), 3, weights),
        "aspp_2_4_6": (Deeplab("resnet18", single, [2, 4, 6], 8, 0), (50, 41), 2, one),
        "aspp_12_24_36": (Deeplab("resnet18", single, [12, 24, 36], 8, 2), (50, 41), 2, one),
        "aspp_dilated": (Deeplab("resnet18", tasks, [1, 3], 8, 3, 3, True), (33, 40), 2, weights),
        "aspp_bottleneck": (Deeplab("resnet50", single, [1, 2], 8, 2), (33, 40), 2, one),
    }
    out = {}
    for case, (net, extents, channels, of_tasks) in cases.items():
        out |= step(case, net, extents, channels, of_tasks)
        if case in TRAINED:
            net.p.clear()
            out |= train(case, net, extents, channels, of_tasks)
    write("pixel_networks_torch.safetensors", out, __file__, VERSIONS,
          lr=LR, momentum=MOMENTUM, decay=DECAY)


main()
