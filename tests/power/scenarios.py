"""Scenarios of power cuts. Each takes the options and returns its bench, closed or not, with what it found."""

import time

from bench import FILES, VIOLATIONS_MAX, Bench, Stuck, replace
from load import Load

CHANGES = [None, None, None, "sync", "write", "rename", "create", "remove", "syncdir", "truncate"]
# A change that is on its way to a leader may take effect for so long.
PROPOSAL_SECONDS_MAX = 7
STOP_SECONDS_MAX = 15


def one_round(bench, churn=False):
    """Load, then a cut: at a moment, at an operation, in a stop, in a start, at rest. Returns which."""
    draw = bench.random.random()
    bench.load.start(churn=churn)
    moment = bench.random.uniform(0.05, 1.0) if bench.random.random() < 0.4 else bench.random.uniform(0.5, 3.5)
    way, cut = "moment", True
    if draw < 0.35:
        time.sleep(moment)
    elif draw < 0.75:
        time.sleep(moment / 3)
        way, cut = cut_at_operation(bench)
    elif draw < 0.85:
        time.sleep(moment)
        bench.store.terminate()
        way, cut = "stop", cut_soon(bench, bench.random.uniform(0, 0.6), 6)
    elif draw < 0.95:
        time.sleep(moment)
        for store in bench.stores:
            store.kill()
        for store in bench.stores:
            store.reap()
        bench.tally["kills"] += 1
        for store in bench.stores:
            store.spawn()
        way, cut = "start", cut_soon(bench, bench.random.uniform(0, 1.0), 8)
    else:
        time.sleep(moment)
        bench.load.end()
        time.sleep(bench.random.uniform(0, 3))
        way = "at rest"
    bench.power_off(cut=cut)
    bench.load.end()
    return way


def cut_at_operation(bench):
    op, path = bench.random.choice(CHANGES), bench.random.choice(FILES)
    if bench.random.random() < 0.6:
        op, path = bench.recent_operation()
    count = int(2 ** bench.random.uniform(0, 5 if op or path else 9))
    bench.arm(count, path, op)
    cut = not bench.drives.wait_cut(4)
    bench.drives.command("disarm")
    return f"operation {count} of {op} in {path!r}{' (did not happen)' if cut else ''}", cut


def cut_soon(bench, seconds, exponent_max):
    """Within these seconds, at an operation at times; whether the cut is still to be made."""
    if bench.random.random() < 0.5:
        bench.arm(int(2 ** bench.random.uniform(0, exponent_max)))
    cut = not bench.drives.wait_cut(seconds)
    bench.drives.command("disarm")
    return cut


def loop(bench, damage=None, churn=0, until=None, prepare=None):
    """Rounds until the time or their number is over, or `until` says so.

    `prepare` changes the bench after the first start, `damage` its drives before the store restarts after a cut.
    """
    options = bench.options
    end, number = time.monotonic() + options.seconds, 0
    try:
        bench.first_start()
        if prepare:
            prepare(bench)
        while time.monotonic() < end and number < options.rounds and not (until and until(bench)):
            number += 1
            bench.tally["rounds"] += 1
            bench.draw_delays()
            way = one_round(bench, bench.random.random() < churn)
            if damage:
                way += damage(bench)
            found = bench.recover()
            violations = bench.check(full=number % 10 == 0)
            if bench.lost:
                bench.store.kill()
                bench.store.reap()
                replace(bench, bench.lost)
                bench.lost = None
                bench.start()
            mended = None
            bench.mending = bool(damage) and bench.random.random() < 0.3
            if damage and not bench.mending:
                mended = bench.wait_mended()
            compacted = bench.store.sum("sherd_compacted_segments_total")
            bench.record(round=number, way=way, **found, recovery_s=round(bench.recoveries[-1], 2), mended_s=mended,
                         violations=len(violations), compacted=compacted)  # fmt: skip
            if len(bench.journal.violations) > VIOLATIONS_MAX:
                break
        bench.check(full=True)
    except Stuck as error:
        bench.stuck(error)
    return bench


def one(options):
    """One drive."""
    return loop(Bench(options, options.name))


def churn(options):
    """Many writes and deletes, on small limits: segments are compacted, the metadata is compacted into snapshots."""
    options.scale = "small"
    return loop(Bench(options, options.name), churn=0.7)


def four(options):
    """The cut hits four drives at once; at times one of them is lost then, or has the state of an earlier cut.

    One, and not two: an object whose write was acknowledged with k+1 of its shards may lack the last until it is repaired.
    """
    bench, saved = Bench(options, options.name, drives=4), {}

    def damage(bench):
        # What is being rebuilt on one drive may rest on all the others but one.
        if bench.mending:
            return "; still mending"
        victim, draw = bench.random.choice(bench.names), bench.random.random()
        if draw < 0.25:
            bench.power_on()
            bench.drives.command("wipe", drives=victim)
            if bench.random.random() < 0.5:
                replace(bench, victim)
                return f"; {victim} is replaced"
            bench.lost = victim
            return f"; {victim} is lost, and replaced after the check"
        if draw < 0.55 and saved:
            name = bench.random.choice(list(saved))
            bench.power_on()
            bench.drives.command("restore", drives=name, **{"as": name})
            return f"; {name} as it was in round {saved[name]}"
        if bench.random.random() < 0.3:
            bench.power_on()
            bench.drives.command("save", drives=victim, **{"as": victim})
            saved[victim] = bench.tally["rounds"]
        return ""

    return loop(bench, damage=damage)


