"""Times a network's training step or inference in another framework: polar-low, ResNet-50, U-Net.

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

from torch_networks import CHARTS, CLASSES, WIDTHS, torch_network, torch_resnet, torch_unet

MODES = {
    "torch": ["eager", "channels_last", "compile", "compile_bf16"],
    "tensorflow": ["graph", "graph_avx2", "frozen", "xla", "eager"],
    "onnxruntime": ["default"],
    "openvino": ["f32", "bf16"],
}
INFERENCE_ONLY = ["onnxruntime", "openvino"]


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def status_bytes(name):
    """Of this process: VmRSS is what lies in memory now, VmHWM the most since forget_peak()."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return 0


def forget_peak(give_back=True):
    """As bench/step/resident.cpp: freed memory goes back first. Gives what is resident now."""
    if give_back:
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # then the peak is that of the whole process
    return status_bytes("VmRSS")


def noise(shape):
    """The same as bench/step/noise.cpp's: byte i is splitmix64(i mod 1000003)'s highest."""
    import formula
    import numpy as np

    bits = formula.splitmix64(np.arange(1000003, dtype=np.uint64))
    return np.resize((bits >> np.uint64(56)).astype(np.uint8), shape)


def pictures(args):
    return noise((args.batch, args.size, args.size, args.channels))


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
        grid = F.affine_grid(theta, (args.batch, args.channels, args.crop, args.crop), align_corners=True)
        # Scaled where it is smallest: sampling is linear, and outside is 0.
        x = x.permute(0, 3, 1, 2).float()
        return F.grid_sample(x, grid, padding_mode="zeros", align_corners=True) / 255

    return augment


