# server: none
"""Sees every alert fire that dashboards.py does not: a real Prometheus scrapes stores that run, and each is given its fault.

Needs Debian's packages `prometheus`, `strace` for drives that are slow, `openssl` for a certificate, and a C compiler for a
clock that is wrong; the drive that gets full is a file system of its own, which only root can mount. Where one of the last
four cannot be had, a line says so, and which alerts are not seen. The rules are those of grafana/alerts.yml, evaluated every second, only that
`for` is HOLD_SECONDS of _observing.py, and BACK_SECONDS where they look back for half an hour or more, or ask that something
was so all the time.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import socket
import sys

import run as runner
from _observing import (
    HOLD_SECONDS, OF_THE_MACHINE, Prometheus, check_seen, end_in_time, is_installed, tell,
)
from _stores import (
    SlowUploads, Store, Writers, delayed, fill_to, refusing_webhook, small_file_system, take_away, wall_clock_ahead,
)
from _support import until

WORK = pathlib.Path(os.environ["WORK"])
# Longer than the store's own looks at its garbage are apart.
BACK_SECONDS = 10
SMALL_DRIVE_BYTES = 400 << 20
# Too large to lie in the metadata.
BLOB_BYTES = 17 << 10
# In which more than a thousand changes are to be decided.
TABLES_SECONDS = 90
CLUSTER = "sherd-of-three"
SECRET = "of three hosts that are observed"
FULL = "sherd-full"
BUCKET = "observed"
WRITERS = 8


class Stores:
    """All of them, by name: one alone, one that loses a drive, one whose drive is small, and three hosts together."""

    def __init__(self, stack):
        self.alone = Store(WORK / "alone", SHERD_MEMORY_MAX="32MiB")
        self.deleting = Store(
            WORK / "deleting", drives=3, SHERD_EC="1+2", SHERD_DURABILITY="relaxed:5s", SHERD_ACCESS_LOG_INTERVAL="1s",
            SHERD_WEBHOOK_REFUSING_URL=refusing_webhook(), SHERD_WEBHOOK_GONE_QUEUE_LIMIT="100",
            SHERD_WEBHOOK_GONE_URL=f"http://127.0.0.1:{runner.free_port()}/",
            SHERD_AUDIT_LOG="/dev/full", SHERD_AUDIT_WEBHOOK="SIEM", SHERD_WEBHOOK_SIEM_URL=refusing_webhook())
        self.hosts = dict(zip("abc", hosts_of_a_cluster("abc")))
        self.by_name = {"alone": self.alone, "deleting": self.deleting, **self.hosts}
        if stack.enter_context(small_file_system(WORK / "full", SMALL_DRIVE_BYTES)):
            self.by_name["full"] = Store(WORK / "full")
        for store in self.by_name.values():
            stack.callback(store.kill)

    def start(self):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(Store.start, self.by_name.values()))

    def show_to(self, prometheus, **joining):
        """Rules that are about a whole cluster tell clusters by their job. Those that join are of it, too."""
        targets = {name: store.admin for name, store in {**self.by_name, **joining}.items()}
        prometheus.aim(targets, full={"job": FULL}, **{name: {"job": CLUSTER} for name in {**self.hosts, **joining}})


def hosts_of_a_cluster(names):
    at = {name: place_of_a_host() for name in names}
    for name in names:
        yield Store(WORK / name, SHERD_HOSTS=",".join(f"{one}={where}" for one, where in at.items()), SHERD_HOST=name,
                    SHERD_CLUSTER_LISTEN=at[name], SHERD_CLUSTER_SECRET=SECRET)


def place_of_a_host():
    return f"127.0.0.1:{runner.free_port(socket.SOCK_DGRAM)}"


# --- the faults

def fill_within_days(prometheus, stores):
    """Whether that can be done here. An eighth of the room is taken in what is a day by the store's clock."""
    ahead = wall_clock_ahead(WORK, seconds=25 * 60 * 60)
    if ahead is None:
        return False
    store = stores.by_name["full"]
    until(lambda: prometheus.query('sherd_stored_bytes{instance="full"} == 0'), "the empty store was measured", 30)
    [(_, room)] = prometheus.query('sherd_usable_bytes{instance="full"}')
    s3 = store.make_bucket(BUCKET)
    for number in range(8):
        s3.put_object(Bucket=BUCKET, Key=f"{number}", Body=bytes(int(room) // 64))
    right = store.settings
    for settings in [{**right, **ahead}, right]:
        store.kill()
        store.settings = settings
        store.start()
        stores.show_to(prometheus)
        if settings is not right:
            prometheus.fires("SherdStoreFills", job=FULL)
    return True


def fill_a_drive(prometheus, store):
    fill_to(store.root, 0.10)
    prometheus.fires("SherdDriveSpaceLow", instance="full")
    fill_to(store.root, 0.03)
    prometheus.fires("SherdDriveFull", instance="full")
    prometheus.fires("SherdStoreFull", job=FULL)


def refuse_writes(prometheus, store):
    """As on a file system that turned read-only, the file of the trial writes cannot be opened to write."""
    trial = store.root / "d1" / "probe"
    trial.unlink()
    trial.mkdir()
    prometheus.fires("SherdDriveReadOnly", seconds=30, instance="alone", node="0")
    trial.rmdir()
    until(lambda: prometheus.query('sherd_drive_writable{instance="alone"} == 1'), "the drive takes writes again", 30)


def hold_the_memory(prometheus, store):
    with SlowUploads(store, f"/{BUCKET}/slow", size=1 << 30, count=40):
        prometheus.fires("SherdRequestsWaiting", instance="alone")


def slow_the_syncs(prometheus, store):
    """Whether that can be done here."""
    with delayed(store.process, "fdatasync", 1.5) as slow:
        if slow:
            with Writers(store, f"/{BUCKET}/synced", size=BLOB_BYTES, count=3):
                prometheus.fires("SherdSyncsSlow", instance="alone", log="shards")
                prometheus.fires("SherdSyncsSlow", instance="alone", log="meta")
                prometheus.fires("SherdProposalsSlow", instance="alone")
    return slow


def fail_certificates(prometheus, stores):
    """Whether that can be done here. Nobody is where the ACME server is said to be; then a certificate from files: the
    authority's are for two days, and the store's are good but for that."""
    files = WORK / "tls"
    if not runner.certify(files):
        return False
    store = stores.alone
    plain = store.settings
    by_acme = {"SHERD_ACME_DOMAINS": "s3.example.test", "SHERD_ACME_CONTACT": "mailto:ops@example.test",
               "SHERD_ACME_DIRECTORY": f"https://127.0.0.1:{runner.free_port()}/directory",
               "SHERD_ACME_CA_FILE": str(files / "authority.pem")}
    of_files = {"SHERD_TLS_CERT": str(files / "cert.pem"), "SHERD_TLS_KEY": str(files / "key.pem")}
    for settings, alert, labels in [(by_acme, "SherdAcmeOrdersFail", {}),
                                    (of_files, "SherdCertificateEnds", {"listener": "s3"})]:
        store.kill()
        store.settings = {**plain, **settings}
        store.start()
        stores.show_to(prometheus)
        prometheus.fires(alert, instance="alone", **labels)
    return True


def restart_often(prometheus, stores):
    """Each start is a term."""
    def term():
        return [value for _, value in prometheus.query('sherd_raft_term{instance="alone"}')]

    for _ in range(4):
        before = until(term, "its term is known", 30)
        stores.alone.kill()
        stores.alone.start()
        stores.show_to(prometheus)
        until(lambda: term() not in ([], before), "it has another term", 30)
    prometheus.fires("SherdTermChanges", instance="alone")


def leader(prometheus):
    """The name of the host that leads."""
    found = prometheus.query(f'sherd_raft_is_leader{{job="{CLUSTER}"}} == 1')
    return found[0][0]["instance"] if len(found) == 1 else None


def slow_the_tables(prometheus, hosts):
    """Whether that can be done here. A follower has all of the log, and applies none of it."""
    leads = until(lambda: leader(prometheus), "one of three hosts leads", 30)
    follows = next(name for name in hosts if name != leads)
    journal = next(hosts[follows].root.glob("d1/state/*/0.jnl"))
    with delayed(hosts[follows].process, "write", TABLES_SECONDS, path=journal) as slow:
        if slow:
            # Few at once, so that each change is an entry of its own.
            with Writers(hosts[leads], f"/{BUCKET}/small", size=100, count=4):
                prometheus.fires("SherdApplyBehind", seconds=TABLES_SECONDS, instance=follows)
    return slow


def lose_the_majority(prometheus, stores):
    hosts = stores.hosts
    leads = until(lambda: leader(prometheus), "one of three hosts leads", 30)
    followers = [name for name in hosts if name != leads]
    with Writers(hosts[leads], f"/{BUCKET}/lost", size=100, count=4):
        for name in followers:
            hosts[name].kill()
        prometheus.fires("SherdProposalsFailed", instance=leads)
    # Until it hears of another leader, or ends, it takes itself for the one.
    hosts[leads].kill()
    hosts[followers[0]].start()
    stores.show_to(prometheus)
    prometheus.fires("SherdNoLeader", job=CLUSTER)


def prepare_deletions(store):
    """A webhook that is not there, another one that refuses what it is told, and an access log without its bucket; then the
    loss of a drive."""
    s3 = store.make_bucket(BUCKET)
    s3.create_bucket(Bucket="refused")
    s3.create_bucket(Bucket="lines")
    # One of the writers is for the webhook that is not there, the others are for the one that refuses.
    rules = [{"QueueArn": f"arn:sherd:sqs:::{'REFUSING' if number else 'GONE'}:webhook", "Events": ["s3:ObjectCreated:*"],
              "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": f"over-{number}"}]}}}
             for number in range(WRITERS)]
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": rules}, SkipDestinationValidation=True)
    s3.put_bucket_logging(Bucket="refused", BucketLoggingStatus={
        "LoggingEnabled": {"TargetBucket": "lines", "TargetPrefix": ""}})
    s3.delete_bucket(Bucket="lines")
    # A line.
    s3.put_object(Bucket="refused", Key="k", Body=b"")
    take_away(store.drives[2])


