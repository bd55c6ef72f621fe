#!/usr/bin/env python3
"""Cuts the power of the real binary under load, and holds it to a ledger of what it acknowledged.

    tests/power/run.py BINARY                          every scenario, for SHERD_POWER_SECONDS (200) in all
    tests/power/run.py BINARY one four --seconds 900   these, 900 seconds each
    tests/power/run.py --probe                         exit code 77 where cutfs cannot mount a drive

The store's drives are mounts of `cutfs`, a file system in memory that loses, keeps or tears what was not synced; all drives
of a scenario lose their power at the same instant. The scenarios are the functions of scenarios.py, and `faults` of faults.py.

Before them the harness proves that it finds losses: with relaxed durability, and on drives that answer syncs without doing
them, it must report a loss within PROOF_ROUNDS_MAX rounds. `--no-proof` leaves that out.

Each scenario prints a line of JSON at its end. In the work directory (--work, target/power) are: NAME/rounds.jsonl with a line
for each round; NAME/operations.tsv with every operation and its outcome; NAME/n0/ with the log of each start; and for each
violation NAME/violations-ROUND/ with the last operations on the drives. `--seed` repeats what is drawn; threads and processes
do not repeat themselves. Exit code 1: something was lost, or a loss was not found.
"""

import argparse
import copy
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from bench import OPEN
from drives import Drives
from faults import faults
from scenarios import PROOFS, SCENARIOS

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MISSING = 77
PROOF_ROUNDS_MAX = 15
PROOF_SECONDS_MAX = 240
# Of the time of a run of all: shares, and what becomes of unsynced names.
PLAN = [("one", 0.2, "journal"), ("one", 0.1, "posix"), ("churn", 0.2, "journal"), ("four", 0.18, "journal"),
        ("hosts", 0.2, "journal"), ("first", 0.05, "posix"), ("stop", 0.05, "journal"), ("faults", 0.1, "journal")]  # fmt: skip


def build_cutfs():
    command = ["cargo", "build", "--locked", "--manifest-path", HERE / "cutfs" / "Cargo.toml", "--target-dir", ROOT / "target" / "cutfs"]
    subprocess.run(command, check=True)
    return ROOT / "target" / "cutfs" / "debug" / "cutfs"


def run(options, scenario, **changed):
    """The benches of a scenario, closed; prints their summaries."""
    options = copy.copy(options)
    vars(options).update(changed)
    benches = scenario(options)
    benches = benches if isinstance(benches, list) else [benches]
    for bench in benches:
        bench.close()
        print(json.dumps(bench.summary()), flush=True)
    return benches


def prove(options):
    """The losses that the harness missed, a line each."""
    missed = []
    for name, scenario in PROOFS.items():
        (bench,) = run(options, scenario, name=f"proof-{name}", seconds=PROOF_SECONDS_MAX, rounds=PROOF_ROUNDS_MAX)
        # A store whose drives lie may also find by itself that it is damaged, and refuse to start.
        if not (bench.journal.violations or (name == "lies" and bench.failures)):
            missed.append(f"proof-{name}: no loss was found in {bench.tally['rounds']} rounds; {bench.failures}")
    return missed


def problems(benches):
    found = []
    for bench in benches:
        found += [f"{bench.name}: {kind} {key}: {detail[:500]}" for kind, key, detail in bench.journal.violations[:5]]
        found += [f"{bench.name}: stuck: {failure[-1500:]}" for failure in bench.failures]
        if not bench.tally["cuts"] or (bench.has_load and not bench.journal.total("acknowledged")):
            found.append(f"{bench.name}: nothing happened: {bench.tally}")
    return found


def plan(options):
    """(name, scenario, seconds, names) of each scenario to run."""
    known = SCENARIOS | {"faults": faults}
    if options.scenarios:
        seconds = options.seconds or 600
        return [(name, known[name], seconds, options.names or "journal") for name in options.scenarios]
    seconds = options.seconds or float(os.environ.get("SHERD_POWER_SECONDS", "200"))
    return [(f"{name}-{names}", known[name], seconds * share, names) for name, share, names in PLAN]


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sherd", metavar="BINARY", type=pathlib.Path)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, "faults", []], metavar="SCENARIO")
    parser.add_argument("--cutfs", type=pathlib.Path, help="the file system's binary; built where none is given")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "target" / "power")
    parser.add_argument("--seconds", type=float, help="for each scenario; for all of them where none is named")
    parser.add_argument("--rounds", type=int, default=10**6)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SHERD_POWER_SEED", "1")))
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--names", choices=["posix", "posix-but-mkdir", "journal"], help="what becomes of unsynced names")
    parser.add_argument("--durability", default="strict", help="SHERD_DURABILITY")
    parser.add_argument("--scale", default="small", help="SHERD_SCALE")
    parser.add_argument("--no-proof", action="store_true")
    parser.add_argument("--capacity-mib", type=int, default=16384)
    options = parser.parse_args()
    for name in ("sherd", "cutfs", "work"):
        if getattr(options, name):
            setattr(options, name, getattr(options, name).resolve())
    return options


def probe():
    """Exits: 0 where a drive can be mounted, 77 where not."""
    cutfs = build_cutfs()
    with tempfile.TemporaryDirectory() as directory:
        try:
            Drives(cutfs, directory, ["probe"]).close()
        except RuntimeError as error:
            print(f"power cuts cannot be made here: {error}; {pathlib.Path(directory, 'cutfs.log').read_text()}")
            sys.exit(MISSING)
    sys.exit(0)


def main():
    if sys.argv[1:] == ["--probe"]:
        probe()
    # So that the processes started here are ended and the drives unmounted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    options = parsed()
    options.cutfs = options.cutfs or build_cutfs()
    options.work.mkdir(parents=True, exist_ok=True)
    try:
        found = run_all(options)
    finally:
        for bench in list(OPEN):
            bench.close()
    for line in found:
        print(line, flush=True)
    print(f"power: {'failed' if found else 'nothing was lost'}")
    sys.exit(1 if found else 0)


def run_all(options):
    """The problems found, a line each."""
    found = [] if options.no_proof else prove(argparse.Namespace(**vars(options) | {"names": options.names or "journal"}))
    for name, scenario, seconds, names in plan(options):
        found += problems(run(options, scenario, name=name, seconds=seconds, names=names))
    return found


if __name__ == "__main__":
    main()
