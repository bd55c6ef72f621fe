"""Faults of drives under load: failed writes and syncs, read errors, a full or read-only drive, one drive that is gone.

Each case ends with a cut and a check of the whole ledger, so that a change that was acknowledged over a failed sync shows.
"""

import contextlib
import copy
import errno
import pathlib
import random
import time

from bench import Bench, Stuck
from load import PLAIN

READY = "/health/ready"
MIB = 1 << 20
FILLED_MIB_MAX = 3000
FILL_KEYS = "fill/"


@contextlib.contextmanager
def roaming(bench):
    """A load whose clients go on after errors: their keys stay in doubt."""
    bench.load.start(roams=True)
    try:
        yield
    finally:
        bench.load.end()


def acknowledged_in(bench, seconds):
    before = bench.journal.total("acknowledged")
    time.sleep(seconds)
    return bench.journal.total("acknowledged") - before


def expect(bench, holds, name, detail):
    if not holds:
        bench.journal.violation(name, bench.name, detail)


def finish(bench):
    """A cut, a start without faults, the whole check, and service afterwards."""
    bench.power_off()
    bench.power_on()
    bench.start()
    bench.check(full=True)
    bench.wait_mended()
    with roaming(bench):
        afterwards = acknowledged_in(bench, 2)
    expect(bench, afterwards > 0, "service", "nothing is acknowledged after the restart")
    bench.check(full=True)


def failing(drives, op, number, path):
    """One operation on a file of a kind fails, once."""

    def case(bench):
        with roaming(bench):
            time.sleep(1)
            bench.drives.command("fault", drives="h0d0", op=op, path=path or None, errno=number, times=1)
            goes_on = acknowledged_in(bench, 3)
            bench.record(hits=bench.drives.command("heal"), acknowledged=goes_on)
            if drives > 1:
                expect(bench, goes_on > 0, "service", "one failed call on one of four drives stops all changes")
        finish(bench)

    kind = path.strip("./").replace("/", "_") or "any"
    return f"fail-{op}-{errno.errorcode[number].lower()}-{kind}-{drives}", drives, case


def failed_sync_and_restart(drives, path):
    """A sync fails; the process restarts while the machine stays up, so that unwritten pages are still seen and another sync of
    them succeeds; work goes on; then a cut."""

    def case(bench):
        with roaming(bench):
            time.sleep(1)
            bench.drives.command("fault", op="sync", path=path, times=drives)
            time.sleep(2)
            bench.drives.command("heal")
            bench.store.terminate()
        bench.store.reap(60)
        bench.start()
        bench.check(full=True)
        with roaming(bench):
            time.sleep(3)
        bench.check(full=False)
        finish(bench)

    return f"failed-sync-restart-{path.strip('./').replace('/', '_')}-{drives}", drives, case


def full(bench):
    """A small drive is filled through S3, then by another's file to the last byte, and started in that state."""
    bench.drives.command("set", capacity_mib=1500)
    s3, number = bench.store.client(), 0
    while number < FILLED_MIB_MAX and (answer := put(s3, f"{number:05}", bytes(MIB))).done:
        number += 1
    expect(bench, answer.status in (503, 507), "full", f"a full drive answers {answer.status} {answer.code()}")
    expect(bench, s3.call("GET", f"/{PLAIN}/{FILL_KEYS}00000").done, "full", "a full drive does not serve reads")
    filler = bench.drives.mounts["h0d0"] / "filler"
    fill_to_the_last_byte(filler)
    expect(bench, s3.call("GET", f"/{PLAIN}/{FILL_KEYS}00001").done, "full", "reads fail where not a byte is left")
    deleted = s3.call("DELETE", f"/{PLAIN}/{FILL_KEYS}00002").done
    bench.power_off()
    bench.power_on()
    # The filler was not synced: written again, so that the start finds no byte either.
    fill_to_the_last_byte(filler)
    bench.start(path=READY)
    s3 = bench.store.client()
    expect(bench, s3.read("GET", f"/{PLAIN}/{FILL_KEYS}00001").done, "full", "reads fail after a start without a free byte")
    filler.unlink()
    bench.drives.command("set", capacity_mib=16384)
    deadline = time.monotonic() + 90
    while not put(s3, "again", b"x").done:
        if time.monotonic() > deadline:
            raise Stuck("no write succeeds 90 s after there is room")
        time.sleep(0.5)
    wanted = {f"{at:05}" for at in range(number)} - ({"00002"} if deleted else set())
    wrong = [key for key in sorted(wanted) if not s3.read("GET", f"/{PLAIN}/{FILL_KEYS}{key}").done]
    expect(bench, not wrong, "lost", f"{len(wrong)} objects, such as {wrong[:5]}")
    for key in s3.list_objects(PLAIN):
        s3.call("DELETE", f"/{PLAIN}/{key}")
    s3.close()
    finish(bench)


