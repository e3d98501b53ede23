"""Times integrated gradients of the polar-low network in Captum, on the CPU, beside bench_explain.

Prints one line of JSON for each layout and internal batch size over a few steps, and one of all
steps with the fastest of them. The network has random weights: time doesn't depend on them.
"""

import argparse
import json
import time
import warnings

import numpy as np
import step as peers
import torch
from captum.attr import IntegratedGradients


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--trial-steps", type=int, default=16)
    parser.add_argument("--size", type=int, default=1536)
    parser.add_argument("--crop", type=int, default=1024)
    parser.add_argument("--batches", default="1,2,4,8")
    args = parser.parse_args()
    args.batch, args.augment, args.channels = 1, False, 3
    warnings.filterwarnings("ignore")
    crop = peers.torch_preprocess(torch, args)
    x = crop(torch.from_numpy(peers.pictures(args))).contiguous()

    def run(layout, batch, steps):
        net = peers.torch_network(torch).eval()
        sample = x
        if layout == "channels_last":
            net = net.to(memory_format=torch.channels_last)
            sample = x.to(memory_format=torch.channels_last)
        for parameter in net.parameters():
            parameter.requires_grad_(False)
        start = time.perf_counter()
        IntegratedGradients(net).attribute(
            sample,
            torch.zeros_like(sample),
            target=1,
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=batch,
        )
        return time.perf_counter() - start

    run("nchw", 1, 2)  # warm-up
    best = None
    for layout in ("nchw", "channels_last"):
        for batch in map(int, args.batches.split(",")):
            seconds = run(layout, batch, args.trial_steps)
            result = {
                "framework": "captum",
                "layout": layout,
                "internal_batch_size": batch,
                "steps": args.trial_steps,
                "seconds": seconds,
                "ms_per_step": 1000 * seconds / args.trial_steps,
            }
            print(json.dumps(result), flush=True)
            if best is None or result["ms_per_step"] < best["ms_per_step"]:
                best = result
    seconds = run(best["layout"], best["internal_batch_size"], args.steps)
    best |= {
        "steps": args.steps,
        "seconds": seconds,
        "ms_per_step": 1000 * seconds / args.steps,
        "peak_rss_mb": peers.peak_mb(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    print(json.dumps(best))


main()
