#!/usr/bin/env python3
"""Checks includes between rooms of the sources: rooms.py TABLE, paths of sources on stdin.

Prints each forbidden include as "file:line: why", and each circle of the table. Exits with 1 where
there is any. rooms.txt explains the table.
"""

import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]')
OUTERMOST = {"tests", "examples"}


class Room:
    def __init__(self):
        self.may_include = set()
        self.never = []


def read_table(path):
    """Rooms by name. A line that begins with a space goes on with the line before it."""
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"#.*", "", file.read())
    rooms = {}
    for line in re.sub(r"\n[ \t]+", " ", text).splitlines():
        if not line.strip():
            continue
        name, arrow, rest = line.partition("->")
        if not arrow:
            sys.exit(f"{path}: no '->' in '{line}'")
        room = rooms[name.strip()] = Room()
        allowed, _, never = rest.partition(" not ")
        room.may_include = set(allowed.split())
        room.never = never.split()
    for name, room in rooms.items():
        if "*" in room.may_include:
            room.may_include = set(rooms) - OUTERMOST - {name}
        unknown = room.may_include - set(rooms)
        if unknown:
            sys.exit(f"{path}: '{name}' may include {', '.join(sorted(unknown))}, which is no room")
    return rooms


def holds(name, path):
    if name.endswith(".*"):
        return path.rpartition(".")[0] == name[:-2]
    return path == name or path.startswith(name + "/")


def room_of(path, rooms):
    """The narrowest room that holds the path: "engine/io" of engine/io/file.h."""
    return max((name for name in rooms if holds(name, path)), key=len, default=None)


def find_circle(rooms):
    """Names of rooms that include each other in a ring; empty where there is none."""
    done = set()

    def visit(name, way):
        if name in way:
            return way[way.index(name):] + [name]
        if name in done:
            return []
        for other in sorted(rooms[name].may_include):
            ring = visit(other, way + [name])
            if ring:
                return ring
        done.add(name)
        return []

    for name in rooms:
        ring = visit(name, [])
        if ring:
            return ring
    return []


def faults_of(path, rooms, table):
    name = room_of(path, rooms)
    if name is None:
        yield f"{path}: in no room of {table}"
        return
    room = rooms[name]
    with open(path, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            header = found[1]
            other = room_of(header, rooms)
            if other and other != name and other not in room.may_include:
                yield (f"{path}:{number}: {name} must not include {header}: {table} has no arrow "
                       f"{name} -> {other}")
            if any(header.startswith(start) for start in room.never):
                yield f"{path}:{number}: {name} must not include {header}: {table} says 'not'"


def main():
    table = sys.argv[1]
    rooms = read_table(table)
    faults = []
    ring = find_circle(rooms)
    if ring:
        faults.append(f"{table}: a circle of rooms: {' -> '.join(ring)}")
    for path in sys.stdin.read().splitlines():
        faults.extend(faults_of(path, rooms, table))
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
