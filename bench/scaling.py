#!/usr/bin/env python3
"""Time of a training step and of an inference against size, batch and threads, as a plot.

    bench/scaling.py --svg bench/scaling.svg [--json RESULT.json]

Runs `fulmar bench step` for each point. Pictures are as large as the crop. Nothing else should run meanwhile.
"""

import argparse
import json
import math
import os
import subprocess

SIDES = [512, 768, 1024, 1536, 2048, 3072]
BATCHES = [1, 2, 4, 8, 16, 32]
COLOURS = {"training step": "#1664a0", "inference": "#b3541e"}
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP = 300, 300, 52, 44, 48, 28


def measure(program, side, batch, threads, inference):
    words = [program, "bench", "step", "--size", str(side), "--crop", str(side), "--batch", str(batch)]
    words += ["--threads", str(threads), "--device", "cpu", "--json", "--runs", "20" if inference else "5"]
    if inference:
        words.append("--inference")
    result = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    point = {key: result[key] for key in ("ms_per_image", "floor_ms", "peak_bytes")}
    return {"what": result["what"], "side": side, "batch": batch, "threads": threads, **point}


def measure_all(program, threads):
    points = []
    for inference in (False, True):
        batch = 1 if inference else 4
        points += [measure(program, side, batch, threads, inference) for side in SIDES]
        points += [measure(program, 1024, b, threads, inference) for b in BATCHES if b != batch]
        points += [measure(program, 1024, batch, t, inference) for t in range(1, threads)]
    return points


class Panel:
    """Axes with logarithms on both sides."""

    def __init__(self, index, title, ticks_x, name_x, low, high):
        self.left = LEFT + index * (WIDTH + LEFT + GAP)
        self.x0, self.x1 = math.log(ticks_x[0]), math.log(ticks_x[-1])
        self.y0, self.y1 = math.log(low), math.log(high)
        bottom = TOP + HEIGHT
        self.lines = [f'<text x="{self.left}" y="{TOP - 14}" font-weight="bold" fill="#222">{title}</text>']
        for tick in ticks_x:
            x = self.x(tick)
            self.lines.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#444">{tick}</text>')
        middle = self.left + WIDTH / 2
        self.lines.append(f'<text x="{middle}" y="{bottom + 36}" text-anchor="middle" fill="#444">{name_x}</text>')
        for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
            if low <= tick <= high:
                y = self.y(tick)
                line = f'<line x1="{self.left}" x2="{self.left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                label = f'<text x="{self.left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#444">{tick}</text>'
                self.lines.append(line + label)

    def x(self, value):
        span = self.x1 - self.x0
        return self.left + WIDTH * ((math.log(value) - self.x0) / span if span else 0.5)

    def y(self, value):
        return TOP + HEIGHT * (1 - (math.log(value) - self.y0) / (self.y1 - self.y0))

    def curve(self, points, colour, name):
        at = [(self.x(x), self.y(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        self.lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        self.lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in at]
        x, y = at[len(at) // 2]
        self.lines.append(f'<text x="{x:.1f}" y="{y - 10:.1f}" text-anchor="end" fill="{colour}">{name}</text>')

    def guide(self, points):
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        self.lines.append(f'<polyline points="{path}" fill="none" stroke="#888" stroke-dasharray="4 4"/>')


def plot(points, threads):
    values = [p["ms_per_image"] for p in points]
    low, high = min(values) / 1.5, max(values) * 1.5
    by_side = Panel(0, "ms per image, by size", SIDES, "side of the crop, pixels (dashed: by pixels)", low, high)
    by_batch = Panel(1, "by batch, crop 1024", BATCHES, "pictures in a batch", low, high)
    counts = list(range(1, threads + 1))
    by_threads = Panel(2, "by threads, crop 1024", counts, "threads (dashed: 1 / threads)", low, high)
    for what, name in (("step", "training step"), ("inference", "inference")):
        batch = 4 if what == "step" else 1
        of = [p for p in points if p["what"] == what]
        colour = COLOURS[name]

        def curve(panel, key, chosen):
            at = sorted((p[key], p["ms_per_image"]) for p in chosen)
            panel.curve(at, colour, name)
            return at

        sides = curve(by_side, "side", [p for p in of if p["batch"] == batch and p["threads"] == threads])
        at_1024 = dict(sides)[1024]
        by_side.guide([(side, at_1024 * (side / 1024) ** 2) for side in SIDES])
        curve(by_batch, "batch", [p for p in of if p["side"] == 1024 and p["threads"] == threads])
        ones = curve(by_threads, "threads", [p for p in of if p["side"] == 1024 and p["batch"] == batch])
        by_threads.guide([(t, ones[0][1] / t) for t in range(1, threads + 1)])
    width = 3 * (WIDTH + LEFT + GAP) + GAP
    height = TOP + HEIGHT + BOTTOM
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    lines = [head + ' role="img" font-family="sans-serif" font-size="12">']
    lines.append("<title>Time per image of a training step and an inference, by size, batch and threads</title>")
    lines.append(f'<rect width="{width}" height="{height}" fill="#fff"/>')
    for panel in (by_side, by_batch, by_threads):
        lines += panel.lines
    return "\n".join(lines) + "\n</svg>\n"


def main():
    build = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build", "release")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(build, "bin", "fulmar"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--svg", required=True)
    parser.add_argument("--json", help="write the points to this file, too")
    args = parser.parse_args()
    points = measure_all(args.program, args.threads)
    for p in points:
        print(f"{p['what']:9} side {p['side']:5} batch {p['batch']:3} threads {p['threads']}: "
              f"{p['ms_per_image']:8.2f} ms an image, floor {p['floor_ms']:.2f}, {p['peak_bytes'] / 1e6:.0f} MB")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(points, file, indent=1)
    with open(args.svg, "w") as file:
        file.write(plot(points, args.threads))


if __name__ == "__main__":
    main()
