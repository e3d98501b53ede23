#!/usr/bin/env python3
"""Tests of tools/gpu_check.sh, tools/gpu_report.py and bench/peers/alternate.py, with made-up
programs in place of those that need a GPU.

    gpu_check_test.py SOURCE_FOLDER [BUILD_FOLDER [NAME_OF_TEST]]

With a build, the script's dry run takes place on it.
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

SOURCE = os.path.abspath(sys.argv.pop(1))
BUILD = sys.argv.pop(1) if len(sys.argv) > 1 else ""
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
    if kind == "hangs":
        print("compiling", file=sys.stderr, flush=True)
        time.sleep(60)
    print(json.dumps({"ms_per_step": [3.0, 1.0, 2.0][i], "ms_min": 1.0, "loss": 0.5,
                      "ms_per_step_free": [0.5, 0.25, 0.75][i]}), flush=True)
print("a warning", file=sys.stderr)
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
            self.assertEqual(result["ms_per_step_free"], 0.5)
            self.assertEqual(result["notes"], ["a warning"])

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
        self.assertEqual(results["hangs"]["notes"], ["compiling"])

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
            "--commit", commit, *more,
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
        row = "| fulmar bf16 | 4.00 |  | 3.90 to 4.20 | 0.250 |  |  |  | 3 | 0.2500 |"
        self.assertIn(row, text)
        self.assertIn("| torch eager bf16 (**out of memory**) |", text)

    def beside_torch(self, *more):
        """What our programs' rows say of PyTorch, beside PyTorch's programs that are told."""
        rounds = [{"ms_per_step": 4.0, "loss": None}]
        times = {"rounds": rounds, "ms_per_step_min": 1.0, "ms_per_step_max": 9.0, "batch": 16}
        programs = [
            {"label": "fulmar bf16", "ms_per_step": 4.0},
            {"label": "fulmar tf32", "ms_per_step": 5.0},
            {"label": "torch eager tf32", "ms_per_step": 10.0},
            {"label": "torch eager bf16", "ms_per_step": 16.0, "ms_per_step_free": 8.0},
            *more,
        ]
        self.write("state/devices.json", DEVICES)
        self.write("state/step.status", "passed\n40\n70\n")
        self.write("state/step.json", [{**times, **program} for program in programs])
        text = self.only(self.report(), ".md")[1]
        rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| fulmar ")]
        return [row[5] for row in rows], text

    def test_programs_are_compared_with_the_fastest_pytorch_of_their_precision(self):
        tf32 = "0.50 of torch eager tf32"
        # The lower of PyTorch's two times is its time.
        self.assertEqual(self.beside_torch()[0], ["0.50 of torch eager bf16", tf32])
        fast = {"label": "torch compile bf16_weights", "ms_per_step": 5.0}
        found = self.beside_torch(fast)[0]
        self.assertEqual(found, ["0.80 of torch compile bf16_weights", tf32])
        # A PyTorch program that was not at its best is no measure, and not left unsaid.
        found, text = self.beside_torch({**fast, "cudagraph_skips": 2, "notes": ["skipping"]})
        self.assertEqual(found, ["", tf32])
        self.assertIn("2 CUDA graphs were not made", text)
        self.assertIn("skipping", text)
        found, text = self.beside_torch({**fast, "failed": "no answer within 20 s"})
        self.assertEqual(found, ["", tf32])
        self.assertIn("| torch compile bf16_weights (**no answer within 20 s**) | 5.00 |", text)

    def test_a_second_call_adds_its_stages_where_the_commit_is_the_same(self):
        self.write("state/devices.json", DEVICES)
        self.write("state/tests.status", "passed\n12\n60\n")
        self.report()
        os.remove(f"{self.folder}/state/tests.status")
        self.write("state/build.status", "passed\n100\n170\n")
        both = json.loads(self.only(self.report(), ".json")[1])
        self.assertEqual(sorted(both["stages"]), ["build", "tests"])
        self.assertEqual(both["seconds"], 112)
        # Written anew after each stage: nothing is counted twice.
        self.assertEqual(json.loads(self.only(self.report(), ".json")[1])["seconds"], 112)
        # What a stage found before stays where it is left out now.
        self.write("state/tests.status", "left out: 3 of 560 s are left\n0\n3\n")
        both = json.loads(self.only(self.report(), ".json")[1])
        self.assertEqual(both["stages"]["tests"]["status"], "passed")
        os.remove(f"{self.folder}/state/tests.status")
        # Another commit's doesn't mix with it, and takes nothing away.
        results = self.report(commit="def")
        (other,) = [name for name in results if name.endswith("-2.json")]
        self.assertEqual(sorted(json.loads(results[other])["stages"]), ["build"])
        (first,) = [name for name in results if name.endswith(".json") and name != other]
        self.assertEqual(sorted(json.loads(results[first])["stages"]), ["build", "tests"])

    def test_logs_are_packed_without_the_middle_of_long_ones(self):
        self.write("state/tests.log", "short\n")
        self.write("state/kernels.log", "begin" + "x" * 3000000 + "end")
        path = f"{self.folder}/logs.tar.gz"
        self.assertEqual(run(sys.executable, REPORT, "logs", f"{self.folder}/state", path).returncode, 0)
        with tarfile.open(path) as tar:
            logs = {entry.name: tar.extractfile(entry).read() for entry in tar}
        self.assertEqual(sorted(logs), ["kernels.log", "tests.log"])
        self.assertEqual(logs["tests.log"], b"short\n")
        self.assertLess(len(logs["kernels.log"]), 2**20 + 100)
        self.assertTrue(logs["kernels.log"].startswith(b"begin"))
        self.assertTrue(logs["kernels.log"].endswith(b"end"))
        self.assertIn("bytes are left out", logs["kernels.log"].decode())

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


class Script(Folder):
    def result(self):
        (name,) = [n for n in os.listdir(f"{self.folder}/out") if n.endswith(".json")]
        with open(f"{self.folder}/out/{name}") as file:
            return name, json.load(file)

    def logs(self):
        (name,) = [n for n in os.listdir(f"{self.folder}/out") if n.endswith(".tar.gz")]
        with tarfile.open(f"{self.folder}/out/{name}") as tar:
            return {entry.name: tar.extractfile(entry).read().decode() for entry in tar}


class Check(Script):
    def check(self, *arguments, devices=DEVICES, bench="cat", **more):
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
            "--python", sys.executable, *arguments, **more,
        )  # fmt: skip

    def test_without_a_gpu_it_says_so_and_exits_with_4(self):
        ended = self.check("--stages", "kernels", devices=NO_GPU)
        self.assertEqual(ended.returncode, 4)
        self.assertIn("libcuda.so.1 is missing", ended.stderr)
        self.assertEqual([n for n in os.listdir(f"{self.folder}/out") if "logs" not in n], [])

    def test_a_stage_writes_what_it_measured(self):
        # A variable that was set for something else makes no emulated run of this one.
        environment = {**os.environ, "FULMAR_CUDA_LIBRARY": "/nonexistent"}
        ended = self.check("--stages", "kernels", "--commit", "c0ffee", env=environment)
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        name, result = self.result()
        self.assertTrue(name.startswith("gpu-"))
        self.assertFalse(result["emulated"])
        self.assertEqual(result["commit"], "c0ffee")
        self.assertEqual(result["device"], GPU["name"])
        self.assertEqual(sorted(result["stages"]["kernels"]["precisions"]), ["bf16", "fp32", "tf32"])

    def test_a_stage_that_fails_is_told_and_the_next_one_runs(self):
        ended = self.check("--stages", "tests,kernels")
        self.assertEqual(ended.returncode, 1)
        stages = self.result()[1]["stages"]
        self.assertEqual(stages["kernels"]["status"], "passed")
        self.assertTrue(stages["tests"]["status"].startswith("failed"))

    def test_precisions_of_the_kernels_stand_where_another_one_fails(self):
        ended = self.check("--stages", "kernels", bench='case "$*" in *tf32*) exit 3 ;; esac; cat')
        self.assertEqual(ended.returncode, 1)
        stage = self.result()[1]["stages"]["kernels"]
        self.assertEqual(stage["status"], "failed (1)")
        self.assertEqual(sorted(stage["precisions"]), ["bf16", "fp32"])

    def test_a_result_that_cannot_be_written_does_not_end_the_run(self):
        ended = self.check("--stages", "kernels,check", bench="sed s/100.0/null/")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("the result could not be written", ended.stderr)
        self.assertEqual(sorted(self.logs()), ["check.log", "kernels.log"])

    def test_a_stage_that_takes_too_long_is_stopped(self):
        ended = self.check("--stages", "kernels", "--budget", "kernels=1", bench="sleep 60; cat")
        self.assertEqual(ended.returncode, 1)
        self.assertEqual(self.result()[1]["stages"]["kernels"]["status"], "stopped after 1 s")

    def test_a_call_that_is_killed_leaves_what_it_has(self):
        command = [
            CHECK, "--build", f"{self.folder}/build", "--out", f"{self.folder}/out",
            "--python", sys.executable, "--stages", "kernels,check",
        ]  # fmt: skip
        self.check("--stages", "kernels", "--total", "0")  # makes the programs
        self.write("build/bench/bench_step", "#!/bin/sh\nexec sleep 60\n", executable=True)
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
        for _ in range(300):
            time.sleep(0.1)
            if self.result()[1]["stages"].get("kernels", {}).get("status") == "passed":
                break
        kill_session(process.pid)
        process.wait()
        self.assertEqual(list(self.result()[1]["stages"]), ["kernels"])

    def test_stages_for_which_no_time_is_left_are_left_out(self):
        ended = self.check("--stages", "kernels,check", "--total", "20")
        self.assertEqual(ended.returncode, 1)
        for name in "kernels", "check":
            self.assertRegex(self.result()[1]["stages"][name]["status"], "^left out: .* of 20 s")

    def test_arguments_that_make_no_sense(self):
        for arguments, message in [
            (["--stages", "tests,mischief"], "there is no stage 'mischief'"),
            (["--budget", "tests=soon"], "'tests=soon' is none"),
            (["--total", "long"], "'long' is none"),
            (["--device", "tpu"], "--device is cuda or simt"),
            (["--frobnicate", "1"], "unknown option --frobnicate"),
        ]:
            ended = self.check(*arguments)
            self.assertEqual(ended.returncode, 2)
            self.assertIn(message, ended.stderr)
        ended = run(CHECK, "--device", "simt", "--out", f"{SOURCE}/bench/results", "--stages", "tests")
        self.assertEqual(ended.returncode, 2)
        self.assertIn("bench/results is for what was measured", ended.stderr)


def kill_session(session):
    """Kills all processes of a session: a stage is in a process group of its own, and would write on."""

    def alive():
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as file:
                    state, _, _, of = file.read().rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(of) == session and state not in "ZX":
                yield int(pid)

    while found := list(alive()):
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


# compute-sanitizer, for the dry run: finds something in what the script plants, nothing elsewhere.
SANITIZER = """#!/bin/sh
kind=ERROR
[ "$2" != racecheck ] || kind=RACECHECK
for last; do :; done
case $last in
  memcheck | racecheck) echo "========= $kind SUMMARY: PLANTED errors"; exit 9 ;;
