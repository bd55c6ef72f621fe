#!/usr/bin/env python3
"""Measures what the worst legal requests of a tenant cost the server, and how long another tenant waits meanwhile.

    tests/tenants/measure.py BINARY [--quick] [--write] [NAME...]
    tests/tenants/measure.py BINARY --neighbour [--quick] [--connections N] [--seconds N] [--runs N] [NAME...]

Starts a store of its own on one drive, fills it as a tenant may (world.py), and sends each request of operations.py (or those whose
operation contains a NAME) again and again: the processor time of the process for each, and by how much its resident memory exceeds
what it was before the first. Both are measured in servers of their own: for memory, one that gives back at once what it frees. An
operation fails that takes more than a second, more than 64 MiB, or that is answered with an error of the server but 501 and 503.

--quick measures a part of them, once each, in small listings, and allows thirty times as much time: for builds that are not
optimised. --write puts the table into docs/internals/security.md.

--neighbour measures the p99 of small requests of another account (GET, HEAD and PUT of 4 KiB) at a gentle rate: alone; beside
processes that only compute, one more than there are processors; beside those and one that writes as many bytes as the case's
requests bring, where they bring many; and while each of the cases whose "operation: what" contains a
NAME (the worst ones, if none is given) is asked for on 32 connections. Those processes and the load yield to the others. It prints
the p99 with each case against the first two, and which of the server's threads computed.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import sys
import tempfile
import time
import typing

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients")]

import operations  # noqa: E402
import run as clients  # noqa: E402
import world as worlds  # noqa: E402
from client import Connection  # noqa: E402
from neighbour import Neighbour  # noqa: E402

CPU_SECONDS_MAX = 1.0
MEMORY_BYTES_MAX = 64 << 20
# Requests of one case go on for so long, or so many.
CASE_SECONDS, CASE_SECONDS_OF_MEMORY = 0.15, 0.05
CASE_REQUESTS_MAX = 50
IDLE_SECONDS = 3.0
# Of a build that is not optimised.
QUICK_TIMES = 30
QUICK_OPERATIONS = ("GetObject", "PutObject", "PutBucketLifecycleConfiguration", "PutBucketPolicy", "DeleteObjects",
                    "CompleteMultipartUpload", "ListObjectsV2", "IAM", "STS", "Admin")
# Those by which a neighbour waits the longest: each takes something else than the others.
WORST_FOR_NEIGHBOURS = (
    "HeadObject: policies of a user", "GetObject: all of 10,000 parts", "CopyObject: an object of 10,000 parts",
    "UploadPartCopy: a range", "DeleteObjects: 1,000 keys by the worst user", "DeleteObjects: 1,000 keys by nobody",
    "DeleteObjects: comments", "PutObject: aws-chunked, a byte a chunk", "PutObject: 8 MiB with SHA256",
    "PutBucketLifecycleConfiguration: empty elements", "CompleteMultipartUpload: references", "ListObjectVersions: names: a page",
    "ListObjectsV2: deleted: prefixes", "IAM: ListPolicies: by the worst user")
DOCS = HERE.parents[1] / "docs"
TABLE, OPERATIONS = DOCS / "internals" / "security.md", DOCS / "reference" / "s3.md"
BEGIN, END = "<!-- costs: written by tests/tenants/measure.py -->\n", "<!-- end of costs -->\n"


class Sizes(typing.NamedTuple):
    keys: int
    uploads: int
    parts: int
    users: int


FULL = Sizes(keys=100_000, uploads=10_000, parts=10_000, users=500)
QUICK = Sizes(keys=2_000, uploads=200, parts=20, users=20)


class Cost(typing.NamedTuple):
    operation: str
    what: str
    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int
    codes: tuple


class Meter:
    """The processor time and memory of a process."""

    def __init__(self, pid):
        self.pid = pid
        # The clock of a process, as clock_getcpuclockid(3) makes it.
        self.clock = (~pid << 3) | 2
        self.idle = 0.0

    def cpu(self):
        return time.clock_gettime(self.clock)

    def status(self, field):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", text)[1]) << 10

    def threads(self):
        """The processor time of each kind of thread: numbers of names do not count."""
        found, ticks = {}, os.sysconf("SC_CLK_TCK")
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                head, _, rest = (task / "stat").read_text().rpartition(")")
                name, fields = re.sub(r"[-:\d]+$", "", head.split("(", 1)[1]), rest.split()
                found[name] = found.get(name, 0) + (int(fields[11]) + int(fields[12])) / ticks
        return found

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def learn_idle(self):
        """What it takes while nobody asks it anything, each second."""
        begin, cpu = time.monotonic(), self.cpu()
        time.sleep(IDLE_SECONDS)
        self.idle = (self.cpu() - cpu) / (time.monotonic() - begin)


def measure(meter, connection, operation, what, make, seconds):
    """One case, for so long; the peak of memory over all of them."""
    first = make(0)
    meter.forget_peak()
    before = meter.status("VmRSS")
    codes, cpu, begin = set(), meter.cpu(), time.monotonic()
    count = 0
    while count == 0 or (time.monotonic() - begin < seconds and count < CASE_REQUESTS_MAX):
        codes.add(connection.send(first if count == 0 else make(count)).code())
        count += 1
    wall = time.monotonic() - begin
    spent = max(0.0, meter.cpu() - cpu - wall * meter.idle)
    grown = max(0, meter.status("VmHWM") - before)
    return Cost(operation, what, spent / count, wall / count, grown, tuple(sorted(codes)))


@contextlib.contextmanager
def server(binary, root, settings=()):
    accounts = root / "accounts.json"
    accounts.write_text(json.dumps({"accounts": clients.ACCOUNTS}))
    accounts.chmod(0o600)
    process, s3, admin = clients.start(binary, root, 1, {"SHERD_ACCOUNTS_FILE": str(accounts), **dict(settings)})
    try:
        yield process, s3, admin
    finally:
        process.terminate()
        process.wait(timeout=60)


def prepare(address, sizes):
    world = worlds.World(address, clients.ACCOUNTS[0], sizes)
    for name in ("spare", "plain"):
        world.bucket(name)
    world.put("spare", "key")
    for make in (world.worst_user, world.padded_user, world.wildcards_user, world.many_users, world.worst_bucket,
                 world.listings, world.parts):
        begin = time.monotonic()
        make()
        print(f"made: {make.__name__} in {time.monotonic() - begin:.1f} s", flush=True)
    return world


def unmeasured(world):
    """Operations of S3 that docs/reference/s3.md says are there, and no case is of."""
    table = OPERATIONS.read_text().split("Of IAM and STS", 1)[0]
    there = set(re.findall(r"^\| (\w+) \| (?:yes|partly)", table, re.MULTILINE))
    assert len(there) > 80, f"{OPERATIONS} has another form"
    return there - {operation for operation, _, _ in operations.cases(world)}


def one_pass(arguments, binary, directory, world, seconds, settings):
    """What each case costs a server with these settings."""
    costs = {}
    with server(binary, directory, settings) as (process, s3, admin):
        world.reach(s3)
        meter, connections = Meter(process.pid), {True: Connection(admin), False: Connection(s3)}
        meter.learn_idle()
        for operation, what, make in operations.cases(world):
            if not any(name in operation for name in arguments.names):
                continue
            connection = connections[operation.startswith("Admin")]
            try:
                costs[operation, what] = measure(meter, connection, operation, what, make, 0 if arguments.quick else seconds)
            except OSError as error:
                sys.exit(f"{operation}: {what}: no answer: {error!r}; {clients.panic_in(directory)}")
        assert process.poll() is None and not clients.panic_in(directory), "the server ended"
    return costs


def run(arguments, sizes, binary, directory):
    """The costs of all cases, as far as they are chosen; whether all are within the bounds."""
    arguments.names = arguments.names or (QUICK_OPERATIONS if arguments.quick else ("",))
    with server(binary, directory) as (process, s3, _):
        world = prepare(s3, sizes)
    missing = unmeasured(world)
    if missing:
        sys.exit(f"no case is of {', '.join(sorted(missing))}")
    given_back = one_pass(arguments, binary, directory, world, CASE_SECONDS_OF_MEMORY, {"MIMALLOC_PURGE_DELAY": "0"})
    costs = given_back if arguments.quick else one_pass(arguments, binary, directory, world, CASE_SECONDS, {})
    costs = [cost._replace(memory_bytes=given_back[name].memory_bytes) for name, cost in costs.items() if name in given_back]
    times = QUICK_TIMES if arguments.quick else 1
    failed = 0
    for cost in costs:
        faults = [code for code in cost.codes if code.startswith("5") or code == "InternalError"]
        within = cost.cpu_seconds <= CPU_SECONDS_MAX * times and cost.memory_bytes <= MEMORY_BYTES_MAX and not faults
        failed += not within
        print(f"{'' if within else 'EXCEEDS '}{cost.cpu_seconds * 1000:9.2f} ms {cost.memory_bytes >> 10:8} KiB "
              f"{cost.operation}: {cost.what} {','.join(cost.codes)}", flush=True)
    if arguments.write:
        write(costs)
    print(f"{len(costs)} cases, {failed} beyond the bounds")
    return failed == 0


def write(costs):
    """The worst of each operation, for the documentation."""
    lines = ["| operation | processor | by | memory | by |", "|---|---|---|---|---|"]
    for operation in sorted({cost.operation for cost in costs}):
        of = [cost for cost in costs if cost.operation == operation]
        slow, large = max(of, key=lambda cost: cost.cpu_seconds), max(of, key=lambda cost: cost.memory_bytes)
        lines.append(f"| {operation} | {slow.cpu_seconds * 1000:.1f} ms | {slow.what} "
                     f"| {large.memory_bytes / (1 << 20):.1f} MiB | {large.what} |")
    text = TABLE.read_text()
    head, rest = text.split(BEGIN, 1)
    TABLE.write_text(head + BEGIN + "\n".join(lines) + "\n" + END + rest.split(END, 1)[1])


def neighbours(arguments, sizes, binary, directory):
    """For each case that the names select: how long another tenant waits, against without."""
    names = arguments.names or WORST_FOR_NEIGHBOURS
    with server(binary, directory) as (process, s3, _):
        world, meter = prepare(s3, sizes), Meter(process.pid)
        neighbour = Neighbour(s3, clients.ACCOUNTS[1])
        cases = [(f"{operation}: {what}", make) for operation, what, make in operations.cases(world)]
        chosen = [(name, make) for name, make in cases if any(wanted in name for wanted in names)]
        processes = (os.cpu_count() or 1) + 1
        for run in range(arguments.runs):
            alone = neighbour.alone(arguments.seconds)
            computing = neighbour.beside_computing(processes, arguments.seconds)
            print(f"run {run + 1}: p50 {alone.p50 * 1000:.1f} ms p99 {alone.p99 * 1000:.1f} ms without load, p99 "
                  f"{computing.p99 * 1000:.1f} ms beside computing; {os.getloadavg()[0]:.1f} processes wait", flush=True)
            for name, make in chosen:
                request = make(0)
                waits, rate, failed, spent = neighbour.beside(request, arguments.connections, arguments.seconds, meter)
                busiest = sorted(spent.items(), key=lambda one: -one[1])[:4]
                beside, mib_each_second = computing, rate * len(request.body) / (1 << 20)
                if mib_each_second >= 1:
                    beside = neighbour.beside_computing(processes, arguments.seconds, directory, mib_each_second)
                print(f"  {waits.p99 / alone.p99:6.1f} x {waits.p99 / beside.p99:6.1f} x  p50 {waits.p50 * 1000:6.1f} "
                      f"p99 {waits.p99 * 1000:6.1f} max {waits.max * 1000:6.1f} ms, beside {mib_each_second:.0f} MiB/s written p99 "
                      f"{beside.p99 * 1000:.1f}, {waits.refused} refused, {rate:7.1f}/s (of all {failed} refused) {name} "
                      f"({', '.join(f'{thread} {cpu:.2f}' for thread, cpu in busiest)})", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--neighbour", action="store_true")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_intermixed_args()
    sizes = QUICK if arguments.quick else FULL
    with tempfile.TemporaryDirectory(prefix="sherd-tenants-") as name:
        directory = pathlib.Path(name)
        if arguments.neighbour:
            neighbours(arguments, sizes, arguments.binary, directory)
        elif not run(arguments, sizes, arguments.binary, directory):
            sys.exit(1)


if __name__ == "__main__":
    main()
