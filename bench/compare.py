#!/usr/bin/env python3
"""Our training step and inference beside other frameworks', taking turns in one run.

    bench/compare.py --torch T/bin/python --tensorflow K/bin/python [--json RESULT.json]

The interpreters are those of the environments that peers/README.md makes; a peer that is not given,
or fails, is named and left out. First each program says what it makes of the same weights and
pictures, and one that differs by more than 1e-3 (bf16: 0.1) is left out. Then they take turns: a
round of each, over and over; ratios are medians over the rounds. At last each predicts one picture
from a cold process.
"""

import argparse
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.join(HERE, "peers")
sys.path.insert(0, PEERS)
import alternate  # noqa: E402

# Framework, mode, the environment that has it, whether it computes in bf16.
STEP = [
    ("tensorflow", "graph", "tensorflow", False),
    ("tensorflow", "graph_avx2", "tensorflow", False),
    ("torch", "eager", "torch", False),
    ("torch", "channels_last", "torch", False),
    ("torch", "compile", "torch", False),
    ("torch", "compile_bf16", "torch", True),
]
INFERENCE = [
    ("openvino", "f32", "torch", False),
    ("onnxruntime", "default", "torch", False),
    ("tensorflow", "frozen", "tensorflow", False),
    ("torch", "channels_last", "torch", False),
    ("torch", "compile", "torch", False),
    ("openvino", "bf16", "torch", True),
]
COLD = [
    ("openvino", "torch"),
    ("onnxruntime", "torch"),
    ("tensorflow", "tensorflow"),
    ("torch", "torch"),
]
# Who has a twin of a network.
NETWORKS = {
    "polar-low": ["tensorflow", "torch", "onnxruntime", "openvino"],
    "resnet-50": ["torch", "onnxruntime", "openvino"],
    "unet": ["torch"],
}
# Pictures' side, the crop's, bands.
SIZES = {"polar-low": (1536, 1024, 3), "resnet-50": (224, 224, 3), "unet": (256, 256, 24)}
BOUND, BOUND_BF16 = 1e-3, 1e-1


def say(text):
    print(text, file=sys.stderr, flush=True)