def see_deletions(prometheus):
    prometheus.fires("SherdAccessLogsDropped", instance="deleting")
    prometheus.fires("SherdAuditLogNotWritten", instance="deleting", destination="file")
    prometheus.fires("SherdAuditLinesLost", instance="deleting", destination="webhook")
    prometheus.fires("SherdWebhookFails", webhook="GONE")
    prometheus.fires("SherdWebhookFails", webhook="REFUSING")
    prometheus.fires("SherdEventsDropped", webhook="GONE", why="behind")
    # These two take more than ten thousand objects that were written over.
    prometheus.fires("SherdGarbageGrows", seconds=120, instance="deleting")
    prometheus.fires("SherdEventsBehind", webhook="REFUSING")


def set_a_clock_ahead(prometheus, stores):
    """Whether that can be done here. One host of three; the other two outvote it."""
    wrong = wall_clock_ahead(WORK, seconds=2 * 60 * 60)
    if wrong is None:
        return False
    leads = until(lambda: leader(prometheus), "one of three hosts leads", 30)
    follows = next(name for name in stores.hosts if name != leads)
    host, right = stores.hosts[follows], stores.hosts[follows].settings
    for settings in [{**right, **wrong}, right]:
        host.kill()
        host.settings = settings
        host.start()
        stores.show_to(prometheus)
        if settings is not right:
            prometheus.fires("SherdClocksDiffer", instance=follows)
            prometheus.fires("SherdClockUnconfirmed", instance=follows)
            prometheus.fires("SherdDegraded", job=CLUSTER)
    return True


