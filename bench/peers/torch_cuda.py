"""PyTorch's training step of the polar-low network on a GPU, beside bench_step's.

Both start from the same uint8 batch in device memory and do augmentation (or a centre crop),
forward, backward and AdamW. Prints a line of JSON when ready, then one for each line on stdin: a
round of --repeat steps that each look at the loss (ms_per_step, their median), and one of as many
that look at it at the end (ms_per_step_free, of all together, so that the host can run ahead); at
the end of stdin one with memory. `alternate.py` takes turns.

--check: weights by a formula, no dropout, and the losses of the first --repeat steps, to be compared
with bench_step --check's.
"""

import argparse
import contextlib
import json
import statistics
import sys
import time

import formula
import numpy as np
import step as peers
import torch
import torch.nn.functional as F

MODES = ["eager", "compile", "autotune"]
# bf16: autocast over fp32 weights. bf16_weights: the network in bf16 but for its normalisations,
# fp32 masters in the optimizer, cast after each step.
PRECISIONS = ["fp32", "tf32", "bf16", "bf16_weights"]


class Step:
    def __init__(self, args):
        self.args = args
        cuda = args.device == "cuda"
        device = torch.device(args.device)
        torch.manual_seed(0)
        tf32 = args.precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        # On a CPU the strided skip crashes oneDNN (README.md).
        net = peers.torch_network(torch, strided_skip=cuda, dropout=0 if args.check else 0.5)
        if args.check:
            formula.set_torch(net)
        net = net.to(device, memory_format=torch.channels_last).train()
        self.masters = None
        weights = list(net.parameters())
        if args.precision == "bf16_weights":
            # Of a module: its masters stay fp32 in the optimizer, the network computes with casts.
            self.masters = [w.detach().clone() for w in weights]
            for master in self.masters:
                master.grad = torch.zeros_like(master)
            for module in net.modules():
                if not isinstance(module, torch.nn.BatchNorm2d):
                    for parameter in module.parameters(recurse=False):
                        parameter.data = parameter.data.bfloat16()
        self.weights = weights
        # The pictures are rounded before they are padded: the first convolution would do it after.
        self.low = torch.bfloat16 if args.precision.startswith("bf16") else None
        self.autocast = args.precision == "bf16"
        self.optimizer = torch.optim.AdamW(
            self.masters or weights, lr=args.lr, weight_decay=1e-4, eps=1e-7, fused=True
        )
        self.x = torch.from_numpy(peers.pictures(args)).to(device)
        self.labels = (torch.arange(args.batch) % peers.CLASSES).to(device)
        self.theta = torch.empty(args.batch, 2, 3, device=device) if args.augment else None
        self.rng = np.random.default_rng(2)
        self.maps = self.drawn_maps()
        self.net = net
        self.forward = self.loss
        if args.mode != "eager":
            # Both make CUDA graphs; autotune also tries Triton's convolutions and products.
            how = "max-autotune" if args.mode == "autotune" else "reduce-overhead"
            self.forward = torch.compile(self.loss, mode=how)
            # Its graphs read these where they lie, without a copy each step.
            for tensor in [self.x, self.labels] + ([self.theta] if args.augment else []):
                torch._dynamo.mark_static_address(tensor)

    def loss(self, x, theta, labels):
        args = self.args
        # Scaled where it is smallest: sampling is linear, and what lies outside is 0.
        if theta is None:
            at = (args.size - args.crop) // 2
            y = x[:, at : at + args.crop, at : at + args.crop].permute(0, 3, 1, 2).float()
        else:
            grid = F.affine_grid(theta, (args.batch, 3, args.crop, args.crop), align_corners=True)
            y = F.grid_sample(
                x.permute(0, 3, 1, 2).float(), grid, padding_mode="zeros", align_corners=True
            )
        y = (y * (1 / 255)).to(self.low or y.dtype, memory_format=torch.channels_last)
        cast = (
            torch.autocast(args.device, dtype=torch.bfloat16)
            if self.autocast
            else contextlib.nullcontext()
        )
        with cast:
            logits = self.net(y)
        return F.cross_entropy(logits.float(), labels)

    def drawn_maps(self):
        """The next step's; pinned, so that their copy doesn't wait for the GPU."""
        if not self.args.augment:
            return None
        maps = torch.from_numpy(peers.torch_maps(np, self.rng, self.args))
        return maps.pin_memory() if self.args.device == "cuda" else maps

    def run(self):
        """The loss, on the device: where it is not looked at, the GPU may still be at work."""
        if self.args.augment:
            self.theta.copy_(self.maps, non_blocking=True)
        for weight in self.weights:
            weight.grad = None
        loss = self.forward(self.x, self.theta, self.labels)
        loss.backward()
        if self.masters is None:
            self.optimizer.step()
        else:
            gradients = [weight.grad for weight in self.weights]
            torch._foreach_copy_([master.grad for master in self.masters], gradients)
            self.optimizer.step()
            with torch.no_grad():
                torch._foreach_copy_([w.data for w in self.weights], self.masters)
        self.maps = self.drawn_maps()  # beside the GPU, as ours does
        return loss.detach()


def say(**what):
    print(json.dumps(what), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--mode", default="eager", choices=MODES)
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS)
    parser.add_argument("--size", type=int, default=1536)
    parser.add_argument("--crop", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--augment", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=20, help="steps in a round")
    args = parser.parse_args()
    args.channels, args.widths = 3, peers.WIDTHS
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch_cuda.py: PyTorch finds no GPU")
    cuda = args.device == "cuda"
    named = {
        "name": torch.cuda.get_device_name() if cuda else "cpu",
        "framework": f"torch {torch.__version__}",
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "mode": args.mode,
        "precision": args.precision,
        "augment": args.augment,
        "size": args.size,
        "crop": args.crop,
        "batch": args.batch,
    }
    begin = time.perf_counter()
    step = Step(args)
    if args.check:
        say(**named, losses=[step.run().item() for _ in range(args.repeat)])
        return
    # Compiled: one compiles, one records the graphs, one replays them for the first time.
    warmup = args.warmup + (2 if args.mode != "eager" else 0)
    losses = [step.run().item() for _ in range(warmup)]
    if cuda:
        # What autotuning tried is not what the step needs; what it needs it takes in another step.
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        step.run().item()
    say(ready=True, **named, start_s=round(time.perf_counter() - begin, 1), losses=losses[:3])
    for _ in sys.stdin:
        times, losses = [], []
        for _ in range(args.repeat):
            start = time.perf_counter()
            losses.append(step.run().item())  # waits, as ours does to look at the loss
            times.append((time.perf_counter() - start) * 1e3)
        start = time.perf_counter()
        for _ in range(args.repeat):
            loss = step.run()
        losses.append(loss.item())
        free = (time.perf_counter() - start) * 1e3 / args.repeat
        if any(v != v for v in losses):
            sys.exit("torch_cuda.py: the loss is NaN: the times mean nothing")
        say(
            ms_per_step=statistics.median(times),
            ms_per_step_free=free,
            ms_min=min(times),
            loss=losses[-1],
        )
    last = {}
    if args.mode != "eager":
        counted = torch._dynamo.utils.counters
        last["cudagraph_skips"] = counted["inductor"]["cudagraph_skips"]
        last["graph_breaks"] = sum(counted["graph_break"].values())
    if cuda:
        last["peak_allocated_bytes"] = torch.cuda.max_memory_allocated()
        last["peak_reserved_bytes"] = torch.cuda.max_memory_reserved()
    else:
        last["peak_allocated_bytes"] = int(peers.peak_mb() * 2**20)
    say(**last)


if __name__ == "__main__":
    main()
