"""Times the polar-low network's training step or inference in another framework.

Prints one line of JSON. Frameworks are imported only when asked for, so that one script serves all
environments (README.md). The batch is uint8 pictures in memory; a step crops (or augments), scales,
runs forward and backward and AdamW. PyTorch on a GPU (--device cuda) is in torch_cuda.py.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time

WIDTHS = [8, 16, 32, 64, 128, 256, 512]
CLASSES = 2
MODES = {
    "torch": ["eager", "channels_last", "compile", "compile_bf16"],
    "tensorflow": ["graph", "graph_avx2", "xla", "eager"],
    "onnxruntime": ["default"],
}


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def splitmix64(np, x):
    """Of an array of uint64; arithmetic wraps around."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def pictures(args):
    """Noise, the same as bench/step.cpp's: byte i is the highest of splitmix64(i mod 1000003)."""
    import numpy as np

    period = (splitmix64(np, np.arange(1000003, dtype=np.uint64)) >> np.uint64(56)).astype(np.uint8)
    return np.resize(period, (args.batch, args.size, args.size, 3))


def augmentation_maps(np, rng, args):
    """Composed maps, crop pixel -> picture pixel, one 2x3 a sample: the published ranges."""
    size, crop, n = args.size, args.crop, args.batch
    centre = (size - 1) / 2
    shift = rng.uniform(-0.1, 0.1, (n, 2)) * size
    flip = np.where(rng.random((n, 2)) < 0.5, -1.0, 1.0)
    angle = rng.uniform(-0.4, 0.4, n) * 2 * np.pi
    zoom = rng.uniform(0.85, 1.15, n)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1)
    linear = flip[:, :, None] * turn.reshape(n, 2, 2) * zoom[:, None, None]
    start = (size - crop) // 2 - centre
    offset = linear.sum(-1) * start + centre - shift
    return np.concatenate([linear, offset[:, :, None]], -1)


# ---- PyTorch


def torch_network(torch, strided_skip=False, dropout=0.5):
    """`strided_skip`: the published 1x1 convolution of stride 2, else the same arithmetic on a slice.
    A 1x1 of stride 1 on it, since oneDNN corrupts the heap on the strided one (README.md)."""
    import torch.nn.functional as F
    from torch import nn

    class Separable(nn.Module):
        def __init__(self, cin, cout):
            super().__init__()
            self.depthwise = nn.Conv2d(cin, cin, 3, padding=1, groups=cin, bias=False)
            self.pointwise = nn.Conv2d(cin, cout, 1)
            self.norm = nn.BatchNorm2d(cout, eps=1e-3, momentum=0.01)

        def forward(self, x):
            return F.relu(self.norm(self.pointwise(self.depthwise(x))))

    class Block(nn.Module):
        def __init__(self, cin, cout):
            super().__init__()
            self.main = nn.Sequential(Separable(cin, cout), Separable(cout, cout))
            self.skip = nn.Conv2d(cin, cout, 1, stride=2 if strided_skip else 1)

        def forward(self, x):
            # On even sizes ceil_mode is 'same'.
            pooled = F.max_pool2d(self.main(x), 3, 2, ceil_mode=True)
            return pooled + self.skip(x if strided_skip else x[:, :, ::2, ::2])

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, WIDTHS[0], 3, 2)
            self.norm = nn.BatchNorm2d(WIDTHS[0], eps=1e-3, momentum=0.01)
            cins = [WIDTHS[0]] + WIDTHS
            self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(cins, WIDTHS)))
            self.last = Separable(WIDTHS[-1], 2 * WIDTHS[-1])
            self.dropout = nn.Dropout(dropout)
            self.dense = nn.Linear(2 * WIDTHS[-1], CLASSES)

        def forward(self, x):
            x = F.relu(self.norm(self.stem(F.pad(x, (0, 1, 0, 1)))))
            return self.dense(self.dropout(self.last(self.blocks(x)).mean((2, 3))))

    return Net()


