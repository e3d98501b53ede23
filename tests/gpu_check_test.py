#!/usr/bin/env python3
"""Tests of tools/gpu_check.sh, tools/gpu_report.py and bench/peers/alternate.py, with made-up
programs in place of those that need a GPU.

    gpu_check_test.py SOURCE_FOLDER
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.path.abspath(sys.argv.pop(1))
CHECK = f"{SOURCE}/tools/gpu_check.sh"
REPORT = f"{SOURCE}/tools/gpu_report.py"
ALTERNATE = f"{SOURCE}/bench/peers/alternate.py"

GPU = {"device": "cuda:0", "name": "NVIDIA H100 80GB HBM3", "usable": True}
DEVICES = {
    "devices": [{"device": "cpu", "name": "a CPU"}, GPU],
    "cuda": {"driver": "13.0", "cudnn": "9.20.0", "missing": None},
}
NO_GPU = {"devices": DEVICES["devices"][:1], "cuda": {"missing": "libcuda.so.1 is missing"}}
BENCH = {
    "batch": 16,
    "crop": 1024,
    "ceilings": {"copy_gbytes_per_second": 2000.0, "gflops_per_second": 500000.0},
    "kernels": [
        {"name": "relu/block 1", "shapes": "[1] -> [1]", "us": 100.0, "bytes": 100000000}
        | {"gbytes_per_second": 1000.0, "share_of_copy": 0.5},
        {"name": "relu/block 2", "shapes": "[1] -> [1]", "us": 300.0, "bytes": 500000000}
        | {"gbytes_per_second": 1666.7, "share_of_copy": 0.83},
    ],
}

# Takes turns as bench_step --serve does; "dies" after a round, "hangs" in one.
PROGRAM = """
import json, sys, time
kind = sys.argv[1]
if kind == "absent": sys.exit("no GPU here")
print("a note that is no result")
print(json.dumps({"ready": True, "batch": 16}), flush=True)
for i, _ in enumerate(sys.stdin):
    if kind == "dies" and i == 1: sys.exit("out of memory")
    if kind == "hangs": time.sleep(60)
    print(json.dumps({"ms_per_step": [3.0, 1.0, 2.0][i], "ms_min": 1.0, "loss": 0.5}), flush=True)
