#!/usr/bin/env python3
"""Runs clang-tidy on C++ sources, on as many cores as there are, but not on what it found clean before.

    tools/tidy.py CLANG_TIDY BUILD [FILE...]

BUILD is a configured and built folder: its compile_commands.json has the flags, its ninja's log of
dependencies the headers. A file's key covers clang-tidy's version, its configuration, the command, and
the contents of the file and of all that it includes; a key in FULMAR_TIDY_CACHE (default:
$XDG_CACHE_HOME/fulmar-tidy) was clean. Prints findings; exits with 1 where there are any.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent


def cache_folder():
    given = os.environ.get("FULMAR_TIDY_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = pathlib.Path(given) if given else pathlib.Path(base) / "fulmar-tidy"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def dependencies(build):
    """Object file -> files that its source included when it was compiled."""
    found, current = {}, None
    text = subprocess.run(["ninja", "-C", build, "-t", "deps"], check=True, capture_output=True,
                          text=True).stdout
    for line in text.splitlines():
        if line.startswith("ninja: "):
            continue
        if not line.startswith(" "):
            name = line.split(":")[0]
            current = found.setdefault(name, []) if "(VALID)" in line else []
        elif line.strip():
            current.append(line.strip())
    return found


class Digests:
    """Contents of files, each read once."""

    def __init__(self, build):
        self.build, self.known = build, {}

    def of(self, path):
        if path not in self.known:
            data = (self.build / path).read_bytes()
            self.known[path] = hashlib.sha256(data).hexdigest()
        return self.known[path]


def key_of(entry, included, digests, common):
    """None: never compiled, so that it isn't known what it includes."""
    output = re.search(r" -o (\S+)", entry["command"])
    paths = included.get(output.group(1)) if output else None
    if not paths:
        return None
    hashed = hashlib.sha256(common)
    hashed.update(entry["command"].replace(str(root), ".").encode())
    for path in sorted(paths):
        name = os.path.relpath(digests.build / path, root)
        hashed.update(f"{name} {digests.of(path)}\n".encode())
    return hashed.hexdigest()


def configuration(tidy):
    text = subprocess.run([tidy, "--version"], check=True, capture_output=True).stdout
    for path in sorted(path for path in root.glob("**/.clang-tidy") if "build" not in path.parts):
        text += path.read_bytes()
    return text


def check(tidy, build, path):
    """What clang-tidy says of a file; empty where it is clean."""
    ran = subprocess.run([tidy, "--quiet", "--extra-arg=-Wno-unknown-warning-option", "-p", build,
                          str(path)], capture_output=True, text=True, cwd=root)
    counts = ("warnings generated", "warning generated", "Suppressed", "Use -header-filter")
    said = [line for line in (ran.stdout + ran.stderr).splitlines()
            if not any(count in line for count in counts)]
    if ran.returncode and not said:
        said = [f"{path}: clang-tidy ended with {ran.returncode}"]
    return "\n".join(said)


def main():
    tidy, build, files = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), sys.argv[3:]
    entries = {entry["file"]: entry
               for entry in json.loads((build / "compile_commands.json").read_text())}
    included, digests, cache = dependencies(build), Digests(build), cache_folder()
    common = configuration(tidy)
    keys, wanted = {}, []
    for name in files:
        path = (root / name).resolve()
        entry = entries.get(str(path))
        keys[path] = entry and key_of(entry, included, digests, common)
        if not keys[path] or not (cache / keys[path]).exists():
            wanted.append(path)
    print(f"tidy: {len(files) - len(wanted)} of {len(files)} files were found clean before",
          file=sys.stderr)
    # The largest first, so that no core is left with one at the end.
    wanted.sort(key=lambda path: -path.stat().st_size)
    bad = False
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, said in zip(wanted, pool.map(lambda p: check(tidy, build, p), wanted)):
            if said:
                print(said, flush=True)
                bad = True
            elif keys[path]:
                (cache / keys[path]).touch()
    return bad


sys.exit(main())
