"""Goldens of the polar-low network from PyTorch in float64: training at crop 64, forward at crop
512, gradients of inner values in eval mode. Single-threaded, so that a rerun gives the same
bits."""

import sys

import torch
import torch.nn.functional as F

from common import WIDTHS, is_statistic, network_input, parameters, signed, summary, write
from polar_low_net import PolarLow, nhwc, to_torch, trainable

BATCH = 2
LABELS = torch.tensor([0, 1])
STEPS = 10
LR, DECAY, BETAS, EPSILON = 1e-3, 1e-4, (0.9, 0.999), 1e-8
VERSIONS = {"torch": torch.__version__}
# A tensor whose gradient is this much smaller than the largest has an exact gradient of 0: a bias
# before a train-mode BN, the skip biases of blocks whose output is one pixel.
ZERO = 1e-9


def run(p, seed, crop, train, retain=False, x=None):
    net = PolarLow(p, train)
    if x is None:
        x = torch.tensor(network_input(seed, BATCH, crop))
    logits = net(x, retain)
    return net, logits, F.cross_entropy(logits, LABELS)


def margins(net):
    return {"relu": net.relu_margin, "pool": net.pool_margin}


def zero_gradients(p):
    norms = {name: t.grad.norm().item() for name, t in trainable(p).items()}
    return [name for name, norm in norms.items() if norm < ZERO * max(norms.values())]


def best_seed(base, crop, train, count=400):
    """The input seed with the widest margin, so that fp32 and float64 switch the same way, among
    those that leave no layer dead (narrow networks have such)."""
    ranked = []
    with torch.no_grad():
        for seed in range(count):
            net, _, _ = run(to_torch(base), seed, crop, train)
            ranked.append((min(net.relu_margin, net.pool_margin), seed))
    for margin, seed in sorted(ranked, reverse=True):
        if margin < 1e-6:
            break
        p = to_torch(base)
        run(p, seed, crop, train)[2].backward()
        if all(name.endswith("/bias") for name in zero_gradients(p)):
            return seed
    sys.exit(f"no seed below {count} is alive with a margin of 1e-6 at crop {crop}")


def layer_summaries(net, prefix):
    return {f"{prefix}/{name}": summary(name, nhwc(v)) for name, v in net.values.items()}


def training(kind):
    """One step in every detail, then ten losses: step t sees input/<seed + t>, the same labels."""
    base = parameters(WIDTHS[kind])
    seed = best_seed(base, 64, True)
    p = to_torch(base)
    net, logits, loss = run(p, seed, 64, True)
    loss.backward()
    out = {"logits": nhwc(logits), "loss": loss.detach().numpy().reshape(1)}
    out |= layer_summaries(net, "layer")
    for name, t in trainable(p).items():
        out[f"gradient_summary/{name}"] = summary(name, t.grad.numpy())
        if kind == "narrow":
            out[f"gradient/{name}"] = t.grad.numpy()
    for name, t in p.items():
        if is_statistic(name):
            out[f"statistic_summary/{name}"] = summary(name, t.numpy())
            if kind == "narrow":
                out[f"statistic/{name}"] = t.numpy()
    first, zero = margins(net), zero_gradients(p)

    p = to_torch(base)
    optimizer = torch.optim.AdamW(
        trainable(p).values(), lr=LR, betas=BETAS, eps=EPSILON, weight_decay=DECAY, foreach=False
    )
    losses, smallest = [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        net, _, loss = run(p, seed + step, 64, True)
        losses.append(loss.item())
        smallest.append(min(net.relu_margin, net.pool_margin))
        loss.backward()
        optimizer.step()
    out["losses"] = torch.tensor(losses, dtype=torch.float64).numpy()
    for name, t in p.items():
        out[f"after_ten/{name}"] = summary(name, t.detach().numpy())
    with torch.no_grad():
        _, logits, loss = run(p, seed, 64, False)
    out["after_ten_eval/logits"] = nhwc(logits)
    out["after_ten_eval/loss"] = loss.numpy().reshape(1)
    write(
        f"polar_low_torch_64_{kind}.safetensors",
        out,
        __file__,
        VERSIONS,
        dtype="float64",
        widths=WIDTHS[kind],
        crop=64,
        batch=BATCH,
        labels=LABELS.tolist(),
        seed=seed,
        margins=first,
        zero_gradients=zero,
        step_seeds=[seed + s for s in range(STEPS)],
        step_margins=smallest,
        optimizer={
            "form": "torch",
            "lr": LR,
            "decay": DECAY,
            "beta1": BETAS[0],
            "beta2": BETAS[1],
            "epsilon": EPSILON,
        },
    )


def forward_512():
    base = parameters()
    out, meta = {}, {}
    for mode in ("train", "eval"):
        with torch.no_grad():
            net, logits, loss = run(to_torch(base), 7, 512, mode == "train")
        out[f"{mode}/logits"], out[f"{mode}/loss"] = nhwc(logits), loss.numpy().reshape(1)
        out |= layer_summaries(net, f"{mode}/layer")
        meta[mode] = margins(net)
    write(
        "polar_low_torch_512.safetensors",
        out,
        __file__,
        VERSIONS,
        dtype="float64",
        widths=WIDTHS["published"],
        crop=512,
        batch=BATCH,
        labels=LABELS.tolist(),
        seed=7,
        margins=meta,
    )


def inner_gradients():
    """Eval mode; images do not influence each other, so a sum over the batch gives each its own."""
    out, meta = {}, {}
    for kind, widths in WIDTHS.items():
        base = parameters(widths)
        seed = best_seed(base, 64, False)
        x = torch.tensor(network_input(seed, BATCH, 64), requires_grad=True)
        net, logits, loss = run(to_torch(base), seed, 64, False, x=x)
        meta[kind] = {"seed": seed, "margins": margins(net)}
        probability = F.softmax(logits, 1)[:, 1].sum()
        g = lambda y, wrt, dy=None: torch.autograd.grad(y, wrt, dy, retain_graph=True)[0]
        feature = net.values["activation_10"]
        cotangent = torch.tensor(
            signed("cotangent/activation_10", *feature.permute(0, 2, 3, 1).shape)
        ).permute(0, 3, 1, 2)
        values = {
            "logit_wrt_activation_14": g(logits[:, 1].sum(), net.values["activation_14"]),
            "logit_wrt_activation": g(logits[:, 1].sum(), net.values["activation"]),
            "probability_wrt_input": g(probability, x),
            "activation_10_wrt_input": g(feature, x, cotangent),
            "activation_10_wrt_activation_4": g(feature, net.values["activation_4"], cotangent),
        }
        out[f"{kind}/logits"], out[f"{kind}/loss"] = nhwc(logits), loss.detach().numpy().reshape(1)
        out |= layer_summaries(net, f"{kind}/layer")
        for name, value in values.items():
            value = value.numpy() if name.endswith("_input") else nhwc(value)
            out[f"{kind}/summary/{name}"] = summary(name, value)
            if name == "logit_wrt_activation_14" or (
                kind == "narrow" and name != "logit_wrt_activation"
            ):
                out[f"{kind}/{name}"] = value
    write(
        "polar_low_torch_eval.safetensors",
        out,
        __file__,
        VERSIONS,
        dtype="float64",
        crop=64,
        batch=BATCH,
        labels=LABELS.tolist(),
        cases=meta,
        widths=WIDTHS,
        cotangent='2u("cotangent/activation_10", i) - 1, NHWC',
    )


torch.set_num_threads(1)
training("published")
training("narrow")
forward_512()
inner_gradients()