print(json.dumps({"peak_allocated_bytes": 2**30}), flush=True)
"""


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **more)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, content, executable=False):
        path = f"{self.folder}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))
        if executable:
            os.chmod(path, 0o755)
        return path


class Alternate(Folder):
    def turns(self, kinds, seconds="30"):
        plan = [
            {"label": kind, "command": [sys.executable, "-c", PROGRAM, kind], "start_seconds": 20}
            for kind in kinds
        ]
        path = self.write("plan.json", plan)
        result = f"{self.folder}/result.json"
        ended = run(sys.executable, ALTERNATE, path, result, "--rounds", "3", "--seconds", seconds)
        with open(result) as file:
            return ended.returncode, {r["label"]: r for r in json.load(file)}

    def test_rounds_are_taken_in_turns_and_summed_up(self):
        code, results = self.turns(["good", "other"])
        self.assertEqual(code, 0)
        for result in results.values():
            self.assertEqual([r["ms_per_step"] for r in result["rounds"]], [3, 1, 2])
            self.assertEqual(result["ms_per_step"], 2)
            self.assertEqual((result["ms_per_step_min"], result["ms_per_step_max"]), (1, 3))
            self.assertEqual(result["peak_allocated_bytes"], 2**30)
            self.assertEqual(result["batch"], 16)

    def test_a_program_that_fails_says_why_and_the_others_go_on(self):
        code, results = self.turns(["dies", "good", "absent"])
        self.assertEqual(code, 1)
        self.assertIn("out of memory", results["dies"]["failed"])
        self.assertEqual(len(results["dies"]["rounds"]), 1)
        self.assertIn("no GPU here", results["absent"]["failed"])
        self.assertEqual(len(results["good"]["rounds"]), 3)

    def test_a_program_that_hangs_is_stopped(self):
        code, results = self.turns(["hangs"], seconds="1")
        self.assertEqual(code, 1)
        self.assertIn("no answer within", results["hangs"]["failed"])

    def test_a_program_that_is_not_there_is_a_failure(self):
        path = self.write("plan.json", [{"label": "none", "command": ["/nonexistent/program"]}])
        ended = run(sys.executable, ALTERNATE, path, f"{self.folder}/result.json")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("none: ", ended.stdout)


class Report(Folder):
    def report(self, *more, commit="abc"):
        out = f"{self.folder}/out"
        os.makedirs(out, exist_ok=True)
        ended = run(
            sys.executable, REPORT, "write", f"{self.folder}/state", out,
            "--commit", commit, "--seconds", "60", *more,
        )  # fmt: skip
        self.assertEqual(ended.returncode, 0, ended.stderr)
        results = {}
        for name in os.listdir(out):
            with open(f"{out}/{name}") as file:
                results[name] = file.read()
        return results

    def only(self, results, end):
        (name,) = [n for n in results if n.endswith(end)]
        return name, results[name]

    def test_a_result_is_named_by_the_device_and_says_what_each_stage_found(self):
        self.write("state/devices.json", DEVICES)
        self.write("state/tests.status", "passed\n12\n60\n")
        self.write("state/tests.log", "…\n100% tests passed, 0 tests failed out of 4\n")
        self.write("state/memcheck.status", "stopped after 45 s\n45\n45\n")
        self.write("state/memcheck.log", "working\n========= last words\n")
        self.write("state/racecheck.status", "passed\n30\n45\n")
        summary = "RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"
        self.write("state/racecheck.log", f"========= {summary}\n")
        self.write("state/kernels.status", "passed\n50\n60\n")
        self.write("state/kernels.log", "")
        self.write("state/kernels-bf16.json", BENCH)
        self.write("state/kernels-fp32.json", "{half of a fi")
        self.write("state/step.status", "failed (1)\n40\n70\n")
        self.write("state/step.log", "torch eager bf16: out of memory\n")
        rounds = [{"ms_per_step": 4.0, "loss": 0.25}]
        times = {"ms_per_step": 4.0, "ms_per_step_min": 3.9, "ms_per_step_max": 4.2, "batch": 16}
        self.write(
            "state/step.json",
            [
                {"label": "fulmar bf16", "rounds": rounds, "taken_bytes": 3 * 2**20, **times},
                {"label": "torch eager fp32", "rounds": rounds, **times, "ms_per_step": 16.0},
                {"label": "torch eager bf16", "rounds": [], "failed": "out of memory"},
            ],
        )
        results = self.report()
        name, text = self.only(results, ".json")
        self.assertRegex(name, r"^gpu-\d{4}-\d\d-\d\d-nvidia-h100-80gb-hbm3\.json$")
        result = json.loads(text)
        self.assertFalse(result["emulated"])
        self.assertEqual(result["stages"]["racecheck"]["summary"], summary)
        self.assertEqual(list(result["stages"]["kernels"]["precisions"]), ["bf16"])
        text = self.only(results, ".md")[1]
        self.assertNotIn("EMULATED", text)
        self.assertIn("stopped after 45 s", text)
        self.assertIn("========= last words", text)  # why, where a stage did not pass
        self.assertIn("| build | not run |", text)
        self.assertIn("100% tests passed, 0 tests failed out of 4", text)
        # 600 MB in 400 us are 1,500 GB/s, three quarters of a copy.
        self.assertIn("| relu | 2 | 400.0 | 1,500.0 | 75 | 83 |", text)
        self.assertIn("| fulmar bf16 | 4.00 | 3.90 to 4.20 | 0.250 | 0.25 | 3 | 0.2500 |", text)
        self.assertIn("| torch eager bf16 | out of memory |", text)

    def test_a_second_call_adds_its_stages_where_the_commit_is_the_same(self):
        self.write("state/devices.json", DEVICES)
        self.write("state/tests.status", "passed\n12\n60\n")
        self.report()
        os.remove(f"{self.folder}/state/tests.status")
        self.write("state/build.status", "passed\n100\n170\n")
        both = json.loads(self.only(self.report(), ".json")[1])
        self.assertEqual(sorted(both["stages"]), ["build", "tests"])
        self.assertEqual(both["seconds"], 120)
        other = json.loads(self.only(self.report(commit="def"), ".json")[1])
        self.assertEqual(sorted(other["stages"]), ["build"])

    def test_an_emulated_run_says_so_in_its_name_and_first_line(self):
        self.write("state/devices.json", DEVICES)
        results = self.report("--emulated")
        self.assertTrue(all(name.startswith("emulated-") for name in results))
        self.assertIn("**EMULATED", self.only(results, ".md")[1])

    def test_has_gpu_says_what_is_missing(self):
        self.assertEqual(
            run(sys.executable, REPORT, "has-gpu", self.write("a.json", DEVICES)).returncode, 0
        )
        ended = run(sys.executable, REPORT, "has-gpu", self.write("b.json", NO_GPU))
        self.assertEqual(ended.returncode, 1)
        self.assertIn("libcuda.so.1 is missing", ended.stderr)


class Check(Folder):
    def check(self, *arguments, devices=DEVICES, bench="cat"):
        """Runs the script over a build whose program answers as told."""
        self.write("devices.json", devices)
        self.write("bench.json", BENCH)
        self.write(
            "build/bin/fulmar",
            f'#!/bin/sh\ncd "{self.folder}"\n'
            f'if [ "$1" = devices ]; then cat devices.json; else {bench} bench.json; fi\n',
            executable=True,
        )
        return run(
            CHECK, "--build", f"{self.folder}/build", "--out", f"{self.folder}/out",
            "--python", sys.executable, *arguments,
        )  # fmt: skip

    def result(self):
        (name,) = [n for n in os.listdir(f"{self.folder}/out") if n.endswith(".json")]
        with open(f"{self.folder}/out/{name}") as file:
            return json.load(file)

    def test_without_a_gpu_it_says_so_and_exits_with_4(self):
        ended = self.check("--stages", "kernels", devices=NO_GPU)
        self.assertEqual(ended.returncode, 4)
        self.assertIn("libcuda.so.1 is missing", ended.stderr)
        self.assertEqual(os.listdir(f"{self.folder}/out"), [])

    def test_a_stage_writes_what_it_measured(self):
        ended = self.check("--stages", "kernels", "--commit", "c0ffee")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        result = self.result()
        self.assertEqual(result["commit"], "c0ffee")
        self.assertEqual(result["device"], GPU["name"])
        self.assertEqual(sorted(result["stages"]["kernels"]["precisions"]), ["bf16", "fp32", "tf32"])

    def test_a_stage_that_fails_is_told_and_the_next_one_runs(self):
        ended = self.check("--stages", "tests,kernels")
        self.assertEqual(ended.returncode, 1)
        stages = self.result()["stages"]
        self.assertEqual(stages["kernels"]["status"], "passed")
        self.assertTrue(stages["tests"]["status"].startswith("failed"))

    def test_a_stage_that_takes_too_long_is_stopped(self):
        ended = self.check("--stages", "kernels", "--budget", "kernels=1", bench="sleep 60; cat")
        self.assertEqual(ended.returncode, 1)
        self.assertEqual(self.result()["stages"]["kernels"]["status"], "stopped after 1 s")

    def test_arguments_that_make_no_sense(self):
        for arguments, message in [
            (["--stages", "tests,mischief"], "there is no stage 'mischief'"),
            (["--budget", "tests=soon"], "'tests=soon' is none"),
            (["--device", "tpu"], "--device is cuda or simt"),
            (["--frobnicate", "1"], "unknown option --frobnicate"),
        ]:
            ended = self.check(*arguments)
            self.assertEqual(ended.returncode, 2)
            self.assertIn(message, ended.stderr)
        ended = run(CHECK, "--device", "simt", "--out", f"{SOURCE}/bench/results", "--stages", "tests")
        self.assertEqual(ended.returncode, 2)
        self.assertIn("bench/results is for what was measured", ended.stderr)


if __name__ == "__main__":
    unittest.main()