def lines_of(command, seconds):
    """The last line of JSON that a command prints, or why there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except OSError as error:
        return None, str(error)
    except subprocess.TimeoutExpired:
        return None, f"no answer within {seconds:.0f} s"
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode == 0 and found:
        return json.loads(found[-1]), None
    last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
    return None, f"ended with {done.returncode}: " + " ".join(last)[:200]


def difference(ours, theirs):
    """The largest, relative to our largest number."""
    if len(ours) != len(theirs):
        return float("inf")
    largest = max(abs(a) for a in ours)
    worst = max(abs(a - b) for a, b in zip(ours, theirs))
    return worst / largest if worst == worst else float("inf")


class Comparison:
    def __init__(self, args):
        self.args = args
        self.result = {
            "network": args.network,
            "size": args.size,
            "crop": args.crop,
            "channels": args.channels,
            "widths": args.widths,
            "threads": args.threads,
            "rounds": args.rounds,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        self.shape = ["--size", str(args.size), "--crop", str(args.crop)]
        self.shape += ["--threads", str(args.threads)]
        self.network = ["--network", args.network, "--channels", str(args.channels)]
        if args.widths:
            self.network += ["--widths", args.widths]

    def save(self):
        if self.args.json:
            with open(self.args.json + ".part", "w") as file:
                json.dump(self.result, file, indent=1)
            os.replace(self.args.json + ".part", self.args.json)

    def ours(self, what, precision):
        command = [self.args.ours, *self.network, *self.shape, "--batch", str(self.batch(what))]
        command += ["--precision", precision] if precision != "fp32" else []
        return command + (["--inference"] if what == "inference" else [])

    def batch(self, what):
        return 1 if what == "inference" else self.args.batch

    def commands(self, what, augment=False):
        """Of each program: label, command, whether it computes in bf16. Ours comes first."""
        more = ["--augment"] if augment else []
        list_ = [("fulmar", self.ours(what, "fp32") + more, False)]
        if self.args.bf16:
            list_.append(("fulmar bf16", self.ours(what, "bf16") + more, True))
        for framework, mode, where, bf16 in INFERENCE if what == "inference" else STEP:
            python = getattr(self.args, where)
            label = f"{framework} {mode}"
            if not python:
                say(f"{label} is left out: no --{where}")
                self.result.setdefault(what, {}).setdefault("left_out", {})[label] = (
                    f"no --{where} was given"
                )
                continue
            if framework not in NETWORKS[self.args.network]:
                self.leave_out(what, label, f"it has no twin of {self.args.network}")
                continue
            command = [python, os.path.join(PEERS, "step.py"), what, "--framework", framework]
            command += self.network
            command += ["--mode", mode, *self.shape, "--batch", str(self.batch(what))]
            list_.append((label, command + more, bf16))
        return list_

    def leave_out(self, what, label, why):
        say(f"{label} is left out of {what}: {why}")
        self.result.setdefault(what, {}).setdefault("left_out", {})[label] = why

    def checked(self, what, programs):
        """Those that give our results, with how far they are from them."""
        good, ours = [], None
        for label, command, bf16 in programs:
            steps = "--runs" if label.startswith("fulmar") else "--repeat"
            plain = [word for word in command if word != "--augment"]  # draws differ
            say(f"checking {label}")
            check = ["--check", steps, "3", "--lr", "1e-5"]
            answer, why = lines_of(plain + check, self.args.start_seconds)
            if answer is None:
                self.leave_out(what, label, why)
                continue
            values = answer["logits" if what == "inference" else "losses"]
            if ours is None:
                if label != "fulmar":
                    sys.exit("compare.py: without our own results there is nothing to compare")
                ours = values
            far = difference(ours, values)
            if not far <= (BOUND_BF16 if bf16 else BOUND):
                self.leave_out(what, label, f"its result differs by {far:.1e}")
                continue
            good.append((label, command, far, answer.get("version")))
        return good

    def warm(self, what):
        args = self.args
        programs = self.commands(what, args.augment and what == "step")
        good = self.checked(what, programs)
        runs = args.runs if what == "step" else args.inference_runs
        plans = []
        for label, command, _, _ in good:
            count = "--runs" if label.startswith("fulmar") else "--repeat"
            plans.append(
                {
                    "label": label,
                    "command": command + ["--serve", "--warmup", "2", count, str(runs)],
                    "start_seconds": args.start_seconds,
                }
            )
        section = self.result.setdefault(what, {})
        section["batch"] = self.batch(what)

        def save(results):
            section["programs"] = alternate.summed_up(results)
            self.save()

        say(f"{what}: {args.rounds} rounds of {runs} by {len(plans)} programs")
        results = alternate.run(plans, args.rounds, args.seconds, save)
        for result, (_, _, far, version) in zip(results, good):
            result["difference"] = far
            if version:
                result["version"] = version
            if "ms_per_step" in result:
                result["images_per_second"] = 1e3 * self.batch(what) / result["ms_per_step"]
        save(results)

    def floor(self, what):
        """The machine's floor, alone on the machine."""
        command = [self.args.program, "bench", "step", *self.network, *self.shape]
        command += ["--json", "--stages", "--device", "cpu", "--batch", str(self.batch(what))]
        command += ["--inference"] if what == "inference" else []
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
            floor = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            self.leave_out(what, "the floor", str(error))
            return
        self.result[what]["floor"] = floor
        self.save()

    def cold(self):
        with tempfile.TemporaryDirectory() as folder:
            self.cold_in(folder)

    def cold_in(self, folder):
        args = self.args
        picture = args.picture or os.path.join(folder, "picture.png")
        if not args.picture:
            write_picture(picture, args.size)
        model = os.path.join(folder, "polar_low.safetensors")
        threads = ["--threads", str(args.threads)]
        saved = [args.ours, "--inference", "--check", "--runs", "1", "--save", model, *self.shape]
        _, why = lines_of(saved + ["--batch", "1"], args.start_seconds)
        if why:
            self.leave_out("cold", "fulmar", why)
            return
        ours = [args.program, "predict", model, picture, "--json", "--device", "cpu", *threads]
        programs = [("fulmar", ours)]
        for framework, where in COLD:
            python = getattr(args, where)
            if not python:
                self.leave_out("cold", framework, f"no --{where} was given")
                continue
            script = [python, os.path.join(PEERS, "cold.py")]
            own = os.path.join(folder, framework)
            os.mkdir(own)
            about = ["--framework", framework, *self.shape]
            say(f"preparing {framework}")
            try:
                done = subprocess.run(
                    script + ["prepare", own, *about],
                    capture_output=True,
                    text=True,
                    timeout=args.start_seconds,
                )
                why = done.stderr.strip().splitlines()[-1:] if done.returncode else None
            except (OSError, subprocess.TimeoutExpired) as error:
                why = [str(error)]
            if why is not None:
                self.leave_out("cold", framework, " ".join(why)[:200])
                continue
            programs.append((framework, script + ["predict", own, picture, *about]))
        self.time_cold(programs)

    def time_cold(self, programs):
        section = self.result.setdefault("cold", {})
        results, ours = {}, None
        for label, command in programs:  # not counted: files come into memory, caches are filled
            answer, why = lines_of(command, self.args.start_seconds)
            if answer is None:
                self.leave_out("cold", label, why)
                continue
            ours = ours or answer["logits"]
            far = difference(ours, answer["logits"])
            if not far <= BOUND:
                self.leave_out("cold", label, f"its result differs by {far:.1e}")
                continue
            results[label] = {"label": label, "difference": far, "rounds": []}
        for _ in range(self.args.cold_rounds):
            for label, command in programs:
                if label in results:
                    spent = seconds_to_answer(command)
                    results[label]["rounds"].append({"ms_per_step": spent * 1e3})
        section["programs"] = alternate.summed_up(list(results.values()))
        self.save()


