"""Five steps of SGD and LARS in float64: rows of ops_torch's table. SGD is torch.optim.SGD. PyTorch
has no LARS: algorithm 1 of You, Gitman & Ginsburg 2017 is written out, for two layers, of which the
second is excluded from decay and from the local rate, as SimCLR excludes biases.
Tensors: w0 [P], g [5,P], w [5,P] (after each step), v [P] (after the last).
"""

import numpy as np
import torch

from common import signed, write

LR, MOMENTUM, STEPS, COUNT = 0.05, 0.9, 5, 12
tensors, cases = {}, {}


def keep(name, w0, g, after, v, **attributes):
    for role, value in {"w0": w0, "g": g, "w": np.array(after), "v": v}.items():
        tensors[f"{name}/{role}"] = value
    cases[name] = {"lr": LR, "momentum": MOMENTUM, **attributes}


def sgd(name, decay, nesterov):
    w0, g = signed("sgd/w0", COUNT), signed("sgd/g", STEPS, COUNT)
    w = torch.tensor(w0, requires_grad=True)
    optimizer = torch.optim.SGD(
        [w], lr=LR, momentum=MOMENTUM, weight_decay=decay, nesterov=nesterov, foreach=False
    )
    after = []
    for row in g:
        w.grad = torch.tensor(row)
        optimizer.step()
        after.append(w.detach().numpy().copy())
    v = optimizer.state[w]["momentum_buffer"].numpy()
    keep(name, w0, g, after, v, op="sgd", decay=decay, nesterov=nesterov)


def lars(name, decay, trust, epsilon):
    w0, g = signed("lars/w0", COUNT), signed("lars/g", STEPS, COUNT)
    w, v, after = w0.copy(), np.zeros(COUNT), []
    layers = ((slice(0, 8), True), (slice(8, COUNT), False))
    for row in g:
        for layer, adapted in layers:
            beta = decay if adapted else 0.0
            norm, slope = np.linalg.norm(w[layer]), np.linalg.norm(row[layer])
            local = trust * norm / (slope + beta * norm + epsilon) if adapted else 1.0
            v[layer] = MOMENTUM * v[layer] + LR * local * (row[layer] + beta * w[layer])
            w[layer] -= v[layer]
        after.append(w.copy())
    keep(name, w0, g, after, v, op="lars", decay=decay, trust=trust, epsilon=epsilon)


sgd("sgd", 0.0, False)
sgd("sgd_decay", 1e-2, False)
sgd("sgd_nesterov", 1e-2, True)
lars("lars", 1e-2, 0.1, 0.0)
lars("lars_epsilon", 1e-2, 0.1, 1e-1)

write("ops_optimizers.safetensors", tensors, __file__, {"torch": torch.__version__}, cases=cases)