def hosts(options):
    """Three hosts of a drive each: all are cut at once, or one or two under load while the others go on."""
    bench = Bench(options, options.name, hosts=3)
    end, number = time.monotonic() + options.seconds, 0
    try:
        bench.first_start()
        bench.wait_mended()
        while time.monotonic() < end and number < options.rounds:
            number += 1
            bench.tally["rounds"] += 1
            bench.draw_delays()
            bench.load.start()
            time.sleep(bench.random.uniform(0.5, 3))
            way, found = cut_hosts(bench)
            time.sleep(PROPOSAL_SECONDS_MAX)
            mended = bench.wait_mended()
            violations = bench.check(full=number % 5 == 0, store=bench.random.choice(bench.stores))
            bench.record(round=number, way=way, **found, recovery_s=round(bench.recoveries[-1], 2), mended_s=mended,
                         violations=len(violations))  # fmt: skip
        bench.check(full=True)
    except Stuck as error:
        bench.stuck(error)
    return bench


def cut_hosts(bench):
    draw = bench.random.random()
    if draw < 0.5:
        bench.power_off()
        bench.load.end()
        return "all", bench.recover(cuts_in_recovery=0.25)
    victims = bench.random.sample(bench.stores, 1 if draw < 0.9 else 2)
    way = f"hosts {[bench.stores.index(store) for store in victims]}"
    bench.power_off(victims)
    time.sleep(bench.random.uniform(0.2, 5))
    found = bench.power_on(victims)
    if bench.random.random() < 0.3:
        for store in victims:
            store.spawn()
        time.sleep(bench.random.uniform(0.05, 1.5))
        bench.power_off(victims)
        bench.tally["cuts_in_recovery"] += 1
        bench.power_on(victims)
        way += ", and again"
    bench.start(victims)
    time.sleep(bench.random.uniform(0, 2))
    if bench.random.random() < 0.3:
        way += ", then all"
        bench.power_off()
        bench.load.end()
        bench.recover(cuts_in_recovery=0)
    else:
        bench.load.end()
    return way, found


def young(options):
    """A new store each time, cut in the first seconds of its life; checked at once, and when compaction had its time."""
    bench = Bench(options, options.name)
    end = time.monotonic() + options.seconds
    while time.monotonic() < end and bench.tally["rounds"] < options.rounds:
        bench.tally["rounds"] += 1
        bench.drives.command("wipe")
        bench.load = Load(bench.stores, bench.journal, options.clients, bench.random.random())
        try:
            bench.first_start()
            bench.load.start()
            time.sleep(bench.random.uniform(0.5, 3))
            unsynced = bench.drives.command("pending")
            bench.power_off()
            bench.load.end()
            found = bench.power_on()
            bench.start()
            violations = bench.check(full=True)
            time.sleep(4)
            violations += bench.check(full=True) if not violations else []
            bench.record(round=bench.tally["rounds"], **found, violations=len(violations))
            if violations:
                bench.evidence(f"{bench.tally['rounds']:04}-names", unsynced.split("|"))
        except Stuck as error:
            bench.stuck(error)
        bench.power_off()
        bench.power_on()
    return bench


def first(options):
    """Cuts at each of the first operations of the very first start; printed credentials and acknowledged changes must hold."""
    bench = Bench(options, options.name)
    bench.has_load = False
    # No credentials are given: those that are printed are a promise.
    for name in ("SHERD_ACCESS_KEY", "SHERD_SECRET_KEY"):
        bench.store.environment.pop(name)
    end = time.monotonic() + options.seconds
    while time.monotonic() < end and bench.tally["rounds"] < options.rounds:
        bench.tally["rounds"] += 1
        bench.drives.command("wipe")
        # A few operations, or any number up to those of a whole start.
        count = int(2 ** bench.random.uniform(0, 11))
        promised, bucket_made = first_promise(bench, count)
        found = bench.power_on()
        if bench.random.random() < 0.3:
            bench.arm(int(2 ** bench.random.uniform(0, 8)))
            bench.store.spawn()
            bench.drives.wait_cut(1)
            bench.drives.command("disarm")
            promised = promised or printed_keys(bench.store.output)
            bench.power_off()
            bench.tally["cuts_in_recovery"] += 1
            bench.power_on()
        try:
            bench.start()
            check_first(bench, promised, bucket_made)
        except Stuck as error:
            bench.stuck(f"cut at operation {count}: {error}")
        bench.record(round=bench.tally["rounds"], count=count, **found, promised=bool(promised), made=bucket_made)
        bench.power_off()
        bench.power_on()
    return bench