def seconds_to_answer(command):
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            if line.startswith(b"{"):
                break
        spent = time.perf_counter() - start
        process.stdout.read()
    return spent


def write_picture(path, size):
    """A PNG in three equal bands: a smooth field under noise of 4 bits."""
    draws = random.Random(1)
    rows = bytearray()
    for row in range(size):
        base = 96 + 64 * row // size
        shades = bytes(base + value // 16 for value in range(256))
        grey = draws.randbytes(size).translate(shades)
        rows.append(0)
        rows += bytes(value for value in grey for _ in range(3))

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))
        file.write(chunk(b"IDAT", zlib.compress(bytes(rows), 6)) + chunk(b"IEND", b""))


def table(result, what):
    section = result[what]
    warm = what != "cold"
    head = ["program", "ms", "times ours", "from", "to", "result differs"]
    if warm:
        head = ["program", "images/s", "ms/image", "times ours", "from", "to", "peak MB", "warm MB"]
        head.append("result differs")
    rows = [head]
    for program in section.get("programs", []):
        if "ms_per_step" not in program:
            continue
        label = program["label"]
        version = program.get("version")
        ratio = [f"{program[key]:.2f}" for key in ("of_first", "of_first_min", "of_first_max")]
        differs = f"{program['difference']:.1e}"
        if not warm:
            rows.append([label, f"{program['ms_per_step']:.1f}", *ratio, differs])
            continue
        mb = [program.get(key) for key in ("peak_bytes", "peak_bytes_warm")]
        rows.append(
            [
                label + (f" {version}" if version else ""),
                f"{program['images_per_second']:.1f}",
                f"{program['ms_per_step'] / section['batch']:.2f}",
                *ratio,
                *[f"{value / 1e6:.0f}" if value is not None else "" for value in mb],
                differs,
            ]
        )
    return aligned(rows)


def stages(floor):
    """Our time by block of the network."""
    rows = [["block", "ms/image", "floor"]]
    for stage in floor["stages"]["blocks"]:
        rows.append([stage["name"], f"{stage['ms_per_image']:.2f}", f"{stage['floor_ms']:.2f}"])
    return aligned(rows)


