"""Goldens of residual networks from PyTorch in float64: ResNet-50 as published and narrow, ResNet-18
narrow, train mode. The first step's logits, loss and every gradient; the losses of five steps of
SGD, and parameters and running statistics after them; and how far all of these move when the input
does by 1e-15 of itself, which is what two right programs may differ by. Single-threaded, so that a
rerun gives the same bits."""

import numpy as np
import torch
import torch.nn.functional as F

from common import signed, summary, u, write
from resnet_net import Resnet, named_values, set_formula

torch.set_num_threads(1)
SIDE, STEPS, NOISE = 48, 5, 1e-15
LR, MOMENTUM, DECAY = 0.01, 0.9, 1e-2


def ours(tensor, axes):
    return tensor.detach().permute(axes).contiguous().numpy()


def run(case, kind, widths, channels, batch, steps, full, noise=0.0):
    net = set_formula(Resnet(kind, widths, channels).double()).train()
    shape = (batch, SIDE, SIDE, channels)
    x = u(f"input/{case}", *shape) * (1 + noise * signed("noise", *shape))
    x = torch.tensor(x).permute(0, 3, 1, 2)
    labels = torch.arange(batch) % 2
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    losses, out = [], {}
    for step in range(steps):
        optimizer.zero_grad()
        logits = net(x)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            out[f"{case}/logits"] = logits.detach().numpy()
            for name, tensor, axes, statistic in named_values(net):
                if statistic:
                    continue
                gradient = ours(tensor.grad, axes)
                out[f"{case}/gradient/{name}"] = summary(name, gradient)
                if full:
                    out[f"{case}/full/{name}"] = gradient
        optimizer.step()
    out[f"{case}/losses"] = np.array(losses)
    for name, tensor, axes, _ in named_values(net):
        out[f"{case}/after/{name}"] = summary(name, ours(tensor, axes))
    return out


def moved(case, *how):
    """The case, with its losses' and its other results' relative changes by noise in the input."""
    out, other = run(case, *how), run(case, *how, noise=NOISE)
    change = lambda name: np.abs(other[name] - out[name]).max() / np.abs(out[name]).max()
    losses = np.abs(other[f"{case}/losses"] / out[f"{case}/losses"] - 1)
    after = max(change(name) for name in out if "/after/" in name)
    return out | {f"{case}/noise/losses": losses, f"{case}/noise/after": np.array([after])}


def main():
    out = moved("resnet50", "resnet50", "published", 3, 2, 2, False)
    out |= moved("resnet50_narrow", "resnet50", "narrow", 1, 8, STEPS, False)
    out |= moved("resnet18_narrow", "resnet18", "narrow", 2, 8, STEPS, True)
    for name in out:
        if "/noise/" in name:
            print(name, out[name])
    write("resnet_torch.safetensors", out, __file__, {"torch": torch.__version__},
          side=SIDE, lr=LR, momentum=MOMENTUM, decay=DECAY)


main()