def torch_parameters(net):
    """As Keras counts them: running statistics included."""
    tensors = [*net.parameters(), *(b for n, b in net.named_buffers() if "running" in n)]
    return sum(t.numel() for t in tensors)


def torch_maps(np, rng, args):
    """What affine_grid takes: normalised coordinates (align_corners: -1, 1 are pixel centres)."""
    s, c = args.size, args.crop
    m = augmentation_maps(np, rng, args)
    linear, offset = m[:, :, :2], m[:, :, 2]
    scaled = linear * (c - 1) / (s - 1)
    shifted = (linear.sum(-1) * (c - 1) / 2 + offset) * 2 / (s - 1) - 1
    return np.concatenate([scaled, shifted[:, :, None]], -1).astype(np.float32)


def torch_preprocess(torch, args):
    import torch.nn.functional as F

    at = (args.size - args.crop) // 2

    def crop(x):
        return x[:, at : at + args.crop, at : at + args.crop].permute(0, 3, 1, 2).float() / 255

    if not args.augment:
        return crop
    import numpy as np

    rng = np.random.default_rng(2)

    def augment(x):
        theta = torch.from_numpy(torch_maps(np, rng, args))
        grid = F.affine_grid(theta, (args.batch, 3, args.crop, args.crop), align_corners=True)
        x = x.permute(0, 3, 1, 2).float() / 255
        return F.grid_sample(x, grid, padding_mode="zeros", align_corners=True)

    return augment


def torch_runner(args):
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    net = torch_network(torch)
    preprocess = torch_preprocess(torch, args)
    nhwc = args.mode != "eager"
    if nhwc:
        net = net.to(memory_format=torch.channels_last)
    inference = args.what == "inference"
    net.train(not inference)
    run = torch.compile(net) if args.mode.startswith("compile") else net
    bf16 = torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.mode.endswith("bf16"))
    x = torch.from_numpy(pictures(args))
    labels = torch.arange(args.batch) % CLASSES
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)

    def prepared():
        y = preprocess(x)
        return y.contiguous(memory_format=torch.channels_last) if nhwc else y.contiguous()

    def infer():
        with torch.inference_mode(), bf16:
            return torch.softmax(run(prepared()), 1).float().sum().item()

    def step():
        optimizer.zero_grad(set_to_none=True)
        with bf16:
            loss = torch.nn.functional.cross_entropy(run(prepared()), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return (infer if inference else step), torch_parameters(net), torch.__version__


def onnx_runner(args):
    """ONNX Runtime on the exported PyTorch network: inference only."""
    import tempfile

    import numpy as np
    import onnxruntime
    import torch

    net = torch_network(torch).eval()
    shape = (args.batch, 3, args.crop, args.crop)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "polar_low.onnx")
        torch.onnx.export(net, (torch.zeros(shape),), path, dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    x = pictures(args)
    at = (args.size - args.crop) // 2

    def infer():
        y = x[:, at : at + args.crop, at : at + args.crop].transpose(0, 3, 1, 2)
        y = np.multiply(y, np.float32(1 / 255), dtype=np.float32)
        return float(session.run(None, {name: y})[0].sum())

    return infer, torch_parameters(net), onnxruntime.__version__


# ---- TensorFlow


def tensorflow_network(tf, args):
    layers = tf.keras.layers
    inputs = tf.keras.Input((args.crop, args.crop, 3))
    norm_relu = lambda x: layers.ReLU()(layers.BatchNormalization()(x))
    x = norm_relu(layers.Conv2D(WIDTHS[0], 3, strides=2, padding="same")(inputs))
    for width in WIDTHS:
        skip = layers.Conv2D(width, 1)(x[:, ::2, ::2])
        for _ in range(2):
            x = norm_relu(layers.SeparableConv2D(width, 3, padding="same")(x))
        x = layers.add([layers.MaxPooling2D(3, strides=2, padding="same")(x), skip])
    x = norm_relu(layers.SeparableConv2D(2 * WIDTHS[-1], 3, padding="same")(x))
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    return tf.keras.Model(inputs, layers.Dense(CLASSES)(x))


def tensorflow_runner(args):
    if args.mode == "graph_avx2":
        os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    tf.keras.utils.set_random_seed(0)
    net = tensorflow_network(tf, args)
    optimizer = tf.keras.optimizers.AdamW(1e-3, weight_decay=1e-4, jit_compile=False)
    optimizer.build(net.trainable_variables)
    x = tf.constant(pictures(args))
    labels = tf.one_hot(np.arange(args.batch) % CLASSES, CLASSES)
    at, rng = (args.size - args.crop) // 2, np.random.default_rng(2)

    def preprocess(x, maps):
        if maps is None:
            return tf.cast(x[:, at : at + args.crop, at : at + args.crop], tf.float32) / 255
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(x, tf.float32) / 255,
            transforms=maps,
            output_shape=[args.crop, args.crop],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )

    def infer(x, maps):
        return tf.reduce_sum(tf.nn.softmax(net(preprocess(x, maps), training=False)))

    def step(x, maps):
        with tf.GradientTape() as tape:
            logits = net(preprocess(x, maps), training=True)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits))
        variables = net.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return loss

    body = infer if args.what == "inference" else step
    if args.mode != "eager":
        body = tf.function(body, jit_compile=args.mode == "xla")

    def once():
        maps = None
        if args.augment:
            m = augmentation_maps(np, rng, args).reshape(args.batch, 6)
            maps = tf.constant(np.pad(m, ((0, 0), (0, 2))), tf.float32)
        return float(body(x, maps).numpy())

    return once, net.count_params(), tf.__version__