def aligned(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def text_of(result):
    parts = []
    titles = {
        "step": "training step of {network}, batch {batch}",
        "inference": "inference of {network}, warm, batch {batch}",
        "cold": "one picture, from a process' start to its printed prediction",
    }
    for what, title in titles.items():
        if what not in result:
            continue
        section = result[what]
        about = f", {result['size']} pixels, crop {result['crop']}, {result['threads']} threads"
        part = title.format(network=result["network"], batch=section.get("batch")) + about + "\n" + table(result, what)
        if floor := section.get("floor"):
            part += (
                f"\nthe floor is {floor['floor_ms']:.2f} ms an image, arithmetic alone "
                f"{floor['arithmetic_ms']:.2f} ms; alone on the machine we take "
                f"{floor['ms_per_image']:.2f} ms, {floor['ms_per_image'] / floor['floor_ms']:.2f} "
                "times the floor\n" + stages(floor)
            )
        for program in section.get("programs", []):
            if "failed" in program:
                part += f"\n{program['label']} failed: {program['failed']}"
        for label, why in section.get("left_out", {}).items():
            part += f"\n{label} is left out: {why}"
        parts.append(part)
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    build = os.path.join(HERE, "..", "build", "release")
    parser.add_argument("--torch", help="Python with PyTorch, ONNX Runtime and OpenVINO")
    parser.add_argument("--tensorflow", help="Python with TensorFlow")
    parser.add_argument("--ours", default=os.path.join(build, "bench", "bench_step"))
    parser.add_argument("--program", default=os.path.join(build, "bin", "fulmar"))
    parser.add_argument("--network", choices=NETWORKS, default="polar-low")
    parser.add_argument("--what", help="some of step,inference,cold (default: all; cold is of "
                        "polar-low)")
    parser.add_argument("--size", type=int, help="1536; of resnet-50 224, of unet 256")
    parser.add_argument("--crop", type=int, help="1024; of resnet-50 224, of unet 256")
    parser.add_argument("--channels", type=int, help="of the pictures: 3; of unet 24")
    parser.add_argument("--widths", help="in place of the network's own: 16,32,64 (not of "
                        "resnet-50)")
    parser.add_argument("--batch", type=int, default=16, help="of training steps")
    parser.add_argument("--augment", action="store_true", help="in training steps")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--bf16", action="store_true", help="ours with --precision bf16 too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3, help="steps in a round")
    parser.add_argument("--inference-runs", type=int, default=20, help="inferences in a round")
    parser.add_argument("--cold-rounds", type=int, default=5)
    parser.add_argument("--picture", help="a PNG of --size pixels a side (default: noise)")
    parser.add_argument("--seconds", type=float, default=1800, help="for each part, at most")
    parser.add_argument("--start-seconds", type=float, default=600, help="to start a program")
    parser.add_argument("--json", help="write the result to this file, too")
    args = parser.parse_args()
    polar_low = args.network == "polar-low"
    size, crop, channels = SIZES[args.network]
    args.size, args.crop = args.size or size, args.crop or crop
    args.channels = args.channels or channels
    published = polar_low and args.channels == 3 and not args.widths
    wanted = (args.what or ("step,inference,cold" if published else "step,inference")).split(",")
    if unknown := [what for what in wanted if what not in ("step", "inference", "cold")]:
        parser.error(f"--what is some of step,inference,cold, not {unknown[0]}")
    if "cold" in wanted and not published:
        parser.error("cold starts are compared of the published polar-low network only")
    if args.network == "resnet-50" and (args.channels != 3 or args.widths):
        parser.error("peers have ResNet-50 with its own bands and widths only")
    for name in ("ours", "program"):
        if not os.path.exists(getattr(args, name)):
            parser.error(f"{getattr(args, name)} is not built")
    comparison = Comparison(args)
    for what in ("step", "inference"):
        if what in wanted:
            comparison.warm(what)
            comparison.floor(what)
    if "cold" in wanted:
        comparison.cold()
    comparison.save()
    print(text_of(comparison.result))


if __name__ == "__main__":
    main()
