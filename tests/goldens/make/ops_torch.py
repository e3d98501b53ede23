"""Op goldens from PyTorch in float64: one case per row of a table, tensors "<case>/<role>",
attributes as JSON in the metadata under "cases". Activations are NHWC, weights HWIO, depthwise
weights [kh,kw,C].
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from common import signed, u, write

tensors, cases = {}, {}


def nchw(t):
    return t.permute(0, 3, 1, 2)


def back(t):
    return t.permute(0, 2, 3, 1)


def case(name, op, inputs, f, **attributes):
    """Runs f on the inputs (dict role -> array); stores them, y, a dy by the formula, d<role> of
    each input, and values that f returns beside y (without gradient)."""
    leaves = {
        role: torch.tensor(
            v, dtype=torch.float64, requires_grad=role not in ("running_mean", "running_variance")
        )
        for role, v in inputs.items()
    }
    result = f(**leaves)
    y, extra = result if isinstance(result, tuple) else (result, {})
    dy = torch.tensor(signed(f"{name}/dy", *y.shape))
    wrt = [r for r in leaves if leaves[r].requires_grad]
    gradients = torch.autograd.grad(y, [leaves[r] for r in wrt], dy)
    store = {**inputs, "y": y, "dy": dy, **{f"d{r}": g for r, g in zip(wrt, gradients)}, **extra}
    for role, value in store.items():
        value = value.detach().numpy() if isinstance(value, torch.Tensor) else value
        tensors[f"{name}/{role}"] = np.array(value, dtype=np.float64)
    assert name not in cases
    cases[name] = {"op": op, **attributes}


def x_for(name, *shape):
    return signed(f"{name}/x", *shape)


def conv(
    name, x, kernel, cout, stride=(1, 1), dilation=(1, 1), padding=(0, 0, 0, 0), groups=1, bias=True
):
    top, bottom, left, right = padding

    def f(x, w, b=None):
        x = F.pad(nchw(x), (left, right, top, bottom))
        return back(F.conv2d(x, w.permute(3, 2, 0, 1), b, stride, 0, dilation, groups))

    inputs = {"x": x_for(name, *x), "w": signed(f"{name}/w", *kernel, x[3] // groups, cout)}
    if bias:
        inputs["b"] = signed(f"{name}/b", cout)
    case(
        name, "conv2d", inputs, f, stride=stride, dilation=dilation, padding=padding, groups=groups
    )


def depthwise(name, x, kernel, stride=(1, 1), dilation=(1, 1), padding=(0, 0, 0, 0)):
    top, bottom, left, right = padding

    def f(x, w):
        x = F.pad(nchw(x), (left, right, top, bottom))
        return back(
            F.conv2d(x, w.permute(2, 0, 1).unsqueeze(1), None, stride, 0, dilation, x.shape[1])
        )

    case(
        name,
        "depthwise_conv2d",
        {"x": x_for(name, *x), "w": signed(f"{name}/w", *kernel, x[3])},
        f,
        stride=stride,
        dilation=dilation,
        padding=padding,
    )


# padding is top, bottom, left, right
conv("conv_1x1", (2, 5, 4, 3), (1, 1), 5)
conv("conv_1x1_stride2", (2, 5, 6, 8), (1, 1), 4, stride=(2, 2))
conv("conv_3x3_same", (2, 6, 5, 3), (3, 3), 4, padding=(1, 1, 1, 1))
conv("conv_3x3_valid_no_bias", (2, 6, 5, 3), (3, 3), 4, bias=False)
conv("conv_3x3_same_stride2_even", (2, 8, 6, 3), (3, 3), 8, (2, 2), padding=(0, 1, 0, 1))
conv("conv_3x3_same_stride2_odd", (2, 7, 5, 3), (3, 3), 4, (2, 2), padding=(1, 1, 1, 1))
conv("conv_3x3_one_pixel", (2, 1, 1, 4), (3, 3), 5, padding=(1, 1, 1, 1))
conv("conv_3x3_one_channel", (2, 6, 6, 1), (3, 3), 1, padding=(1, 1, 1, 1))
conv("conv_2x2_stride2", (2, 6, 7, 3), (2, 2), 4, (2, 2))
conv("conv_2x2_stride3", (2, 8, 8, 3), (2, 2), 4, (3, 3))
conv("conv_2x2_same", (1, 5, 4, 3), (2, 2), 4, padding=(0, 1, 0, 1))
conv("conv_5x5_dilated2", (1, 11, 10, 2), (5, 5), 3, dilation=(2, 2), padding=(4, 4, 4, 4))
conv("conv_7x7_stride2", (1, 12, 11, 2), (7, 7), 3, (2, 2), padding=(2, 3, 3, 3))
conv("conv_3x3_groups2", (2, 5, 6, 6), (3, 3), 4, padding=(1, 1, 1, 1), groups=2)
conv(
    "conv_3x3_groups3_dilated",
    (2, 7, 6, 6),
    (3, 3),
    9,
    dilation=(2, 1),
    padding=(2, 2, 1, 1),
    groups=3,
)
conv("conv_1x3", (2, 4, 6, 3), (1, 3), 4, padding=(0, 0, 1, 1))
conv(
    "conv_5x2_mixed", (2, 9, 8, 3), (5, 2), 4, stride=(3, 2), dilation=(1, 3), padding=(3, 0, 1, 2)
)
conv("conv_3x3_wide", (1, 4, 4, 17), (3, 3), 19, padding=(1, 1, 1, 1))

depthwise("depthwise_3x3_same", (2, 6, 5, 8), (3, 3), padding=(1, 1, 1, 1))
depthwise("depthwise_3x3_one_pixel", (2, 1, 1, 5), (3, 3), padding=(1, 1, 1, 1))
depthwise("depthwise_3x3_stride2", (2, 8, 7, 4), (3, 3), (2, 2), padding=(0, 1, 1, 1))
depthwise("depthwise_5x5_dilated2", (1, 11, 9, 3), (5, 5), dilation=(2, 2), padding=(4, 4, 4, 4))
depthwise("depthwise_2x3_mixed", (2, 7, 8, 3), (2, 3), (3, 2), padding=(1, 0, 0, 2))
depthwise("depthwise_7x7", (1, 9, 8, 17), (7, 7), padding=(3, 3, 3, 3))


def batch_norm(name, shape, train, epsilon=1e-3, momentum=0.99):
    c = shape[-1]

    def f(x, gamma, beta, running_mean, running_variance):
        mean, variance = running_mean.clone(), running_variance.clone()
        rows = x.reshape(-1, c)
        y = F.batch_norm(rows, mean, variance, gamma, beta, train, 1 - momentum, epsilon)
        if not train:
            return y.reshape(x.shape)
        biased = momentum * running_variance + (1 - momentum) * rows.var(0, unbiased=False)
        return y.reshape(x.shape), {
            "running_mean_after": mean,
            "running_variance_after": variance,
            "running_variance_after_biased": biased,
        }

    inputs = {
        "x": 3 * x_for(name, *shape) + signed(f"{name}/shift", c),
        "gamma": 0.5 + u(f"{name}/gamma", c),
        "beta": signed(f"{name}/beta", c),
        "running_mean": signed(f"{name}/mean", c),
        "running_variance": 0.5 + u(f"{name}/var", c),
    }
    case(
        name,
        "batch_norm_train" if train else "batch_norm_eval",
        inputs,
        f,
        epsilon=epsilon,
        momentum=momentum,
    )


for train in (True, False):
    mode = "train" if train else "eval"
    batch_norm(f"batch_norm_{mode}", (2, 4, 5, 6), train)
    batch_norm(f"batch_norm_{mode}_two_values", (2, 1, 1, 5), train)
    batch_norm(f"batch_norm_{mode}_odd_channels", (3, 3, 2, 17), train, 1e-5, 0.9)

UNARY = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "abs": torch.abs,
    "neg": torch.neg,
    "reciprocal": torch.reciprocal,
    "elu": lambda x: F.elu(x, 0.5),
    "selu": F.selu,
    "relu6": lambda x: F.relu6(2 * x),
    # F.hardsigmoid's gradient has 1/6 in float32.
    "hard_sigmoid": lambda x: torch.clamp(x / 6 + 0.5, 0, 1),
    "silu": F.silu,
    "gelu": F.gelu,
    "erf": torch.erf,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "global_max_pool": lambda x: torch.amax(x, (1, 2), keepdim=True),
}
for op, f in UNARY.items():
    shape = (2, 3, 4, 5)
    value = (
        0.2 + 3 * u(f"{op}/x", *shape)
        if op in ("log", "sqrt", "reciprocal")
        else (4 * signed(f"{op}/x", *shape))
    )
    case(op, op, {"x": value}, lambda x, f=f: f(x))
for tag, a, b, f in (
    ("", (5, 7), (7, 3), lambda a, b: a @ b),
    ("_transposed_a", (7, 5), (7, 3), lambda a, b: a.T @ b),
    ("_transposed_b", (5, 7), (3, 7), lambda a, b: a @ b.T),
    ("_transposed_both", (7, 5), (3, 7), lambda a, b: a.T @ b.T),
):
    name = f"product{tag}"
    case(name, name, {"a": signed(f"{name}/a", *a), "b": signed(f"{name}/b", *b)}, f)
case(
    "prelu",
    "prelu",
    {"x": 4 * signed("prelu/x", 2, 3, 4, 5), "a": signed("prelu/a", 5)},
    lambda x, a: torch.where(x > 0, x, a * x),
)
# Far out, where a naive exp overflows or cancels. softplus switches to x in PyTorch above its
# threshold of 20, so its far row is computed as max(x, 0) + log1p(exp(-|x|)).
FAR = np.array([-800.0, -745.0, -100.0, -40.0, -21.0, -1e-9, 1e-9, 21.0, 40.0, 100.0, 745.0, 800.0])
FAR_F = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: torch.clamp(x, min=0) + torch.log1p(torch.exp(-x.abs())),
}
for op, f in FAR_F.items():
    case(f"{op}_far", op, {"x": FAR.reshape(1, 1, 3, 4)}, lambda x, f=f: f(x))


def max_pool(name, x, kernel, stride, padding):
    top, bottom, left, right = padding

    def f(x):
        x = F.pad(nchw(x), (left, right, top, bottom), value=-math.inf)
        return back(F.max_pool2d(x, kernel, stride))

    case(
        name, "max_pool2d", {"x": x_for(name, *x)}, f, kernel=kernel, stride=stride, padding=padding
    )


def average_pool(name, x, kernel, stride, padding):
    """The mean over the pixels inside the picture (count_include_pad false)."""
    top, bottom, left, right = padding

    def f(x):
        pads = (left, right, top, bottom)
        count = F.avg_pool2d(F.pad(torch.ones_like(nchw(x)), pads), kernel, stride)
        return back(F.avg_pool2d(F.pad(nchw(x), pads), kernel, stride) / count)

    case(
        name,
        "average_pool2d",
        {"x": x_for(name, *x)},
        f,
        kernel=kernel,
        stride=stride,
        padding=padding,
    )


for kind, pool in (("max_pool", max_pool), ("average_pool", average_pool)):
    pool(f"{kind}_3x3_same_even", (2, 8, 6, 4), (3, 3), (2, 2), (0, 1, 0, 1))
    pool(f"{kind}_3x3_same_odd", (2, 7, 5, 4), (3, 3), (2, 2), (1, 1, 1, 1))
    pool(f"{kind}_3x3_one_pixel", (2, 1, 1, 3), (3, 3), (2, 2), (1, 1, 1, 1))
    pool(f"{kind}_2x2", (2, 6, 7, 5), (2, 2), (2, 2), (0, 0, 0, 0))
    pool(f"{kind}_2x2_stride3", (2, 8, 8, 3), (2, 2), (3, 3), (0, 0, 0, 0))
    pool(f"{kind}_3x2_stride1", (1, 5, 6, 17), (3, 2), (1, 1), (1, 1, 1, 0))
case(
    "global_average_pool",
    "global_average_pool",
    {"x": x_for("global_average_pool", 2, 4, 5, 6)},
    lambda x: x.mean((1, 2)),
)


def resize(name, x, size, mode, corners):
    def f(x):
        if mode == "bilinear":
            return back(F.interpolate(nchw(x), size, mode="bilinear", align_corners=corners))
        return back(F.interpolate(nchw(x), size, mode="nearest-exact"))

    case(name, f"resize_{mode}", {"x": x_for(name, *x)}, f, size=size, align_corners=corners)


for tag, x, size in (
    ("up", (2, 4, 5, 3), (9, 8)),
    ("down", (2, 9, 8, 3), (4, 5)),
    ("double", (1, 3, 4, 2), (6, 8)),
    ("mixed", (1, 7, 3, 2), (3, 7)),
    ("from_one", (2, 1, 1, 3), (3, 2)),
    ("to_one", (1, 5, 4, 3), (1, 1)),
):
    resize(f"resize_bilinear_{tag}", x, size, "bilinear", False)
    resize(f"resize_nearest_{tag}", x, size, "nearest", False)
    resize(f"resize_bilinear_corners_{tag}", x, size, "bilinear", True)

case("softmax", "softmax", {"x": 5 * x_for("softmax", 2, 3, 4, 5)}, lambda x: F.softmax(x, -1))
case("softmax_two", "softmax", {"x": 5 * x_for("softmax_two", 4, 2)}, lambda x: F.softmax(x, -1))
case(
    "softmax_large",
    "softmax",
    {"x": 800 + 3 * x_for("softmax_large", 3, 6)},
    lambda x: F.softmax(x, -1),
)
case(
    "dense",
    "dense",
    {"x": x_for("dense", 3, 7), "w": signed("dense/w", 7, 4), "b": signed("dense/b", 4)},
    lambda x, w, b: x @ w + b,
)
case(
    "dense_wide",
    "dense",
    {
        "x": x_for("dense_wide", 5, 19),
        "w": signed("dense_wide/w", 19, 17),
        "b": signed("dense_wide/b", 17),
    },
    lambda x, w, b: x @ w + b,
)
case(
    "concat",
    "concat",
    {f"x{i}": signed(f"concat/x{i}", 2, 3, 4, c) for i, c in enumerate((1, 5, 3))},
    lambda x0, x1, x2: torch.cat((x0, x1, x2), -1),
    axis=3,
)

BINARY = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}
BROADCAST = {
    "same": (2, 3, 4, 5),
    "channel": (5,),
    "channel4": (1, 1, 1, 5),
    "image": (2, 1, 1, 5),
    "pixel": (2, 3, 4, 1),
    "scalar": (1,),
}
for op, f in BINARY.items():
    for tag, shape in BROADCAST.items():
        name = f"{op}_{tag}"
        second = signed(f"{name}/b", *shape)
        if op == "div":
            second = np.where(second < 0, -1.0, 1.0) * (0.3 + np.abs(second))
        case(
            name, op, {"a": signed(f"{name}/a", 2, 3, 4, 5), "b": second}, lambda a, b, f=f: f(a, b)
        )


def cross_entropy(
    name,
    x,
    labels=None,
    soft=None,
    smoothing=0.0,
    class_weights=None,
    pixel_weights=None,
    ignored=None,
):
    """Row losses l_i = pixel_weight_i * (-sum_c w_c q_ic log p_ic), q = (1 - smoothing) target +
    smoothing/K, 0 where the label is ignored: PyTorch's cross_entropy with reduction 'none', times
    the pixel weight. Stored: rows, their sum and its gradient dx_sum. The mean that PyTorch takes
    is sum / weight_sum, with weight_sum = sum of w[label] over what is not ignored for index
    labels, the number of rows for soft ones (it knows no pixel weights); dx = dx_sum /
    weight_sum."""
    logits = torch.tensor(x, requires_grad=True)
    k = x.shape[-1]
    flat = logits.reshape(-1, k)
    weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float64)
    target = (
        torch.tensor(soft).reshape(-1, k)
        if soft is not None
        else torch.tensor(labels.reshape(-1), dtype=torch.int64)
    )
    options = dict(weight=weight, label_smoothing=smoothing)
    if ignored is not None:
        options["ignore_index"] = ignored
    rows = F.cross_entropy(flat, target, reduction="none", **options)
    mean = F.cross_entropy(flat, target, **options)
    if pixel_weights is not None:
        rows = rows * torch.tensor(pixel_weights.reshape(-1))
    (dx,) = torch.autograd.grad(rows.sum(), logits)
    weight_sum = float(len(rows))
    if soft is None:
        kept = target[target != ignored] if ignored is not None else target
        weight_sum = float(len(kept) if weight is None else weight[kept].sum())
    if pixel_weights is None:
        assert abs(rows.sum().item() / weight_sum - mean.item()) < 1e-12
    out = {
        "x": x,
        "rows": rows.detach().numpy().reshape(x.shape[:-1]),
        "dx_sum": dx.numpy(),
        "sum": np.array([rows.sum().item()]),
        "weight_sum": np.array([weight_sum]),
    }
    if labels is not None:
        out["labels"] = labels.astype(np.int32)
    if soft is not None:
        out["soft"] = soft
    if class_weights is not None:
        out["class_weights"] = np.array(class_weights)
    if pixel_weights is not None:
        out["pixel_weights"] = pixel_weights
    for role, value in out.items():
        tensors[f"{name}/{role}"] = value
    cases[name] = {
        "op": "cross_entropy",
        "label_smoothing": smoothing,
        "ignored_index": ignored,
        "labels": "index" if soft is None else "soft",
    }


def index_labels(name, shape, k):
    return np.floor(u(f"{name}/labels", *shape) * k).astype(np.int32)


def soft_labels(name, shape, k):
    raw = u(f"{name}/soft", *shape, k) + 0.05
    return raw / raw.sum(-1, keepdims=True)


def loss_cases():
    k, shape = 4, (2, 3, 5)
    weights = [0.5, 2.0, 1.25, 0.75]

    def one(tag, soft=False, ignore=None, pixels=False, shape=shape, scale=4.0, **options):
        name = f"cross_entropy_{tag}"
        x = scale * x_for(name, *shape, k)
        target = {}
        if soft:
            target["soft"] = soft_labels(name, shape, k)
        else:
            labels = index_labels(name, shape, k)
            if ignore is not None:
                labels[u(f"{name}/ignored", *shape) < 0.3] = ignore
            target["labels"] = labels
        if pixels:
            target["pixel_weights"] = u(f"{name}/pixel_weights", *shape)
        cross_entropy(name, x, ignored=ignore, **target, **options)

    one("index", shape=(3,))
    one("index_map")
    one("soft", soft=True)
    one("smoothing", smoothing=0.1)
    one("smoothing_soft", soft=True, smoothing=0.1)
    one("class_weights", class_weights=weights)
    one("class_weights_soft", soft=True, class_weights=weights)
    one("class_weights_smoothing", smoothing=0.1, class_weights=weights)
    one("ignored", ignore=255)
    one("ignored_negative", ignore=-1)
    one("pixel_weights", pixels=True)
    one("everything", pixels=True, ignore=255, smoothing=0.05, class_weights=weights)
    one("large_logits", scale=800.0)


loss_cases()


def adamw(name, decay):
    """Five steps of torch.optim.AdamW on 12 elements; the gradients span 1e-9 .. 1, where the place
    of epsilon shows. Tensors: w0 [12], g [5,12], w [5,12] (after each step), m and v (after the
    last).
    """
    w0 = signed("adamw/w0", 12)
    g = signed("adamw/g", 5, 12) * 10.0 ** -np.array([0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 8, 9])
    w = torch.tensor(w0, requires_grad=True)
    optimizer = torch.optim.AdamW(
        [w], lr=1e-3, betas=(0.9, 0.999), eps=1e-7, weight_decay=decay, foreach=False
    )
    after = []
    for row in g:
        w.grad = torch.tensor(row)
        optimizer.step()
        after.append(w.detach().numpy().copy())
    state = optimizer.state[w]
    for role, value in {
        "w0": w0,
        "g": g,
        "w": np.array(after),
        "m": state["exp_avg"].numpy(),
        "v": state["exp_avg_sq"].numpy(),
    }.items():
        tensors[f"{name}/{role}"] = value
    cases[name] = {
        "op": "adamw",
        "form": "torch",
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-7,
        "decay": decay,
        "decay_scaled_by_lr": True,
        "epsilon_placement": "torch",
    }


adamw("adamw_torch", 0.0)
adamw("adamw_torch_decay", 1e-2)

write("ops.safetensors", tensors, __file__, {"torch": torch.__version__}, cases=cases)
