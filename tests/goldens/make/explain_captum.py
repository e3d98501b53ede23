"""Goldens of attribution methods from Captum in float64: the polar-low network of narrow widths in
eval mode at crop 64, and logit 1 of one picture. Single-threaded, so that a rerun gives the same
bits."""

import captum
import numpy as np
import torch
from captum.attr import (
    GuidedBackprop,
    IntegratedGradients,
    LayerGradCam,
    Occlusion,
    Saliency,
)

from common import WIDTHS, network_input, parameters, summary, write
from polar_low_net import PolarLow, to_torch

CROP, TARGET, LAYER, STEPS = 64, 1, 4, 12
WINDOW, STRIDE = 16, 8
SEED = 245  # of the polar_low_torch_eval golden


class Net(torch.nn.Module):
    """The network with its rectifiers as modules, which Captum hooks."""

    def __init__(self, p):
        super().__init__()
        self.rectifiers = torch.nn.ModuleList(torch.nn.ReLU() for _ in range(16))
        self.net = PolarLow(p, train=False)
        self.net.rectify = lambda x, index: self.rectifiers[index](x)

    def forward(self, x):
        return self.net(x.permute(0, 2, 3, 1))


def nhwc(value):
    return np.ascontiguousarray(value.detach().permute(0, 2, 3, 1).numpy())


def main():
    torch.set_num_threads(1)
    net = Net(to_torch(parameters(WIDTHS["narrow"])))
    # Rounded to float32, which explanations take.
    x = torch.tensor(network_input(SEED, 1, CROP).astype(np.float32).astype(np.float64))
    x = x.permute(0, 3, 1, 2).contiguous()
    logits = net(x).detach().numpy()
    margins = {"relu": net.net.relu_margin, "pool": net.net.pool_margin}
    black = torch.zeros_like(x)
    ig = lambda rule: IntegratedGradients(net).attribute(
        x, black, target=TARGET, n_steps=STEPS, method=rule, internal_batch_size=4
    )
    occlusion = Occlusion(net).attribute(
        x,
        sliding_window_shapes=(3, WINDOW, WINDOW),
        strides=(3, STRIDE, STRIDE),
        baselines=black,
        target=TARGET,
    )
    maps = {
        "saliency": Saliency(net).attribute(x, target=TARGET, abs=False),
        "guided-backprop": GuidedBackprop(net).attribute(x, target=TARGET),
        "integrated-gradients/gauss-legendre": ig("gausslegendre"),
        "integrated-gradients/midpoint": ig("riemann_middle"),
        # Captum's weights of the trapezoid add up to (n - 1) / n.
        "integrated-gradients/trapezoid": ig("riemann_trapezoid") * STEPS / (STEPS - 1),
        "grad-cam": LayerGradCam(net, net.rectifiers[LAYER]).attribute(
            x, target=TARGET, relu_attributions=False
        ),
        "occlusion": occlusion[:, :1],  # the same for each band
    }
    out = {"logits": logits}
    for name, value in maps.items():
        value = nhwc(value)
        out[f"summary/{name}"] = summary(name, value)
        if name in ("grad-cam", "occlusion"):
            out[name] = value[:, ::STRIDE, ::STRIDE] if name == "occlusion" else value
    write(
        "explain_captum.safetensors",
        out,
        __file__,
        {"torch": torch.__version__, "captum": captum.__version__},
        dtype="float64",
        widths=WIDTHS["narrow"],
        crop=CROP,
        batch=1,
        seed=SEED,
        target=TARGET,
        activation=LAYER,
        steps=STEPS,
        window=WINDOW,
        stride=STRIDE,
        margins=margins,
    )


main()
