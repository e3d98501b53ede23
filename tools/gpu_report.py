#!/usr/bin/env python3
"""The result file of tools/gpu_check.sh.

gpu_report.py has-gpu DEVICES.json     exits with 1, and says why, where no GPU can be used
gpu_report.py write STATE OUT --commit ID [--nvcc NVCC] [--emulated]
    makes OUT/gpu-<date>-<device>.json and .md of what the stages left in STATE; stages that an
    earlier result of the same commit, day and device holds, and that did not run now, stay.
    Beside another commit's result its name ends with -2 and so on.
gpu_report.py logs STATE FILE.tar.gz   packs the stages' logs, of long ones beginning and end
"""

import argparse
import datetime
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile

STAGES = [
    ("build", "build"),
    ("tests", "tests on the GPU"),
    ("check", "losses beside PyTorch's"),
    ("step", "training step, augmented"),
    ("kernels", "kernel benchmarks"),
    ("train", "training with the program"),
    ("plain", "training step, not augmented"),
    ("memcheck", "compute-sanitizer memcheck, op table"),
    ("racecheck", "compute-sanitizer racecheck, op table"),
    ("autotune", "training step beside torch.compile's max-autotune"),
]
TURNS = ["step", "plain", "autotune"]
LOG_BYTES = 2**20
PRECISIONS = ["bf16", "tf32", "fp32"]


def load(path):
    """The JSON in a file; None where there is none that is whole."""
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def gpu_of(devices):
    for device in (devices or {}).get("devices", []):
        if device["device"].startswith("cuda") and device.get("usable", True):
            return device
    return None


def has_gpu(args):
    devices = load(args.devices)
    if gpu_of(devices):
        return 0
    why = ((devices or {}).get("cuda") or {}).get("missing") or "no GPU that the library has code for"
    print(f"gpu_check: no GPU can be used: {why}", file=sys.stderr)
    return 1


def output_of(state, *command):
    """What a command says of this machine; asked once in a call."""
    path = f"{state}/said.json"
    said = load(path) or {}
    key = " ".join(command)
    if key not in said:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
            said[key] = done.stdout.strip() if done.returncode == 0 else ""
        except (OSError, subprocess.TimeoutExpired):
            said[key] = ""
        with open(path, "w") as file:
            json.dump(said, file)
    return said[key]


def compiler_of(state):
    """The first lines of what compiler and CMake of the build say."""
    try:
        with open(f"{os.path.dirname(state)}/CMakeCache.txt") as file:
            named = r"^(CMAKE_(?:CXX_COMPILER|COMMAND)):\w+=(.+)$"
            cache = dict(re.findall(named, file.read(), re.M))
    except OSError:
        return {}
    said = {key: output_of(state, program, "--version") for key, program in cache.items()}
    first = {key: text.splitlines()[0] for key, text in said.items() if text}
    return {
        "compiler": first.get("CMAKE_CXX_COMPILER"),
        "CMake": (first.get("CMAKE_COMMAND") or "").removeprefix("cmake version "),
    }


def stage_of(state, name):
    """How a stage ended, and what it left; None where it did not run."""
    try:
        with open(f"{state}/{name}.status") as file:
            status, seconds, budget = file.read().splitlines()
    except (OSError, ValueError):
        return None
    stage = {"status": status, "seconds": int(seconds), "budget_seconds": int(budget)}
    try:
        with open(f"{state}/{name}.log", errors="replace") as file:
            log = file.read()
    except OSError:
        log = ""
    if status != "passed":
        stage["log_end"] = log.splitlines()[-15:]
    if name == "tests":
        found = re.findall(r"^\d+% tests passed, \d+ tests failed out of \d+", log, re.M)
        stage["summary"] = found[-1] if found else ""
        stage["messages"] = re.findall(r"\d+ of \d+ bf16 results are rounded otherwise", log)
    if name in ("memcheck", "racecheck"):
        found = re.findall(r"^=+ ((?:ERROR|RACECHECK) SUMMARY: .*)$", log, re.M)
        stage["summary"] = found[-1] if found else ""
    if name == "kernels":
        all_runs = {p: load(f"{state}/kernels-{p}.json") for p in PRECISIONS}
        stage["precisions"] = {p: run for p, run in all_runs.items() if run}
    if name == "check":
        for who in ("fulmar", "torch"):
            if run := load(f"{state}/check-{who}.json"):
                stage[who] = run
    if name == "train":
        stage["summary"] = "; ".join(re.findall(r"^train: (.*)$", log, re.M))
    if name in TURNS:
        stage["programs"] = load(f"{state}/{name}.json") or []
        try:
            with open(f"{state}/{name}-clocks.txt") as file:
                stage["clocks"] = file.read().splitlines()
        except OSError:
            pass
    return stage


