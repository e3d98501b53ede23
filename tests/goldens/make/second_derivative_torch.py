"""A second derivative from PyTorch in float64: the gradient of S = sum((d logit / d input)^2) by
all weights of a small smooth network. NHWC [2,9,7,3]: conv 3x3 stride 2 'same' to 4 -> tanh ->
depthwise 3x3 'same' -> softplus -> conv 1x1 to 5 -> sigmoid -> global average pool -> dense to 2 ->
logit 1, summed over the batch."""

import torch
import torch.nn.functional as F

from common import signed, u, write
from polar_low_net import nhwc, pad_same

SHAPES = {
    "conv/kernel": (3, 3, 3, 4),
    "conv/bias": (4,),
    "depthwise/kernel": (3, 3, 4),
    "pointwise/kernel": (1, 1, 4, 5),
    "pointwise/bias": (5,),
    "dense/kernel": (5, 2),
    "dense/bias": (2,),
}

torch.set_num_threads(1)
x = torch.tensor(u("smooth/input", 2, 9, 7, 3), requires_grad=True)
w = {
    name: torch.tensor(signed(f"smooth/{name}", *shape), requires_grad=True)
    for name, shape in SHAPES.items()
}

h = pad_same(x.permute(0, 3, 1, 2), 3, 2)
h = torch.tanh(F.conv2d(h, w["conv/kernel"].permute(3, 2, 0, 1), w["conv/bias"], 2))
h = F.conv2d(h, w["depthwise/kernel"].permute(2, 0, 1).unsqueeze(1), padding=1, groups=4)
h = F.conv2d(F.softplus(h), w["pointwise/kernel"].permute(3, 2, 0, 1), w["pointwise/bias"])
logits = torch.sigmoid(h).mean((2, 3)) @ w["dense/kernel"] + w["dense/bias"]
(first,) = torch.autograd.grad(logits[:, 1].sum(), x, create_graph=True)
total = first.square().sum()
# Neither dense/bias nor the other logit's column reaches S: their gradients are exact zeros.
second = torch.autograd.grad(total, [x, *w.values()], materialize_grads=True)

out = {
    "input": x.detach().numpy(),
    "logits": nhwc(logits),
    "input_gradient": first.detach().numpy(),
    "sum": total.detach().numpy().reshape(1),
    "gradient/input": second[0].numpy(),
}
for (name, value), g in zip(w.items(), second[1:]):
    out[f"weight/{name}"] = value.detach().numpy()
    out[f"gradient/{name}"] = g.numpy()
write(
    "second_derivative.safetensors",
    out,
    __file__,
    {"torch": torch.__version__},
    dtype="float64",
    weights='2u("smooth/<name>", i) - 1; input u("smooth/input", i)',
)