def join_in_vain(prometheus, stores):
    """A fourth host, of which the three do not know: where it asks to be taken in, there is none."""
    host = Store(WORK / "joining", SHERD_JOIN=place_of_a_host(), SHERD_HOST="joining",
                 SHERD_CLUSTER_LISTEN=place_of_a_host(), SHERD_CLUSTER_SECRET=SECRET)
    host.begin(f"127.0.0.1:{runner.free_port()}")
    try:
        stores.show_to(prometheus, joining=host)
        prometheus.fires("SherdHostUnavailable", instance="joining")
    finally:
        host.kill()
        stores.show_to(prometheus)


def skip(why, *alerts):
    print(f"skipped: {why}, so these were not seen to fire: {', '.join(alerts)}", flush=True)
    return set(alerts)


def check_faults(prometheus, stores):
    """Makes each fault and sees its alerts fire; those that cannot be seen here."""
    cannot = set()
    if "full" in stores.by_name:
        if not fill_within_days(prometheus, stores):
            cannot |= skip("no C compiler is here, or the binary is static", "SherdStoreFills")
        fill_a_drive(prometheus, stores.by_name["full"])
    else:
        cannot |= skip("no file system can be mounted here", "SherdDriveSpaceLow", "SherdDriveFull",
                       "SherdStoreFills", "SherdStoreFull")
    stores.alone.make_bucket(BUCKET)
    refuse_writes(prometheus, stores.alone)
    hold_the_memory(prometheus, stores.alone)
    if not slow_the_syncs(prometheus, stores.alone):
        cannot |= skip("strace is not here or may not trace", "SherdSyncsSlow", "SherdProposalsSlow")
    restart_often(prometheus, stores)
    if not fail_certificates(prometheus, stores):
        cannot |= skip("openssl is not here", "SherdCertificateEnds", "SherdAcmeOrdersFail")
    return cannot