def number(value, digits=1):
    return "–" if value is None else f"{value:,.{digits}f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]


def kernel_lines(stage):
    lines = []
    for precision, run in stage.get("precisions", {}).items():
        copy = run["ceilings"]["copy_gbytes_per_second"]
        peak = run["ceilings"]["gflops_per_second"]
        lines += [
            f"### {precision}",
            "",
            f"Shapes of the polar-low network at batch {run['batch']}, crop {run['crop']}. A copy "
            f"reaches {number(copy)} GB/s, a large matrix product {number(peak, 0)} GFLOP/s. By op: "
            "bytes that can't be avoided over the time of all its rows.",
            "",
        ]
        ops = {}
        for kernel in run["kernels"]:
            ops.setdefault(kernel["name"].split("/")[0], []).append(kernel)
        rows = []
        for op, kernels in sorted(ops.items(), key=lambda item: -sum(k["us"] for k in item[1])):
            us = sum(k["us"] for k in kernels)
            rate = sum(k["bytes"] for k in kernels) / us * 1e-3 if us else 0
            flops = sum(k.get("flops", 0) for k in kernels) / us * 1e-3 if us else 0
            best = max(k["share_of_copy"] for k in kernels)
            rows.append(
                [op, len(kernels), number(us), number(rate), number(100 * rate / copy, 0)]
                + [number(100 * best, 0), number(flops) if flops else ""]
            )
        head = ["op", "rows", "µs, all", "GB/s", "% of copy", "best row", "GFLOP/s"]
        lines += table(head, rows)
        slow = sorted(run["kernels"], key=lambda k: -k["us"])[:15]
        rows = [
            [k["name"], k["shapes"], number(k["us"]), number(100 * k["share_of_copy"], 0)]
            for k in slow
        ]
        lines += table(["slowest", "shapes", "µs", "% of copy"], rows)
    return lines


def mib(value):
    return number(value / 2**20, 0) if value else ""


def precision_class(program):
    """By which programs are compared: PyTorch's two kinds of bf16 are one."""
    return program["label"].split()[-1].removesuffix("_weights")


def trouble(program):
    """Why a program's time doesn't count; empty where it does."""
    if "failed" in program:
        return program["failed"]
    if "ms_per_step" not in program:
        return "no time"
    if program.get("cudagraph_skips"):
        return f"not valid: {program['cudagraph_skips']} CUDA graphs were not made"
    return ""


def best_time(program):
    """Of PyTorch: of its two ways to look at the loss."""
    return min(program["ms_per_step"], program.get("ms_per_step_free", float("inf")))


def beside_torch(program, programs):
    """Our time over that of PyTorch's fastest of the same precision, where all of those ran."""
    peers = [
        p
        for p in programs
        if p["label"].startswith("torch") and precision_class(p) == precision_class(program)
    ]
    if not peers or trouble(program) or any(map(trouble, peers)):
        return ""
    fastest = min(peers, key=best_time)
    return f"{program['ms_per_step'] / best_time(fastest):.2f} of {fastest['label']}"