esac
while [ "${1#--}" != "$1" ]; do shift 2; done
"$@" || exit
echo "========= $kind SUMMARY: FOUND hazards displayed (FOUND errors, 0 warnings)"
exit CODE
"""


@unittest.skipUnless(BUILD, "no build is given")
class DryRun(Script):
    def check(self, *arguments, planted="1", found="0", code="0"):
        """The script on the emulator, over this build, with a state of its own."""
        os.makedirs(f"{self.folder}/build", exist_ok=True)
        for name in "bin", "tests", "bench", "CTestTestfile.cmake":
            if not os.path.lexists(f"{self.folder}/build/{name}"):
                os.symlink(os.path.abspath(f"{BUILD}/{name}"), f"{self.folder}/build/{name}")
        sanitizer = SANITIZER.replace("PLANTED", planted).replace("FOUND", found)
        sanitizer = sanitizer.replace("CODE", code)
        self.write("programs/compute-sanitizer", sanitizer, executable=True)
        # Whether PyTorch is there must not matter.
        python = f'#!/bin/sh\ncase "$*" in *find_spec*torch*) exit 1 ;; esac\nexec {sys.executable} "$@"\n'
        python = self.write("programs/python3", python, executable=True)
        path = f"{self.folder}/programs:{os.environ['PATH']}"
        return run(
            CHECK, "--device", "simt", "--build", f"{self.folder}/build",
            "--out", f"{self.folder}/out", "--python", python, *arguments,
            env={**os.environ, "PATH": path},
        )  # fmt: skip

    def test_every_stage_but_the_build_passes(self):
        stages = "tests,memcheck,racecheck,kernels,check,train,step"
        ended = self.check("--stages", stages)
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        name, result = self.result()
        self.assertTrue(name.startswith("emulated-"))
        found = result["stages"]
        statuses = {name: stage["status"] for name, stage in found.items()}
        self.assertEqual(statuses, dict.fromkeys(stages.split(","), "passed"))
        self.assertIn("100% tests passed", found["tests"]["summary"])
        self.assertIn("RACECHECK SUMMARY: 0", found["racecheck"]["summary"])
        self.assertEqual(sorted(found["kernels"]["precisions"]), ["bf16", "fp32", "tf32"])
        self.assertEqual(len(found["check"]["fulmar"]["losses"]), 5)
        self.assertIn("the same bits after an interruption", found["train"]["summary"])
        programs = {p["label"]: p for p in found["step"]["programs"]}
        self.assertEqual(sorted(programs), ["fulmar bf16", "fulmar fp32", "fulmar tf32"])
        for program in programs.values():
            self.assertGreater(program["ms_per_step"], 0)
            self.assertGreater(program["planned_bytes"], 0)
        logs = self.logs()
        self.assertEqual(sorted(logs), sorted(f"{n}.log" for n in found))
        self.assertIn("the planted fault is found", logs["memcheck.log"])

    def test_a_sanitizer_that_finds_nothing_planted_is_a_failure(self):
        ended = self.check("--stages", "memcheck", planted="0")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("it checks nothing", ended.stdout)

    def test_a_sanitizer_stage_fails_for_what_the_sanitizer_finds_and_nothing_else(self):
        ended = self.check("--stages", "memcheck", found="2", code="9")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("gives no clean summary", ended.stdout)
        # A test that found a wrong number exits with 1.
        ended = self.check("--stages", "memcheck", code="1")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)


if __name__ == "__main__":
    unittest.main()
