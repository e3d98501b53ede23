#!/usr/bin/env python3
"""Looks at what nvcc makes of the separable convolution's kernels: products of bf16 on tensor
cores, 16 bytes at once to and from memory, and no register that is spilled.

    tools/cuda_code.py [--nvcc nvcc] [--arch sm_90]

Reads machine code (SASS) where cuobjdump is beside nvcc or in PATH; else PTX, and says so: what
ptxas makes of that is then known by its own report of registers and spills alone.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

SOURCES = ("separable.cu", "separable_grad.cu")
# What each bf16 kernel must have.
PTX = {
    "products on tensor cores": r"\bmma\.sync\.aligned\.m16n8k(16|8)\.row\.col\.f32\.bf16",
    "fragments by ldmatrix": r"\bldmatrix\.sync",
    "loads of 16 bytes": r"\bld\.global[a-z.]*\.v4\.[a-z]32",
    "stores of 16 bytes": r"\bst\.global[a-z.]*\.v4\.[a-z]32",
}
SASS = {
    "products on tensor cores": r"\bHMMA\.",
    "fragments by ldmatrix": r"\bLDSM\.",
    "loads of 16 bytes": r"\bLDG\.E\.[A-Z.]*128",
    "stores of 16 bytes": r"\bSTG\.E\.[A-Z.]*128",
}


def run(words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{words[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def kernels_of(text, heading):
    """Name -> code, from a text whose parts begin with lines that name a kernel."""
    parts = re.split(heading, text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def short(name):
    """separable_grad_kernel<bf16, 8>"""
    found = re.search(r"(separable(?:_grad)?_kernel)I(NS_4bf16E|f)Li(\d+)E(?:Lb(\d)E)?", name)
    if not found:
        return None
    words = ["float" if found[2] == "f" else "bf16", found[3]]
    if found[4] == "1":
        words.append("chunked")
    return f"{found[1]}<{', '.join(words)}>"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--arch", default="sm_90")
    asked = parser.parse_args()
    nvcc = shutil.which(asked.nvcc) or sys.exit(f"{asked.nvcc} is not here")
    beside = os.pathsep.join([os.path.dirname(os.path.realpath(nvcc)), os.environ.get("PATH", "")])
    cuobjdump, ptxas = (shutil.which(tool, path=beside) for tool in ("cuobjdump", "ptxas"))
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    print("SASS by cuobjdump" if cuobjdump
          else "PTX, for want of cuobjdump: no machine code was read")
    complaints = []
    with tempfile.TemporaryDirectory() as folder:
        for source in SOURCES:
            ptx, cubin = os.path.join(folder, "x.ptx"), os.path.join(folder, "x.cubin")
            run([nvcc, "-std=c++20", "-O3", "-DNDEBUG", f"-I{root}", f"-arch={asked.arch}",
                 "--expt-relaxed-constexpr", "-ptx", os.path.join(root, "kernels/cuda", source),
                 "-o", ptx])
            report = run([ptxas, "-v", f"-arch={asked.arch}", ptx, "-o", cubin])
            if cuobjdump:
                code = kernels_of(run([cuobjdump, "-sass", cubin]), r"^\s*Function : (\S+)")
            else:
                with open(ptx, encoding="utf-8") as text:
                    code = kernels_of(text.read(), r"\.entry (\S+)\(")
            used = kernels_of(report, r"Compiling entry function '(\S+)'")
            for name, text in code.items():
                if not short(name):
                    continue
                registers = re.search(r"Used (\d+) registers", used[name])[1]
                spilled = int(re.search(r"(\d+) bytes spill stores", used[name])[1])
                print(f"{short(name)}: {registers} registers, {spilled} bytes spilled")
                if spilled:
                    complaints.append(f"{short(name)} spills {spilled} bytes")
                if "bf16" not in short(name):
                    continue
                for what, pattern in (SASS if cuobjdump else PTX).items():
                    if not re.search(pattern, text):
                        complaints.append(f"{short(name)} has no {what}")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
