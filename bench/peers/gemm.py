"""Times the dense products of the polar-low network in PyTorch, on the CPU: bench_gemm's peer.

One line a product: median GFLOP/s of the forward product as torch.mm and as a channels_last 1x1
convolution, and of the input and weight gradients as torch.mm.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

# Name, pixels a side, input and output channels: as in bench/gemm.cpp.
PRODUCTS = [
    ("block 3 second", 128, 32, 32),
    ("block 4 first", 64, 32, 64),
    ("block 4 second", 64, 64, 64),
    ("block 5 first", 32, 64, 128),
    ("block 5 second", 32, 128, 128),
    ("block 6 first", 16, 128, 256),
    ("block 6 second", 16, 256, 256),
    ("block 7 first", 8, 256, 512),
    ("block 7 second", 8, 512, 512),
    ("tail", 4, 512, 1024),
]


def median_seconds(budget, body):
    body()
    times = []
    begin = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begin < budget:
        start = time.perf_counter()
        body()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=0.1, help="time spent on each")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, batch {args.batch}, {args.threads} threads. GFLOP/s")
    print(f"{'product':34} | forward mm | forward conv | input mm | weight mm")
    for name, side, inputs, outputs in PRODUCTS:
        rows = args.batch * side * side
        x, dy = torch.randn(rows, inputs), torch.randn(rows, outputs)
        w, bias = torch.randn(inputs, outputs), torch.randn(outputs)
        y, dx, dw = torch.empty_like(dy), torch.empty_like(x), torch.empty_like(w)
        image = x.view(args.batch, side, side, inputs).permute(0, 3, 1, 2)
        kernel = w.t().reshape(outputs, inputs, 1, 1).contiguous(memory_format=torch.channels_last)
        bodies = [
            lambda: torch.mm(x, w, out=y),
            lambda: F.conv2d(image, kernel, bias),
            lambda: torch.mm(dy, w.t(), out=dx),
            lambda: torch.mm(x.t(), dy, out=dw),
        ]
        flop = 2 * rows * inputs * outputs
        with torch.no_grad():
            rates = [flop / median_seconds(args.seconds, body) / 1e9 for body in bodies]
        cells = " | ".join(f"{rate:8.1f}" for rate in rates)
        print(f"{name:14} {side:4}^2 {inputs:4} -> {outputs:<4} | {cells}")


if __name__ == "__main__":
    main()