def torch_built(torch, args):
    """The network, by a formula where results are to be compared."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    dropout = 0 if args.check else 0.5
    if args.network == "resnet-50":
        net = torch_resnet(torch)
    elif args.network == "unet":
        net = torch_unet(torch, args.widths, args.channels)
    else:
        net = torch_network(torch, False, dropout, args.widths, args.channels)
    if args.check:
        import formula

        own = args.network == "polar-low"
        (formula.set_torch if own else formula.set_torch_by_names)(net)
    return net.train(args.what == "step")


def torch_runner(args):
    import torch

    net = torch_built(torch, args)
    preprocess = torch_preprocess(torch, args)
    nhwc = args.mode != "eager"
    if nhwc:
        net = net.to(memory_format=torch.channels_last)
    inference = args.what == "inference"
    bf16 = torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.mode.endswith("bf16"))
    x = torch.from_numpy(pictures(args))
    by_pixel = args.network == "unet"
    labels = torch.arange(args.batch) % CLASSES
    if by_pixel:
        drawn = torch.from_numpy(noise((args.batch, args.crop, args.crop))).long()
        labels = [drawn % classes for classes in CHARTS.values()]
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=args.lr, weight_decay=1e-4, eps=1e-7, fused=True
    )

    def logits(x):
        y = preprocess(x)
        layout = torch.channels_last if nhwc else torch.contiguous_format
        z = net(y.contiguous(memory_format=layout))
        return [one.float() for one in z] if by_pixel else z.float()

    def loss(x):
        cross_entropy = torch.nn.functional.cross_entropy
        if by_pixel:
            return sum(cross_entropy(*pair) for pair in zip(logits(x), labels))
        return cross_entropy(logits(x), labels)

    if args.mode.startswith("compile"):
        if inference:
            # Weights become constants: packed once, normalisations folded into them.
            torch._inductor.config.freezing = True
            logits = torch.compile(logits)
        elif not args.augment:
            loss = torch.compile(loss)
        else:
            net = torch.compile(net)  # drawing the maps is numpy's

    def classes(x):
        return [one.argmax(1).to(torch.uint8) for one in logits(x)]

    if inference and by_pixel and args.mode.startswith("compile"):
        classes = torch.compile(classes)

    def infer():
        with torch.inference_mode(), bf16:
            if not by_pixel:
                return logits(x).tolist()
            if not args.check:
                return [one.numpy().max() for one in classes(x)]
            some = [one.permute(0, 2, 3, 1).flatten(0, 2)[::4096] for one in logits(x)]
            return [row for one in some for row in one.tolist()]

    def step():
        optimizer.zero_grad(set_to_none=True)
        with bf16:
            now = loss(x)
        now.backward()
        optimizer.step()
        return now.item()

    parameters = torch_parameters(net)
    return (infer if inference else step), parameters, torch.__version__


def torch_from_pictures(torch, args):
    """The network behind cropping and scaling: a module of uint8 pictures, for other runtimes."""
    crop = torch_preprocess(torch, args)

    class FromPictures(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(crop(x))

    return FromPictures(torch_built(torch, args)).eval()


def onnx_file(torch, args, path):
    shape = (args.batch, args.size, args.size, args.channels)
    example = torch.zeros(shape, dtype=torch.uint8)
    net = torch_from_pictures(torch, args)
    torch.onnx.export(net, (example,), path, dynamo=True, verbose=False, external_data=False)
    return torch_parameters(net)


def onnx_session(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])


def onnx_runner(args):
    """ONNX Runtime on the exported PyTorch network: inference only."""
    import tempfile

    import onnxruntime
    import torch

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "polar_low.onnx")
        parameters = onnx_file(torch, args, path)
        session = onnx_session(path, args.threads)
    name = session.get_inputs()[0].name
    x = pictures(args)

    def infer():
        return session.run(None, {name: x})[0].tolist()

    return infer, parameters, onnxruntime.__version__


def openvino_model(torch, openvino, args):
    shape = (args.batch, args.size, args.size, args.channels)
    example = torch.zeros(shape, dtype=torch.uint8)
    net = torch_from_pictures(torch, args)
    model = openvino.convert_model(net, example_input=example, input=(shape, openvino.Type.u8))
    return model, torch_parameters(net)


def openvino_compiled(openvino, model, threads, mode, **more):
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if mode == "bf16" else "f32",
        **more,
    }
    return openvino.Core().compile_model(model, "CPU", settings)


def openvino_runner(args):
    """OpenVINO on the PyTorch network: inference only."""
    import openvino
    import torch

    model, parameters = openvino_model(torch, openvino, args)
    request = openvino_compiled(openvino, model, args.threads, args.mode).create_infer_request()
    x = pictures(args)

    def infer():
        result = request.infer([x], share_inputs=True, share_outputs=True)
        return result[0].tolist()

    return infer, parameters, openvino.__version__.partition("-")[0]


# ---- TensorFlow


def tensorflow_network(tf, args):
    layers = tf.keras.layers
    inputs = tf.keras.Input((args.crop, args.crop, args.channels))
    norm_relu = lambda x: layers.ReLU()(layers.BatchNormalization()(x))
    x = norm_relu(layers.Conv2D(args.widths[0], 3, strides=2, padding="same")(inputs))
    for width in args.widths:
        skip = layers.Conv2D(width, 1)(x[:, ::2, ::2])
        for _ in range(2):
            x = norm_relu(layers.SeparableConv2D(width, 3, padding="same")(x))
        x = layers.add([layers.MaxPooling2D(3, strides=2, padding="same")(x), skip])
    x = norm_relu(layers.SeparableConv2D(2 * args.widths[-1], 3, padding="same")(x))
    x = layers.Dropout(0 if args.check else 0.5)(layers.GlobalAveragePooling2D()(x))
    return tf.keras.Model(inputs, layers.Dense(CLASSES)(x))


def tensorflow_frozen(tf, infer, x):
    """Weights as constants, so that TensorFlow folds normalisations into convolutions."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = tf.function(infer).get_concrete_function(tf.TensorSpec(x.shape, x.dtype))
    return convert_variables_to_constants_v2(function)


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
    if args.check:
        import formula

        formula.set_keras(net)
    optimizer = tf.keras.optimizers.AdamW(args.lr, weight_decay=1e-4, jit_compile=False)
    optimizer.build(net.trainable_variables)
    x = tf.constant(pictures(args))
    labels = tf.one_hot(np.arange(args.batch) % CLASSES, CLASSES)
    at, rng = (args.size - args.crop) // 2, np.random.default_rng(2)

    def preprocess(x, maps):
        if maps is None:
            return tf.cast(x[:, at : at + args.crop, at : at + args.crop], tf.float32) / 255
        sampled = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(x, tf.float32),
            transforms=maps,
            output_shape=[args.crop, args.crop],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )
        return sampled / 255

    def infer(x, maps):
        return net(preprocess(x, maps), training=False)

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
    if args.mode == "frozen":
        frozen = tensorflow_frozen(tf, lambda x: infer(x, None), x)
        body = lambda x, maps: frozen(x)[0]

    def once():
        maps = None
        if args.augment:
            m = augmentation_maps(np, rng, args).reshape(args.batch, 6)
            maps = tf.constant(np.pad(m, ((0, 0), (0, 2))), tf.float32)
        return body(x, maps).numpy().tolist()

    return once, net.count_params(), tf.__version__