def check_faults_of_a_cluster(prometheus, stores):
    """As above."""
    cannot = set()
    stores.hosts["a"].make_bucket(BUCKET)
    if not slow_the_tables(prometheus, stores.hosts):
        cannot |= skip("strace is not here or may not trace", "SherdApplyBehind")
    if not set_a_clock_ahead(prometheus, stores):
        cannot |= skip("no C compiler is here, or the binary is static", "SherdClockUnconfirmed", "SherdClocksDiffer",
                       "SherdDegraded")
    join_in_vain(prometheus, stores)
    lose_the_majority(prometheus, stores)
    return cannot


def check_quiet(prometheus, count):
    """That none of these alerts was there before its fault."""
    long_enough = f"count_over_time(up[1m]) > {HOLD_SECONDS + 2} and up == 1"
    until(lambda: len(prometheus.query(long_enough)) == count, "every store is scraped", 30)
    # Stores that have just started know for a moment too little to be well.
    until(lambda: not firing(prometheus, "SherdDegraded"), "no store is degraded", 30)
    found = [alert for alert in prometheus.firing() if alert["alertname"] not in OF_THE_MACHINE]
    assert not found, f"alerts without a fault: {found}"


def firing(prometheus, name):
    return [alert for alert in prometheus.firing() if alert["alertname"] == name]


def main():
    if not is_installed():
        sys.exit(77)
    with contextlib.ExitStack() as stack:
        stores = Stores(stack)
        stores.start()
        prometheus = Prometheus(WORK / "prometheus", BACK_SECONDS)
        stack.callback(prometheus.stop)
        until(prometheus.is_ready, "Prometheus is ready", 30)
        stores.show_to(prometheus)
        check_quiet(prometheus, len(stores.by_name))
        tell("Prometheus and the stores run, and no alert fires")
        prepare_deletions(stores.deleting)
        with Writers(stores.deleting, f"/{BUCKET}/over", size=BLOB_BYTES, count=WRITERS):
            cannot = check_faults(prometheus, stores)
            see_deletions(prometheus)
        cannot |= check_faults_of_a_cluster(prometheus, stores)
        prometheus.aim({})
        prometheus.fires("SherdNotScraped")
        check_seen("alerts", prometheus, cannot)


end_in_time()
main()
tell("all of it is done")
