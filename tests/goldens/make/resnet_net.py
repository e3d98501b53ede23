"""Residual networks in PyTorch as torchvision has them (He et al. 2016, the stride of a bottleneck
on its 3x3 convolution): the same modules, so the same state_dict. torchvision itself isn't needed."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from common import signed, u

BLOCKS = {"resnet18": [2, 2, 2, 2], "resnet50": [3, 4, 6, 3]}
WIDTHS = {"published": [64, 128, 256, 512], "narrow": [4, 6, 8, 12], "tiny": [2, 3, 2, 3]}


class Block(nn.Module):
    def __init__(self, kind, cin, width, stride):
        super().__init__()
        self.bottleneck = kind == "resnet50"
        cout = 4 * width if self.bottleneck else width
        conv = lambda i, o, k, s: nn.Conv2d(i, o, k, s, k // 2, bias=False)
        if self.bottleneck:
            self.conv1, self.bn1 = conv(cin, width, 1, 1), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = conv(width, cout, 1, 1), nn.BatchNorm2d(cout)
        else:
            self.conv1, self.bn1 = conv(cin, width, 3, stride), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, width, 3, 1), nn.BatchNorm2d(width)
        self.downsample = None
        if stride > 1 or cin != cout:
            self.downsample = nn.Sequential(conv(cin, cout, 1, stride), nn.BatchNorm2d(cout))
        self.outputs = cout

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class Resnet(nn.Module):
    def __init__(self, kind, widths="published", channels=3, classes=2):
        super().__init__()
        widths = WIDTHS[widths]
        self.conv1 = nn.Conv2d(channels, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        cin = widths[0]
        for stage, (blocks, width) in enumerate(zip(BLOCKS[kind], widths)):
            made = []
            for i in range(blocks):
                made.append(Block(kind, cin, width, 2 if stage and not i else 1))
                cin = made[-1].outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*made))
        self.fc = nn.Linear(cin, classes) if classes else nn.Identity()

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(x.mean((2, 3)))


# Their names and Fulmar's: LAYER.weight is LAYER/kernel of a convolution, LAYER/gamma of a norm.
OURS = {"bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def named_values(net):
    """(Fulmar's name, tensor, Fulmar's layout of its values, whether it is a statistic)."""
    for layer, module in net.named_modules():
        norm = isinstance(module, nn.BatchNorm2d)
        if not norm and not isinstance(module, (nn.Conv2d, nn.Linear)):
            continue
        own = list(module.named_parameters(recurse=False)) + list(module.named_buffers())
        for what, tensor in own:
            if what == "num_batches_tracked":
                continue
            name = OURS[what] if norm and what != "weight" else what
            if what == "weight":
                name = "gamma" if norm else "kernel"
            axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[tensor.ndim]
            yield f"{layer}/{name}", tensor, axes, what.startswith("running")


def set_formula(net):
    """Weights by the formula of common.py, in Fulmar's names and layout."""
    for name, tensor, axes, _ in named_values(net):
        shape = [tensor.shape[a] for a in axes]
        if len(shape) > 1:
            limit = math.sqrt(6.0 / (math.prod(shape[:-2]) * (shape[-2] + shape[-1])))
            value = signed(name, *shape) * limit
        elif name.endswith(("gamma", "moving_variance")):
            value = 0.5 + u(name, *shape)
        else:
            value = 0.2 * (u(name, *shape) - 0.5)
        back = torch.tensor(value).permute([axes.index(i) for i in range(len(axes))])
        with torch.no_grad():
            tensor.copy_(back)
    return net