def first_promise(bench, count):
    """Starts with a trigger at an operation: the keys that were printed, and whether a bucket was acknowledged."""
    bench.arm(count)
    bench.store.spawn()
    promised, made = None, False
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not made and not bench.drives.wait_cut(0.03):
        promised = printed_keys(bench.store.output)
        if promised and bench.store.listening.is_set():
            try:
                answer = bench.store.client(access=promised[0], secret=promised[1], timeout=3).call("PUT", "/early")
                made = answer.done
            except Exception:
                break
            now = time.time()
            bench.journal.note(now, now, 0, "bucket-create", "early", "acknowledged" if made else "refused", str(answer.status))
    bench.drives.wait_cut(0.3)
    promised = printed_keys(bench.store.output)
    bench.drives.command("disarm")
    bench.power_off()
    return promised, made


def check_first(bench, promised, bucket_made):
    # A cut between keeping and printing them leaves the command that shows them.
    keys = printed_keys(bench.store.credentials())
    if keys is None:
        return bench.journal.violation("credentials", "none", "sherd credentials shows none")
    for printed in (promised, printed_keys(bench.store.output)):
        if printed not in (None, keys):
            bench.journal.violation("credentials", "printed", f"printed {printed}, kept {keys}")
    s3 = bench.store.client(access=keys[0], secret=keys[1])
    answer = s3.read("HEAD", "/early")
    if answer.status == 403 or (bucket_made and answer.status != 200):
        detail = f"HEAD of the bucket answers {answer.status}; made: {bucket_made}, keys printed before: {bool(promised)}"
        bench.journal.violation("lost", "early", detail)
    made = s3.call("PUT", "/later")
    if made.status != 200:
        bench.journal.violation("unusable", "later", f"{made.status} {made.body[:200]}")
    s3.close()


def printed_keys(output):
    found = {}
    for line in output:
        for name in ("aws_access_key_id", "aws_secret_access_key"):
            if name in line:
                found[name] = line.split()[-1]
    return (found["aws_access_key_id"], found["aws_secret_access_key"]) if len(found) == 2 else None


def stop(options):
    """A graceful stop under load, then a cut: nothing is lost, also with relaxed durability."""
    options.durability = "relaxed:10s"
    bench = Bench(options, options.name)
    end = time.monotonic() + options.seconds
    try:
        bench.first_start()
        while time.monotonic() < end and bench.tally["rounds"] < options.rounds:
            bench.tally["rounds"] += 1
            bench.draw_delays()
            bench.load.start()
            time.sleep(bench.random.uniform(0.3, 2.5))
            began = time.monotonic()
            bench.store.terminate()
            code = bench.store.process.wait(60)
            took = time.monotonic() - began
            bench.load.end()
            bench.power_off()
            found = bench.power_on()
            if code != 0 or took > STOP_SECONDS_MAX:
                bench.journal.violation("stop", "", f"exit code {code} after {took:.1f} s")
            bench.start()
            violations = bench.check(full=True)
            bench.record(round=bench.tally["rounds"], **found, stop_s=round(took, 2), violations=len(violations))
    except Stuck as error:
        bench.stuck(error)
    return bench


def kills(options):
    """Twenty kills in quick succession, without a cut; then a cut at times."""
    bench = Bench(options, options.name)
    end = time.monotonic() + options.seconds
    try:
        bench.first_start()
        while time.monotonic() < end and bench.tally["rounds"] < options.rounds:
            bench.tally["rounds"] += 1
            bench.draw_delays()
            for _ in range(20):
                bench.load.start()
                time.sleep(bench.random.uniform(0.05, 0.5))
                bench.store.kill()
                bench.store.reap()
                bench.load.end()
                bench.tally["kills"] += 1
                bench.store.spawn()
                if bench.random.random() < 0.5:
                    bench.store.listening.wait(20)
                else:
                    time.sleep(bench.random.uniform(0, 0.3))
            bench.store.kill()
            bench.store.reap()
            if bench.random.random() < 0.5:
                bench.drives.cut()
                bench.tally["cuts"] += 1
                bench.power_on()
            bench.start()
            bench.check(full=True)
    except Stuck as error:
        bench.stuck(error)
    return bench


# Proofs that losses are found: the scenario `one` where losses are certain to come about.


def is_found(bench):
    return bool(bench.journal.violations)


def relaxed(options):
    """Changes are acknowledged before the sync."""
    options.durability = "relaxed:2s"
    # What the first start makes is synced by then.
    return loop(Bench(options, options.name), until=is_found, prepare=lambda bench: time.sleep(3))


def lies(options):
    """Drives answer syncs without doing them."""
    return loop(Bench(options, options.name), until=is_found, prepare=lambda bench: bench.drives.command("set", lies=1))


SCENARIOS = {scenario.__name__: scenario for scenario in (one, churn, four, hosts, young, first, stop, kills)}
PROOFS = {proof.__name__: proof for proof in (relaxed, lies)}
