"""Times several programs in one run, taking turns, so that all see the same machine.

    alternate.py PLAN.json RESULT.json --rounds N --seconds S

PLAN.json: a list of {"label": ..., "command": [...], "start_seconds": how long it may take to be
ready}. A program prints a line of JSON with "ready" when it is, runs a round and prints a line of
JSON for each line that it is sent, and one more when its stdin ends. What fails or is late is
stopped and says so in the result; the others go on. In the last 30 of --seconds (the last 0.3 of
less than 100) nothing is started any more, after all of them no round begins. The result is
written anew after each step, so that a run that is stopped leaves what it has.
"""

import argparse
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time


class Program:
    def __init__(self, plan):
        self.label = plan["label"]
        self.result = {"label": self.label, "rounds": []}
        self.errors = tempfile.TemporaryFile(mode="w+", errors="replace")
        self.lines = queue.Queue()
        try:
            self.process = subprocess.Popen(
                plan["command"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
            )
        except OSError as error:
            self.process = None
            self.fail(str(error))
            return
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self.lines.put(line)
        self.lines.put(None)

    def alive(self):
        return "failed" not in self.result

    def answer(self, seconds):
        """The next line, or None after noting why there is none."""
        try:
            line = self.lines.get(timeout=max(seconds, 0.1))
        except queue.Empty:
            self.fail(f"no answer within {seconds:.0f} s")
            self.note()
            return None
        if line is None:
            code = self.process.wait()
            self.fail(f"ended with {code}: " + " / ".join(self.last_errors(3)))
            return None
        try:
            return json.loads(line)
        except ValueError:
            self.fail("not JSON: " + line.strip()[:200])
            return None

    def last_errors(self, lines):
        self.errors.seek(0)
        return [text for text in self.errors.read().splitlines() if text.strip()][-lines:]

    def note(self):
        """Of a program that has ended: it may have told why it was slow."""
        if notes := self.last_errors(5):
            self.result["notes"] = notes

    def fail(self, why):
        self.result["failed"] = why
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def send(self):
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended: the answer says so

    def finish(self, seconds):
        try:
            self.process.stdin.close()
        except OSError:
            pass
        if (last := self.answer(seconds)) is not None:
            self.result.update(last)
            try:
                self.process.wait(timeout=max(seconds, 1))
            except subprocess.TimeoutExpired:
                self.fail("did not end")
        if self.alive():
            self.note()


def summed_up(results):
    for result in results:
        if times := [r["ms_per_step"] for r in result["rounds"]]:
            result["ms_per_step"] = statistics.median(times)
            result["ms_per_step_min"] = min(times)
            result["ms_per_step_max"] = max(times)
        if free := [r["ms_per_step_free"] for r in result["rounds"] if "ms_per_step_free" in r]:
            result["ms_per_step_free"] = statistics.median(free)
        # Of the first program's time in the same round: what slows the machine slows both.
        if pairs := [
            r["ms_per_step"] / f["ms_per_step"]
            for r, f in zip(result["rounds"], results[0]["rounds"])
        ]:
            result["of_first"] = statistics.median(pairs)
            result["of_first_min"], result["of_first_max"] = min(pairs), max(pairs)
    return results


def run(plans, rounds, seconds, save):
    end = time.monotonic() + seconds
    left = lambda: end - time.monotonic()
    to_start = lambda: left() - min(30, 0.3 * seconds)
    results, programs = [], []
    for plan in plans:
        if to_start() <= 0:
            results.append({"label": plan["label"], "rounds": [], "failed": "no time was left"})
            continue
        program = Program(plan)
        results.append(program.result)
        if program.alive():
            ready = program.answer(min(plan.get("start_seconds", 60), to_start()))
            if ready is not None:
                ready.pop("ready", None)
                program.result.update(ready)
                programs.append(program)
        save(results)
    for _ in range(rounds):
        for program in [p for p in programs if p.alive()]:
            if left() <= 0:
                break
            program.send()
            if (answer := program.answer(left() + 5)) is not None:
                program.result["rounds"].append(answer)
            save(results)
    for program in [p for p in programs if p.alive()]:
        program.finish(10)
    for result in results:
        if not result["rounds"]:
            result.setdefault("failed", "no time was left")
    save(results)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan")
    parser.add_argument("result")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=160)
    args = parser.parse_args()
    with open(args.plan) as file:
        plans = json.load(file)

    def save(results):
        with open(args.result + ".part", "w") as file:
            json.dump(summed_up(results), file, indent=1)
        os.replace(args.result + ".part", args.result)

    results = run(plans, args.rounds, args.seconds, save)
    for result in results:
        print(result["label"] + ":", result.get("failed") or f"{result['ms_per_step']:.3f} ms")
    if any("failed" in result for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
