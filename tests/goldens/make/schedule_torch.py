"""Learning rates of PyTorch's OneCycleLR (cosine, two phases), of a linear warm-up followed by
CosineAnnealingLR, and of CosineAnnealingWarmRestarts, as JSON. Tried with torch 2.15.0.
"""

import json
import warnings
from pathlib import Path

import torch
from torch.optim.lr_scheduler import (CosineAnnealingLR, CosineAnnealingWarmRestarts,
                                      OneCycleLR)

OUT = Path(__file__).resolve().parent.parent
warnings.simplefilter("ignore")  # the optimizer is never stepped


def rates(scheduler, optimizer, steps):
    out = []
    for _ in range(steps):
        out.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    return out


def one_cycle(max_rate, steps, share, start, end):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = OneCycleLR(optimizer, max_rate, total_steps=steps, pct_start=share, div_factor=start,
                           final_div_factor=end, cycle_momentum=False)
    return {"max_rate": max_rate, "steps": steps, "warmup_share": share, "start_divisor": start,
            "end_divisor": end, "rates": rates(scheduler, optimizer, steps)}


def cosine(max_rate, steps, end_rate):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=max_rate)
    scheduler = CosineAnnealingLR(optimizer, T_max=steps, eta_min=end_rate)
    return {"max_rate": max_rate, "steps": steps, "end_rate": end_rate,
            "rates": rates(scheduler, optimizer, steps)}


def restarts(max_rate, period, factor, end_rate, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=max_rate)
    scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=period, T_mult=factor, eta_min=end_rate)
    return {"max_rate": max_rate, "period": period, "factor": factor, "end_rate": end_rate,
            "rates": rates(scheduler, optimizer, steps)}


text = json.dumps({
    "made with": "torch " + torch.__version__,
    "one_cycle": [one_cycle(0.01, 20, 0.3, 25.0, 1e4), one_cycle(3e-3, 37, 0.25, 10.0, 100.0),
                  one_cycle(1.0, 5, 0.5, 25.0, 1e4)],
    "cosine": [cosine(1e-3, 20, 0.0), cosine(0.5, 11, 0.01)],
    "restarts": [restarts(1e-3, 7, 1, 0.0, 20), restarts(0.5, 3, 2, 0.01, 25)],
})
(OUT / "schedule_torch.json").write_text(text + "\n")
print(len(text), "bytes")
