"""A bench: drives, stores on them, a load, and the findings."""

import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import time

from drives import Drives
from ledger import Journal
from load import BUCKETS, Load, make_buckets
from store import CLUSTER_READY, Store, free_port
from verify import verify

# Parts of paths: what a trigger or a fault is aimed at.
FILES = ["shards/", "meta/log", "meta/snapshot", "meta/mirror", "index/", "state/", ".seg", ".free", ".jnl", "tables/", "current", ""]
START_SECONDS_MAX = 120
MEND_SECONDS_MAX = 180
TRACE_LINES = 4000
VIOLATIONS_MAX = 200


# Every bench that is not closed yet.
OPEN = []


class Stuck(Exception):
    """The store does not start, or does not serve."""


class Bench:
    """What a scenario works with. `options` are those of the command line, with the scenario's own over them."""

    def __init__(self, options, name, hosts=1, drives=1, **settings):
        self.options, self.name = options, name
        self.directory = pathlib.Path(options.work) / name
        unmount_all(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.names = [f"h{host}d{drive}" for host in range(hosts) for drive in range(drives)]
        self.drives = Drives(options.cutfs, self.directory / "drives", self.names, options.capacity_mib)
        self.drives.command("set", trace=1)
        self.drives.command("set", names="journal" if options.names == "journal" else "posix")
        self.drives.command("set", keeps_directories=int(options.names == "posix-but-mkdir"))
        self.random = random.Random(options.seed)
        self.journal = Journal(self.directory / "operations.tsv")
        self.stores = self._stores(hosts, {"DURABILITY": options.durability, "SCALE": options.scale} | settings)
        self.load = Load(self.stores, self.journal, options.clients, options.seed, roams=hosts > 1)
        counted = ("rounds", "cuts", "cuts_in_recovery", "kills", "sectors", "sectors_lost", "names", "names_lost")
        self.tally = dict.fromkeys(counted, 0)
        self.recoveries, self.failures = [], []
        self.lost, self.mending, self.has_load = None, False, True
        OPEN.append(self)

    def _stores(self, hosts, settings):
        if hosts > 1:
            ports = [free_port() for _ in range(hosts)]
            settings["HOSTS"] = ",".join(f"n{host}=127.0.0.1:{port}" for host, port in enumerate(ports))
            settings["CLUSTER_SECRET"] = "power-power-power-power"
        stores = []
        for host in range(hosts):
            mine = [name for name in self.names if name.startswith(f"h{host}d")]
            data = ",".join(str(self.drives.mounts[name] / "data") for name in mine)
            own = {"HOST": f"n{host}", "CLUSTER_LISTEN": f"127.0.0.1:{ports[host]}"} if hosts > 1 else {}
            stores.append(Store(self.options.sherd, data, self.directory / f"n{host}", **settings, **own))
        return stores

    @property
    def store(self):
        return self.stores[0]

    def draw_delays(self):
        """Syncs take a random time; how long is drawn anew for each round."""
        high = self.random.choice([0, 1000, 4000, 15000])
        self.drives.command("set", delay_min_us=high // 10, delay_max_us=high)

    def record(self, **fields):
        with (self.directory / "rounds.jsonl").open("a") as file:
            file.write(json.dumps({"at": round(time.time(), 3), **fields}) + "\n")

    # Power.

    def power_off(self, stores=None, hangs=None, cut=True):
        """Cuts the drives of these stores at one moment and ends their processes."""
        stores = stores or self.stores
        if hangs is None:
            hangs = self.random.random() < 0.5
        names = self.names_of(stores)
        if cut:
            self.drives.cut(names, hangs)
        for store in stores:
            store.kill()
        self.drives.command("release", drives=names)
        for store in stores:
            store.reap()
        self.tally["cuts"] += 1

    def names_of(self, stores):
        hosts = [f"h{self.stores.index(store)}d" for store in stores]
        return ",".join(name for name in self.names if any(name.startswith(host) for host in hosts))

    def power_on(self, stores=None):
        found = self.drives.power_on(self.random.getrandbits(60), self.names_of(stores or self.stores))
        for counter in ("sectors", "sectors_lost", "names", "names_lost"):
            self.tally[counter] += found[counter]
        return found

    def start(self, stores=None, seconds=START_SECONDS_MAX, path=CLUSTER_READY):
        stores = stores or self.stores
        for store in stores:
            store.spawn()
        for store in stores:
            took = store.wait_ready(seconds, path)
            if took is None:
                code = store.process.poll()
                state = f"ended with {code}" if code is not None else f"not ready: {store.health()}"
                raise Stuck(f"{store.log_path}: {state}\n{store.log()[-1500:]}")
            self.recoveries.append(took)

    def recover(self, cuts_in_recovery=0.35):
        """Power on and start, with further cuts during the recovery."""
        found = self.power_on()
        while self.random.random() < cuts_in_recovery:
            if self.random.random() < 0.7:
                count = int(2 ** self.random.uniform(0, 9))
                self.arm(count, path="" if self.random.random() < 0.6 else self.random.choice(FILES))
            for store in self.stores:
                store.spawn()
            hit = self.drives.wait_cut(self.random.uniform(0.02, 1.2))
            self.drives.command("disarm")
            for store in self.stores:
                code = store.process.poll()
                if code is not None and not hit:
                    raise Stuck(f"{store.log_path} ended with {code}\n{store.log()[-1500:]}")
            self.power_off()
            self.tally["cuts_in_recovery"] += 1
            self.power_on()
        self.start()
        return found

    def recent_operation(self):
        """An operation of the last moments, each kind as likely as any other."""
        kinds = set()
        for line in self.drives.trace(1500):
            words = line.split()
            if words[2] != "Read":
                part = [part for part in FILES if part and part in words[3]]
                kinds.add((words[2].lower(), part[0] if part else ""))
        return self.random.choice(sorted(kinds)) if kinds else (None, "")

    def arm(self, count, path="", op=None):
        hangs, seed = self.random.randrange(2), self.random.getrandbits(60)
        self.drives.command("arm", count=count, path=path or None, op=op, hangs=hangs, seed=seed)

    # The ledger.

    def first_start(self):
        self.start()
        # The founders of a cluster may still be electing.
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                return make_buckets(self.store.client())
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def check(self, full, store=None):
        """The violations found now."""
        before = len(self.journal.violations)
        s3 = (store or self.store).client(timeout=30)
        verify(s3, self.load.ledgers, BUCKETS, self.journal, full)
        s3.close()
        found = self.journal.violations[before:]
        if found:
            self.evidence(f"{self.tally['rounds']:04}", found)
        return found

    def wait_mended(self):
        """Seconds until nothing is missing and no comparison is due on any host."""
        began = time.monotonic()
        while time.monotonic() - began < MEND_SECONDS_MAX:
            counts = [(store.sum("sherd_missing_shards"), store.sum("sherd_comparisons_due")) for store in self.stores]
            if all(count == (0, 0) for count in counts) and all(store.health() == 200 for store in self.stores):
                return round(time.monotonic() - began, 1)
            time.sleep(0.3)
        healths = [store.health() for store in self.stores]
        raise Stuck(f"not mended in {MEND_SECONDS_MAX} s: missing and due {counts}, health {healths}")

    def stuck(self, error):
        self.failures.append(str(error))
        self.evidence(f"stuck-{self.tally['rounds']:04}", [str(error)])

    def evidence(self, name, lines):
        directory = self.directory / f"violations-{name}"
        directory.mkdir(exist_ok=True)
        (directory / "violations.txt").write_text("".join(f"{line}\n" for line in lines))
        (directory / "trace.txt").write_text("".join(f"{line}\n" for line in self.drives.trace(TRACE_LINES)))

    def summary(self):
        took = sorted(self.recoveries)
        kinds = {}
        for kind, _, _ in self.journal.violations:
            kinds[kind] = kinds.get(kind, 0) + 1
        return {
            "scenario": self.name,
            **self.tally,
            "acknowledged": self.journal.total("acknowledged"),
            "in_doubt": self.journal.total("doubt"),
            "refused": self.journal.total("refused"),
            "operations": self.journal.acknowledged(),
            "violations": kinds,
            "stuck": len(self.failures),
            "recovery_median_s": round(statistics.median(took), 2) if took else None,
            "recovery_max_s": round(took[-1], 2) if took else None,
        }

    def close(self):
        """Ends everything that runs."""
        if self not in OPEN:
            return
        OPEN.remove(self)
        for store in self.stores:
            store.kill()
        self.drives.command("release")
        for store in self.stores:
            try:
                store.reap()
            except subprocess.TimeoutExpired:
                pass
        self.drives.close()


def unmount_all(directory):
    """Mounts below it that a killed run has left."""
    mounts = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    for mount in mounts:
        if mount.startswith(f"{directory}/"):
            subprocess.run(["umount", "-l", mount], check=False)


def replace(bench, name):
    """An empty directory is a new drive; one that does not exist is a lost one."""
    mount = bench.drives.mounts[name]
    (mount / "data").mkdir(exist_ok=True)
    directory = os.open(mount, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
