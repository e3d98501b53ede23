#!/usr/bin/env python3
"""Tests of bench/compare.py on our own program, with made-up peers.

    compare_test.py SOURCE_FOLDER BUILD_FOLDER
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.path.abspath(sys.argv.pop(1))
BUILD = os.path.abspath(sys.argv.pop(1))
COMPARE = f"{SOURCE}/bench/compare.py"

# An environment's Python: ONNX Runtime gives our logits, OpenVINO others, what else there is fails.
PEER = """#!/usr/bin/env python3
import json, sys
words = " ".join(sys.argv)
if "onnxruntime" in words: logits = {logits}
elif "openvino" in words: logits = [value + 0.1 for value in {logits}]
else: sys.exit("no such module")
if "prepare" in words: pass
elif "--serve" not in words: print(json.dumps(dict(logits=logits, version="1.2")))
else:
    print(json.dumps(dict(ready=True)), flush=True)
    for line in sys.stdin:
        print(json.dumps(dict(ms_per_step=1e6, ms_min=1e6, loss=0)), flush=True)
    print(json.dumps(dict(peak_bytes=5000000, peak_bytes_warm=4000000)))
"""


class Compare(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def run_compare(self, *words):
        result = f"{self.folder.name}/result.json"
        command = [sys.executable, COMPARE, "--size", "96", "--crop", "64", "--batch", "2"]
        command += ["--rounds", "2", "--runs", "1", "--inference-runs", "1", "--cold-rounds", "2"]
        command += ["--ours", f"{BUILD}/bench/bench_step", "--program", f"{BUILD}/bin/fulmar"]
        command += ["--json", result, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(result) as file:
            return json.load(file), done.stdout

    def test_without_peers_they_are_named(self):
        result, text = self.run_compare()
        self.assertEqual(result["step"]["left_out"]["torch compile"], "no --torch was given")
        self.assertIn("tensorflow graph is left out: no --tensorflow was given", text)
        for what in ("step", "inference", "cold"):
            (program,) = result[what]["programs"]
            self.assertEqual(program["label"], "fulmar")
            self.assertEqual(program["of_first"], 1)
            self.assertEqual(len(program["rounds"]), 2)
        for what in ("step", "inference"):
            self.assertGreater(result[what]["programs"][0]["peak_bytes"], 0)
            self.assertGreater(result[what]["floor"]["floor_ms"], 0)

    def test_peers_that_give_other_results_or_fail_are_left_out(self):
        check = [f"{BUILD}/bench/bench_step", "--inference", "--check", "--size", "96"]
        ours = subprocess.run(
            check + ["--crop", "64", "--batch", "1"], capture_output=True, text=True, check=True
        )
        peer = f"{self.folder.name}/python"
        with open(peer, "w") as file:
            file.write(PEER.format(logits=json.loads(ours.stdout)["logits"]))
        os.chmod(peer, 0o755)
        result, text = self.run_compare("--torch", peer, "--what", "inference,cold")
        section = result["inference"]
        self.assertEqual(
            [program["label"] for program in section["programs"]], ["fulmar", "onnxruntime default"]
        )
        self.assertGreater(section["programs"][1]["of_first"], 100)
        self.assertIn("its result differs by", section["left_out"]["openvino f32"])
        self.assertIn("no such module", section["left_out"]["torch compile"])
        self.assertIn("onnxruntime default 1.2", text)
        self.assertIn("openvino is left out: ", text.partition("process' start")[2])
        self.assertNotIn("step", result)

    def test_difference_and_picture(self):
        spec = importlib.util.spec_from_file_location("compare", COMPARE)
        compare = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(compare)
        self.assertAlmostEqual(compare.difference([2, -4], [2.1, -4]), 0.025)
        self.assertEqual(compare.difference([1], [1, 2]), float("inf"))
        self.assertEqual(compare.difference([1], [float("nan")]), float("inf"))


if __name__ == "__main__":
    unittest.main()
