#!/usr/bin/env python3
"""Counts the instructions of the hot paths of src/hot_paths.rs, and compares them with counts.tsv.

    tests/instructions/run.py            builds the unit tests as `cargo test --lib` does, and counts
    tests/instructions/run.py --write    writes counts.tsv anew

Counts are of one repetition, by callgrind, and repeat to a thousandth. They are of a build that is not optimised, so they
compare only with one another. Exit code 1: a path takes over 5 % more, or less,
than counts.tsv has; the counts of another compiler are printed, and not compared. 77: there is no valgrind.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

COUNTS = pathlib.Path(__file__).resolve().parent / "counts.tsv"
TEST = "hot_paths::hot_paths"
TOLERANCE = 0.05
MISSING = 77
SECONDS_MAX = 600


def build():
    """The path of the unit tests."""
    command = ["cargo", "test", "--locked", "--lib", "--no-run", "--message-format=json"]
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    paths = [json.loads(line).get("executable") for line in built.splitlines()]
    return next(path for path in reversed(paths) if path)


def count(binary):
    """The instructions of one repetition of each path, by name."""
    with tempfile.TemporaryDirectory() as work:
        out = pathlib.Path(work) / "out"
        # What is counted is ended by the start of the next path, and the last one by the end of the program.
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        valgrind += ["--toggle-collect=*hot_paths::counted*", "--dump-before=*hot_paths::count"]
        test = [binary, "--exact", TEST, "--ignored", "--nocapture", "--test-threads=1"]
        ran = subprocess.run(valgrind + test, capture_output=True, text=True, timeout=SECONDS_MAX)
        if ran.returncode != 0:
            sys.exit(f"{TEST} failed:\n{ran.stdout}{ran.stderr}")
        paths = [(name, int(rounds)) for name, rounds in re.findall(r"(\S+) (\d+)$", ran.stdout, re.MULTILINE)]
        dumps = [out.with_name(f"out.{at + 2}") for at in range(len(paths) - 1)] + [out]
        return {name: total(dump) // rounds for (name, rounds), dump in zip(paths, dumps)}


def total(dump):
    return int(re.search(r"^totals: (\d+)$", dump.read_text(), re.MULTILINE)[1])


def read():
    """The compiler and the counts of counts.tsv."""
    (_, compiler), *rows = [line.split("\t") for line in COUNTS.read_text().splitlines()]
    return compiler, {name: int(instructions) for name, instructions in rows}


def write(compiler, counts):
    rows = [("rustc", compiler), *counts.items()]
    COUNTS.write_text("".join(f"{name}\t{value}\n" for name, value in rows))


def differ(counts, kept):
    """Prints a line for each path. Returns whether one is not as it was."""
    differs = counts.keys() != kept.keys()
    for name in {**kept, **counts}:
        now, before = counts.get(name), kept.get(name)
        change = (now - before) / before if now and before else None
        print(f"{name:<18}{now or 'gone':>12}{before or 'new':>12}{'' if change is None else f'{change:+9.1%}'}")
        differs |= change is None or abs(change) > TOLERANCE
    return differs


def main():
    if shutil.which("valgrind") is None:
        print("skipped: instructions, which valgrind counts")
        return MISSING
    if sys.argv[1:] not in ([], ["--write"]):
        sys.exit(__doc__)
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    counts = count(build())
    if "--write" in sys.argv:
        write(compiler, counts)
    kept_by, kept = read()
    differs = differ(counts, kept)
    if compiler != kept_by:
        print(f"not compared: counts.tsv is of rustc {kept_by}, and this one is {compiler}")
        return 0
    if differs:
        print("the counts have changed: find out why, and keep them with --write")
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
