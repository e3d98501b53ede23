"""Goldens of the losses of pixels, from PyTorch in float64: cross-entropy, focal, Dice, Tversky,
MSE and MAE, with and without class weights, with pixels that have no label and samples of different
weights, and a batch without any label. Of each the loss and the gradient by the network's output.
The formulas are those of model/tasks/segmentation.h, written out here anew."""

import torch
import torch.nn.functional as F

from common import signed, u, write

N, H, W, K, IGNORE = 2, 3, 5, 3, 255
NUMBERS = torch.tensor([0.0, 2.0, 5.0], dtype=torch.float64)
GAMMA, ALPHA, BETA = 3, 0.3, 0.7
SAMPLES = torch.tensor([1.0, 0.5], dtype=torch.float64).reshape(N, 1, 1)

drawn = torch.tensor(u("labels/loss", N, H, W))
LABELS = torch.where(drawn < 0.25, IGNORE, ((drawn - 0.25) / 0.75 * K).long())


def loss_of(kind, y, labels, class_weights):
    valid = labels != IGNORE
    safe = torch.where(valid, labels, 0)
    w = SAMPLES * valid
    c = class_weights[safe]
    if not valid.any():
        return (y * 0).sum()
    if kind in ("mse", "mae"):
        error = y[..., 0] - NUMBERS[safe]
        rows = error**2 if kind == "mse" else error.abs()
        return (w * c * rows).sum() / (w * c).sum()
    logits = y.permute(0, 3, 1, 2)
    if kind == "tversky":
        p = F.softmax(y, -1) * w[..., None]
        t = F.one_hot(safe, K) * w[..., None]
        tp = (F.softmax(y, -1) * t).sum((0, 1, 2))
        fp, fn = p.sum((0, 1, 2)) - tp, t.sum((0, 1, 2)) - tp
        there = (t.sum((0, 1, 2)) > 0) * class_weights
        return (there * (1 - tp / (tp + ALPHA * fp + BETA * fn))).sum() / there.sum()
    surprise = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    missed = 1 - torch.exp(-surprise)
    rows = {"cross-entropy": surprise, "focal": missed**GAMMA * surprise, "dice": missed}[kind]
    return (w * c * rows).sum() / (w * c).sum()


def main():
    out = {}
    for kind in ("cross-entropy", "focal", "dice", "tversky", "mse", "mae"):
        for weighted in (False, True):
            c = torch.tensor([1.0, 3.0, 0.5] if weighted else [1.0] * K, dtype=torch.float64)
            of_numbers = kind in ("mse", "mae")
            values = 4 * signed("loss/logits", N, H, W, 1 if of_numbers else K)
            case = kind + ("/weighted" if weighted else "/plain")
            for labelled in (True, False):
                y = torch.tensor(values, requires_grad=True)
                labels = LABELS if labelled else torch.full_like(LABELS, IGNORE)
                loss = loss_of(kind, y, labels, c)
                loss.backward()
                end = "" if labelled else "/nothing"
                out[f"{case}{end}/loss"] = loss.detach().numpy().reshape(1)
                out[f"{case}{end}/gradient"] = y.grad.numpy()
    write(
        "pixel_losses_torch.safetensors",
        out,
        __file__,
        {"torch": torch.__version__},
        gamma=GAMMA,
        alpha=ALPHA,
        beta=BETA,
    )


main()