RUNNERS = {
    "torch": torch_runner,
    "tensorflow": tensorflow_runner,
    "onnxruntime": onnx_runner,
    "openvino": openvino_runner,
}


# ---- Running


def say(**what):
    print(json.dumps(what), flush=True)


def timed(once, times):
    """Milliseconds of each of so many calls, and the loss of the last; not a number is an error."""
    spent = []
    for _ in range(times):
        at = time.perf_counter()
        value = once()
        spent.append((time.perf_counter() - at) * 1e3)
        if "nan" in str(value).lower():
            sys.exit("the run gave NaN: its time means nothing")
    return spent, value


def serve(once, args, what):
    """Takes turns with others: alternate.py says how."""
    before = forget_peak()
    begin = time.perf_counter()
    timed(once, args.warmup)
    peak = status_bytes("VmHWM")
    forget_peak(give_back=False)  # or the first round would take it again
    say(ready=True, **what, first_s=round(time.perf_counter() - begin, 2))
    for _ in sys.stdin:
        spent, value = timed(once, args.repeat)
        loss = value if args.what == "step" else 0
        say(ms_per_step=statistics.median(spent), ms_min=min(spent), loss=loss)
    warm = status_bytes("VmHWM")
    # Compilers and tuners need more in the first step than the steps after it do.
    say(peak_bytes=max(peak, warm) - before, peak_bytes_warm=warm - before)


def whole_numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["step", "inference"])
    parser.add_argument("--framework", choices=MODES, required=True)
    parser.add_argument("--mode", help="; ".join(f"{f}: {', '.join(m)}" for f, m in MODES.items()))
    parser.add_argument("--network", choices=["polar-low", "resnet-50", "unet"], default="polar-low")
    parser.add_argument("--size", type=int, default=1536)
    parser.add_argument("--crop", type=int, default=1024)
    parser.add_argument("--channels", type=int, default=3, help="of the pictures")
    parser.add_argument("--widths", type=whole_numbers, help="of polar-low, unet")
    parser.add_argument("--batch", type=int, help="16 for step, 1 for inference")
    parser.add_argument("--augment", action="store_true", help="the published augmentation")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help="rounds of --repeat, for alternate.py")
    parser.add_argument(
        "--check",
        action="store_true",
        help="weights by a formula and no dropout: the losses of the first --repeat steps, or the "
        "logits, as bench_step --check gives them",
    )
    args = parser.parse_args()
    args.mode = args.mode or MODES[args.framework][0]
    if args.framework == "tensorflow" and args.network != "polar-low":
        parser.error("TensorFlow's twin is of the polar-low network")
    args.widths = args.widths or ([16, 32, 64, 64] if args.network == "unet" else WIDTHS)
    args.batch = args.batch or (1 if args.what == "inference" else 16)
    if args.mode not in MODES[args.framework]:
        parser.error(f"--mode of {args.framework} is one of {', '.join(MODES[args.framework])}")
    if args.what == "step" and (args.framework in INFERENCE_ONLY or args.mode == "frozen"):
        parser.error(f"{args.framework}, {args.mode} is timed in inference only")
    if args.what == "inference" and args.augment:
        parser.error("--augment belongs to step")

    once, parameters, version = RUNNERS[args.framework](args)
    what = {
        "network": args.network,
        "what": args.what,
        "framework": args.framework,
        "version": version,
        "mode": args.mode,
        "size": args.size,
        "crop": args.crop,
        "channels": args.channels,
        "widths": args.widths,
        "batch": args.batch,
        "augment": args.augment,
        "threads": args.threads,
        "parameters": parameters,
    }
    if args.check:
        if args.what == "step":
            say(**what, losses=[once() for _ in range(args.repeat)])
        else:
            say(**what, logits=[number for row in once() for number in row])
        return
    if args.serve:
        serve(once, args, what)
        return
    before = forget_peak()
    first, _ = timed(once, 1)
    if args.warmup > 1:
        timed(once, args.warmup - 1)
    spent, value = timed(once, args.repeat)
    say(
        **what,
        ms_per_image=round(statistics.median(spent) / args.batch, 2),
        ms_per_image_min=round(min(spent) / args.batch, 2),
        ms_per_image_max=round(max(spent) / args.batch, 2),
        first_s=round(first[0] / 1e3, 2),
        peak_bytes=status_bytes("VmHWM") - before,
        loss=value if args.what == "step" else None,
    )


if __name__ == "__main__":
    main()