def put(s3, key, body):
    return s3.call("PUT", f"/{PLAIN}/{FILL_KEYS}{key}", body=body)


def fill_to_the_last_byte(path: pathlib.Path):
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(MIB))


def unreadable(bench):
    """Reads of one drive fail: one alone answers errors, never other bytes; of four, the others serve."""
    with roaming(bench):
        time.sleep(2)
        bench.drives.command("fault", drives="h0d0", op="read")
        goes_on = acknowledged_in(bench, 4)
    bench.drives.command("heal")
    if len(bench.names) > 1:
        expect(bench, goes_on > 0, "service", "read errors of one of four drives stop all changes")
    finish(bench)


def read_only(bench):
    """A drive refuses writes, as a file system does that was remounted after an error."""
    with roaming(bench):
        time.sleep(2)
        bench.drives.command("set", drives="h0d0", readonly=1)
        goes_on = acknowledged_in(bench, 4)
    if len(bench.names) > 1:
        expect(bench, goes_on > 0, "service", "one of four drives that is read-only stops all changes")
    bench.power_off()
    bench.power_on()
    bench.drives.command("set", drives="h0d0", readonly=0)
    bench.start()
    finish(bench)


def one_drive_cut(hangs):
    """One of four drives loses its power while the process lives, or hangs for a while."""

    def case(bench):
        with roaming(bench):
            time.sleep(2)
            bench.drives.command("cut", drives="h0d1", hangs=hangs)
            time.sleep(6)
            goes_on = acknowledged_in(bench, 3)
            bench.drives.command("release", drives="h0d1")
            bench.drives.power_on(7, "h0d1")
            time.sleep(2)
        expect(bench, goes_on > 0, "service", "the loss of one of four drives stops all changes")
        finish(bench)

    return f"drive-{'hangs' if hangs else 'cut'}", 4, case


def cases():
    """(name, drives, case) of each."""
    listed = []
    for drives in (1, 4):
        for op, number in (("sync", errno.EIO), ("write", errno.EIO), ("write", errno.ENOSPC)):
            listed += [failing(drives, op, number, path) for path in ("shards/", "meta/log", "index/", "state/")]
        for op, number in (("syncdir", errno.EIO), ("rename", errno.EIO), ("create", errno.ENOSPC), ("allocate", errno.ENOSPC)):
            listed.append(failing(drives, op, number, ""))
        listed += [failed_sync_and_restart(drives, path) for path in ("shards/", "meta/log", ".seg")]
        listed += [(f"unreadable-{drives}", drives, unreadable), (f"read-only-{drives}", drives, read_only)]
    return [*listed, ("full", 1, full), one_drive_cut(0), one_drive_cut(1)]


def faults(options):
    """Cases in random order until the time is over; a list of benches."""
    end, benches = time.monotonic() + options.seconds, []
    listed = cases()
    random.Random(options.seed).shuffle(listed)
    for name, drives, case in listed[: options.rounds]:
        if time.monotonic() > end:
            break
        bench = Bench(copy.copy(options), f"{options.name}/{name}", drives=drives)
        benches.append(bench)
        try:
            bench.first_start()
            case(bench)
        except Stuck as error:
            bench.stuck(error)
        finally:
            bench.close()
    return benches