def step_lines(stage):
    programs = stage.get("programs", [])
    lines = []
    torch = {(p["framework"], p.get("cudnn")) for p in programs if p.get("mode") and "cudnn" in p}
    for framework, cudnn in sorted(torch, key=str):
        lines += [f"PyTorch: {framework}" + (f", its cuDNN {cudnn}." if cudnn else "."), ""]
    if clocks := stage.get("clocks"):
        lines += ["Clocks, temperature, reasons to throttle: " + "; ".join(clocks) + ".", ""]
    rows = []
    for p in programs:
        label = p["label"] + (f" (**{why}**)" if (why := trouble(p)) else "")
        if "ms_per_step" not in p:
            rows.append([label] + [""] * 9)
            continue
        ms = p["ms_per_step"]
        memory = [p.get("planned_bytes"), p.get("peak_allocated_bytes")]
        memory.append(p.get("taken_bytes") or p.get("peak_reserved_bytes"))
        ours = not p["label"].startswith("torch")
        rows.append(
            [label, number(ms, 2), number(p["ms_per_step_free"], 2) if "ms_per_step_free" in p else ""]
            + [f"{p['ms_per_step_min']:.2f} to {p['ms_per_step_max']:.2f}"]
            + [number(best_time(p) / p["batch"], 3) if p.get("batch") else ""]
            + [beside_torch(p, programs) if ours else "", *map(mib, memory)]
            + [number(p["rounds"][-1].get("loss"), 4)]
        )
    head = ["program", "ms per step", "loss read late", "rounds", "ms per image"]
    head += ["of PyTorch's fastest", "planned MiB", "allocated MiB", "reserved MiB", "loss"]
    lines += table(head, rows)
    for p in programs:
        if p.get("notes"):
            lines += [f"Last on stderr of {p['label']}:", "", "```", *p["notes"], "```", ""]
    return lines


def markdown(result):
    lines = [f"# {result['device']}, {result['date']}", ""]
    if result["emulated"]:
        lines += ["**EMULATED on a CPU: nothing here was measured on a GPU, no number means anything.**"]
        lines += [""]
    machine = result["machine"]
    lines += [f"Commit {result['commit']}, `tools/gpu_check.sh`, {result['seconds']} s in all."]
    lines += ["; ".join(f"{key} {value}" for key, value in machine.items() if value) + ".", ""]
    rows = []
    for name, title in STAGES:
        stage = result["stages"].get(name)
        if stage is None:
            rows.append([title, "not run", "", ""])
        else:
            note = stage.get("summary", "")
            rows.append([title, stage["status"], f"{stage['seconds']} s", note])
    lines += table(["stage", "", "time", ""], rows)
    stages = result["stages"]
    for name, title in STAGES:
        stage = stages.get(name)
        if stage is None or name not in ["check", *TURNS]:
            continue
        lines += [f"## {title[0].upper()}{title[1:]}", ""]
        if name == "check":
            rows = [
                [who] + [number(loss, 6) for loss in stage[who]["losses"]]
                for who in ("fulmar", "torch")
                if who in stage
            ]
            if rows:
                lines += ["fp32, the same weights and pictures, a step each:", ""]
                lines += table(["", *map(str, range(1, len(rows[0])))], rows)
        else:
            lines += [
                "In turns in one run; medians over rounds of each round's median. Of PyTorch also "
                "rounds that read the loss once, at their end; its lower time counts. Compared "
                "within a precision, and only where all of PyTorch's programs of it ran (bf16: "
                "autocast and bf16 weights are one). Memory: what our plan, pictures and weights "
                "need; PyTorch's peak of what tensors held in steps after the warm-up (of "
                "compiled programs, whose graphs hold theirs, it says little); what either "
                "reserved of the device's memory, without what CUDA itself takes (ours: by how much "
                "less was free after the warm-up, so with what libraries loaded and with three "
                "copies of the pictures; PyTorch's: its allocator's peak).",
                "",
            ]
            lines += step_lines(stage)
    if "kernels" in stages:
        lines += ["## Kernels", ""] + kernel_lines(stages["kernels"])
    for name, title in STAGES:
        if stages.get(name, {}).get("log_end"):
            lines += [f"## End of the log of: {title}", "", "```"]
            lines += stages[name]["log_end"] + ["```", ""]
    return "\n".join(lines).rstrip() + "\n"