RUNNERS = {"torch": torch_runner, "tensorflow": tensorflow_runner, "onnxruntime": onnx_runner}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["step", "inference"])
    parser.add_argument("--framework", choices=MODES, required=True)
    parser.add_argument("--mode", help="; ".join(f"{f}: {', '.join(m)}" for f, m in MODES.items()))
    parser.add_argument("--size", type=int, default=1536)
    parser.add_argument("--crop", type=int, default=1024)
    parser.add_argument("--batch", type=int, help="16 for step, 1 for inference")
    parser.add_argument("--augment", action="store_true", help="the published augmentation")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    args.mode = args.mode or MODES[args.framework][0]
    args.batch = args.batch or (1 if args.what == "inference" else 16)
    if args.mode not in MODES[args.framework]:
        parser.error(f"--mode of {args.framework} is one of {', '.join(MODES[args.framework])}")
    if args.framework == "onnxruntime" and args.what == "step":
        parser.error("ONNX Runtime is timed in inference only")
    if args.what == "inference" and args.augment:
        parser.error("--augment belongs to step")

    once, parameters, version = RUNNERS[args.framework](args)
    started = peak_mb()
    at = time.perf_counter()
    values = [once()]
    first = time.perf_counter() - at
    for _ in range(args.warmup - 1):
        values.append(once())
    times = []
    for _ in range(args.repeat):
        at = time.perf_counter()
        values.append(once())
        times.append((time.perf_counter() - at) * 1e3 / args.batch)
    if any(v != v for v in values):
        sys.exit(f"the {args.framework} run gave NaN: its time means nothing")
    print(
        json.dumps(
            {
                "what": args.what,
                "framework": args.framework,
                "version": version,
                "mode": args.mode,
                "size": args.size,
                "crop": args.crop,
                "batch": args.batch,
                "augment": args.augment,
                "threads": args.threads,
                "parameters": parameters,
                "ms_per_image": round(statistics.median(times), 2),
                "ms_per_image_min": round(min(times), 2),
                "ms_per_image_max": round(max(times), 2),
                "first_s": round(first, 2),
                "peak_rss_mb": round(peak_mb()),
                "rss_before_first_mb": round(started),
                "values": [round(v, 4) for v in values],
            }
        )
    )


if __name__ == "__main__":
    main()
