#!/usr/bin/env python3
"""`fulmar predict` of a whole scene beside PyTorch on the same tiles, in turns.

    T/bin/python bench/peers/scene.py --program build/release/bin/fulmar \\
        --ours build/release/bench/bench_step

The scene is a TIFF of bytes that this makes, the network step.py's U-Net with weights by a formula.
Ours is the whole command: a new process, the file read part by part, maps and pictures written.
PyTorch has the scene in memory and writes nothing: tiles, probabilities, their weighted sums, and
each pixel's class. Prints a line of JSON; the classes' maps must be the same but for ties.
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import step  # noqa: E402

STRIDE = 16  # of the U-Net's coarsest level


def write_scene(path, scene):
    """A TIFF of bytes, pixel by pixel, in strips of a row."""
    height, width, bands = scene.shape
    strip = width * bands
    offsets = [8 + row * strip for row in range(height)]
    at = 8 + height * strip
    at += at % 2
    tables = struct.pack(f"<{height}I", *offsets) + struct.pack(f"<{bands}H", *[8] * bands)
    bits = at + height * 4
    counts = bits + bands * 2
    extra = counts + height * 4
    formats = extra + (bands - 1) * 2
    tables += struct.pack(f"<{height}I", *[strip] * height)
    tables += struct.pack(f"<{bands - 1}H", *[0] * (bands - 1))
    tables += struct.pack(f"<{bands}H", *[1] * bands)
    short, long = 3, 4
    entries = [
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, bands, bits),
        (259, short, 1, 1),
        (262, short, 1, 1),
        (273, long, height, at),
        (277, short, 1, bands),
        (278, long, 1, 1),
        (279, long, height, counts),
        (284, short, 1, 1),
        (338, short, bands - 1, extra),
        (339, short, bands, formats),
    ]
    ifd = formats + bands * 2
    with open(path, "wb") as file:
        file.write(struct.pack("<2sHI", b"II", 42, ifd))
        scene.tofile(file)
        file.write(b"\0" * (at - file.tell()))
        file.write(tables)
        file.write(struct.pack("<H", len(entries)))
        for entry in entries:
            file.write(struct.pack("<HHII", *entry))
        file.write(struct.pack("<I", 0))


def spans(extent, tile, halo):
    """As model::scene_spans: start and end of what a tile sees, and of what it decides."""
    core = (tile - 2 * halo) // STRIDE * STRIDE
    found = []
    for own in range(0, extent, core):
        end = min(own + core, extent)
        found.append([max(0, own - halo), min(extent, end + halo), own, end])
        if found[-1][1] == extent and extent - end <= halo // 2:
            found[-1][3] = extent
            break
    return found


def weights(np, span, extent):
    """As tools/run/scene_map.cpp: falling towards where a neighbour goes on."""
    start, end, own_start, own_end = span
    along = np.ones(end - start, np.float32)
    for around, cells in ((own_start - start, along), (end - own_end, along[::-1])):
        if around > 0 and (cells is along or own_end < extent):
            ramp = (np.arange(min(2 * around, len(along))) + 0.5) / (2 * around)
            cells[: len(ramp)] *= ramp.astype(np.float32)
    return along


def torch_mapper(torch, np, args, scene):
    import torch.nn.functional as F

    args.check, args.what, args.network, args.widths = True, "inference", "unet", [16, 32, 64, 64]
    net = step.torch_built(torch, args).to(memory_format=torch.channels_last)

    def probabilities(x):
        y = x.permute(0, 3, 1, 2).float() / 255
        y = y.contiguous(memory_format=torch.channels_last)
        return [F.softmax(z, 1)[0].permute(1, 2, 0).contiguous() for z in net(y)]

    if args.mode == "compile":
        torch._inductor.config.freezing = True
        probabilities = torch.compile(probabilities, dynamic=False)
    height, width, _ = scene.shape
    rows, columns = (spans(extent, args.tile, args.tile // 8) for extent in (height, width))
    classes = list(step.CHARTS.values())

    def run():
        sums = [torch.zeros(height, width, k) for k in classes]
        with torch.inference_mode():
            for row in rows:
                down = torch.from_numpy(weights(np, row, height))[:, None, None]
                for column in columns:
                    across = torch.from_numpy(weights(np, column, width))[None, :, None]
                    part = torch.from_numpy(scene[row[0] : row[1], column[0] : column[1]])[None]
                    h, w = part.shape[1:3]
                    part = F.pad(part, (0, 0, 0, -w % STRIDE, 0, -h % STRIDE))
                    for total, p in zip(sums, probabilities(part)):
                        total[row[0] : row[1], column[0] : column[1]] += p[:h, :w] * (down * across)
            return [total.argmax(2).to(torch.uint8).numpy() for total in sums]

    return run


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--program", required=True, help="fulmar")
    parser.add_argument("--ours", required=True, help="bench_step, which writes the model")
    parser.add_argument("--mode", choices=["channels_last", "compile"], default="channels_last")
    parser.add_argument("--height", type=int, default=5000)
    parser.add_argument("--width", type=int, default=5200)
    parser.add_argument("--channels", type=int, default=18)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    import numpy as np
    import torch
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    scene = step.noise((args.height, args.width, args.channels))
    with tempfile.TemporaryDirectory() as folder:
        path, model = f"{folder}/scene.tif", f"{folder}/unet.safetensors"
        write_scene(path, scene)
        made = [args.ours, "--network", "unet", "--channels", str(args.channels), "--batch", "1"]
        made += ["--size", str(args.tile), "--crop", str(args.tile), "--inference", "--check"]
        made += ["--runs", "1", "--save", model]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        command = [args.program, "predict", model, path, "--out", f"{folder}/maps"]
        command += ["--tile", str(args.tile), "--threads", str(args.threads), "--device", "cpu"]

        def ours():
            begin = time.perf_counter()
            null = subprocess.DEVNULL
            subprocess.run(command, check=True, stdout=null, stderr=null)
            return time.perf_counter() - begin

        theirs = torch_mapper(torch, np, args, scene)
        small = torch_mapper(torch, np, args, scene[: args.tile, : args.tile])
        small()  # warm
        seconds = {"fulmar": [], "torch": []}
        for _ in range(args.rounds):
            seconds["fulmar"].append(ours())
            begin = time.perf_counter()
            maps = theirs()
            seconds["torch"].append(time.perf_counter() - begin)
        differ = [
            float((np.asarray(Image.open(f"{folder}/maps/scene.{name}.tif")) != map_).mean())
            for name, map_ in zip(step.CHARTS, maps)
        ]
    megapixels = args.height * args.width / 1e6
    print(
        json.dumps(
            {
                "mode": args.mode,
                "version": torch.__version__,
                "seconds": seconds,
                "megapixels_per_second": {
                    name: megapixels / statistics.median(all_) for name, all_ in seconds.items()
                },
                "ratio": statistics.median(
                    b / a for a, b in zip(seconds["fulmar"], seconds["torch"])
                ),
                "pixels_that_differ": max(differ),
            }
        )
    )


if __name__ == "__main__":
    main()