def write(args):
    devices = load(f"{args.state}/devices.json")
    gpu = gpu_of(devices) or {"name": "no GPU"}
    versions = (devices or {}).get("cuda") or {}
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    result = {
        "device": gpu["name"],
        "emulated": args.emulated,
        "date": date,
        "commit": args.commit,
        "seconds": 0,
        "machine": {
            "driver": versions.get("driver"),
            "CUDA runtime": versions.get("runtime"),
            "cuDNN": versions.get("cudnn"),
            "cuBLASLt": versions.get("cublaslt"),
            "nvcc": (re.findall(r"V([\d.]+)", output_of(args.state, args.nvcc, "--version")) or [""])[0]
            if args.nvcc
            else "",
            **compiler_of(args.state),
            "kernel": platform.release(),
            "processors": os.cpu_count(),
        },
        "stages": {},
    }
    if not args.emulated:
        query = "name,driver_version,clocks.max.sm,clocks.max.mem,power.limit"
        result["machine"]["nvidia-smi"] = output_of(
            args.state, "nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"
        )
    slug = re.sub(r"[^a-z0-9]+", "-", gpu["name"].lower()).strip("-")
    kind = "emulated" if args.emulated else "gpu"
    # Another commit's result of the same day stays.
    first = path = f"{args.out}/{kind}-{date}-{slug}"
    count = 1
    while (before := load(path + ".json")) and before["commit"] != args.commit:
        count += 1
        path = f"{first}-{count}"
    if before:
        result["stages"] = before["stages"]
    for name, _ in STAGES:
        stage = stage_of(args.state, name)
        left_out = stage and stage["status"].startswith("left out")
        if stage and not (left_out and name in result["stages"]):
            result["stages"][name] = stage
    result["seconds"] = sum(stage["seconds"] for stage in result["stages"].values())
    for end, text in ((".json", json.dumps(result, indent=1) + "\n"), (".md", markdown(result))):
        with open(path + end + ".part", "w") as file:
            file.write(text)
        os.replace(path + end + ".part", path + end)
    print(f"gpu_check: wrote {path}.json and .md")
    return 0


def logs(args):
    with tarfile.open(args.file + ".part", "w:gz") as tar:
        for name, _ in STAGES:
            try:
                with open(f"{args.state}/{name}.log", "rb") as file:
                    text = file.read()
            except OSError:
                continue
            if len(text) > LOG_BYTES:
                begin, end = text[: LOG_BYTES // 4], text[-3 * LOG_BYTES // 4 :]
                left_out = len(text) - len(begin) - len(end)
                text = begin + f"\n… {left_out} bytes are left out …\n".encode() + end
            entry = tarfile.TarInfo(f"{name}.log")
            entry.size = len(text)
            entry.mtime = int(os.path.getmtime(f"{args.state}/{name}.log"))
            tar.addfile(entry, io.BytesIO(text))
    os.replace(args.file + ".part", args.file)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("has-gpu")
    one.add_argument("devices")
    one.set_defaults(run=has_gpu)
    one = commands.add_parser("write")
    one.add_argument("state")
    one.add_argument("out")
    one.add_argument("--commit", required=True)
    one.add_argument("--nvcc", default="")
    one.add_argument("--emulated", action="store_true")
    one.set_defaults(run=write)
    one = commands.add_parser("logs")
    one.add_argument("state")
    one.add_argument("file")
    one.set_defaults(run=logs)
    args = parser.parse_args()
    sys.exit(args.run(args))


if __name__ == "__main__":
    main()
