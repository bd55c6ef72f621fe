"""What the scripts share that watch running stores with a real Prometheus: that Prometheus, waits that end, and which of
them sees which alert fire."""

import contextlib
import json
import pathlib
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request

import run as runner
from _support import until

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "grafana"
BEGUN = time.monotonic()
# Before run.py ends a script, which leaves what was mounted.
SECONDS_MAX = max(runner.SCRIPT_SECONDS_MAX - 20, 1)
# How long an alert's condition has to hold here, whatever its `for` says.
HOLD_SECONDS = 2
# Each script asserts that it sees these fire by a fault, and that no rule is missing.
SEEN_BY = {
    "dashboards": {
        "SherdChunkFaults", "SherdComparisonsStuck", "SherdDataAtRisk", "SherdDown", "SherdDriveOutOfService",
        "SherdLogCopiesMissing", "SherdReadsUnanswered", "SherdRedundancyReduced", "SherdRepairsStuck",
        "SherdServerErrors", "SherdUnavailable",
    },
    "alerts": {
        "SherdAccessLogsDropped", "SherdApplyBehind", "SherdAuditLinesLost", "SherdAuditLogNotWritten",
        "SherdAcmeOrdersFail", "SherdCertificateEnds", "SherdClockUnconfirmed",
        "SherdClocksDiffer", "SherdDegraded", "SherdDriveFull", "SherdDriveReadOnly", "SherdDriveSpaceLow",
        "SherdEventsBehind", "SherdEventsDropped", "SherdGarbageGrows", "SherdHostUnavailable", "SherdNoLeader",
        "SherdNotScraped", "SherdProposalsFailed", "SherdProposalsSlow", "SherdRequestsWaiting", "SherdStoreFills",
        "SherdStoreFull", "SherdSyncsSlow", "SherdTermChanges", "SherdWebhookFails",
    },
}
# Alerts that may fire for a store without a fault, on a machine whose disk is full or slow.
OF_THE_MACHINE = {
    "SherdDriveFull", "SherdDriveSpaceLow", "SherdProposalsSlow", "SherdRequestsWaiting", "SherdSyncsSlow",
}
# Rules that neither sees fire, and why: promtool's unit tests alone show that they do.
NOT_SEEN = {
    "SherdLogCopyFailed": "a drive has to fail what is written to its metadata log, and nothing else",
    "SherdReplicasDiffer": "no fault from outside makes a host apply other entries than the rest",
    "SherdReplicaStopped": "a host has to be put back to an older state among others, which none of the scripts does",
}


def is_installed():
    return bool(shutil.which("prometheus") and shutil.which("promtool"))


def tell(what):
    print(f"{time.monotonic() - BEGUN:5.1f} s: {what}", flush=True)


def end_in_time():
    """Whatever hangs is ended after SECONDS_MAX, or when run.py says so, in a way that leaves nothing running or mounted."""
    def end(number, _):
        raise RuntimeError(f"not done within {SECONDS_MAX} s" if number == signal.SIGALRM else "told to end")
    signal.signal(signal.SIGALRM, end)
    signal.signal(signal.SIGTERM, end)
    signal.alarm(SECONDS_MAX)


def get_json(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


def hastened(rules, back_seconds):
    """The rules, such that they hold soon and look back only so far where they do by half an hour or more, or where
    something must have been so for all of the time."""
    for pattern, quick in [
        (r"(?m)^(\s+for:) \w+$", rf"\1 {HOLD_SECONDS}s"),
        (r"\boffset (30m|1h)\b", f"offset {back_seconds}s"),
        (r"(min_over_time\(\w+)\[\w+\]", rf"\1[{back_seconds}s]"),
    ]:
        rules, count = re.subn(pattern, quick, rules)
        assert count, f"no rule has {pattern}"
    return rules


class Prometheus:
    """A Prometheus that scrapes stores by name every second, with the project's rules, which it evaluates as often."""

    def __init__(self, root, back_seconds):
        self.root, self.seen = root, set()
        self.root.mkdir()
        (self.root / "alerts.yml").write_text(hastened((GRAFANA / "alerts.yml").read_text(), back_seconds))
        self.aim({})
        # JSON is YAML.
        (self.root / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [{"job_name": "sherd",
                                "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "1s"}]}],
        }))
        port = runner.free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={self.root}/prometheus.yml", f"--storage.tsdb.path={self.root}/data",
             f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
            stdout=subprocess.DEVNULL, stderr=open(self.root / "log", "wb"))

    def aim(self, targets, **labels):
        """Scrapes these stores from now on: their names, and where their metrics are, with what more is to be said of
        each by its name."""
        found = [{"targets": [admin], "labels": {"instance": name, **labels.get(name, {})}}
                 for name, admin in targets.items()]
        (self.root / "new.json").write_text(json.dumps(found))
        (self.root / "new.json").rename(self.root / "targets.json")

    def query(self, expression):
        found = get_json(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def is_ready(self):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{self.url}/-/ready", timeout=5).status == 200

    def rules(self):
        return [rule for group in get_json(f"{self.url}/api/v1/rules")["groups"] for rule in group["rules"]]

    def firing(self):
        """The labels of each alert that fires."""
        alerts = get_json(f"{self.url}/api/v1/alerts")["alerts"]
        return [alert["labels"] for alert in alerts if alert["state"] == "firing"]

    def fires(self, alert, seconds=30, **labels):
        """Waits until it does, with these labels."""
        labels = {"alertname": alert, **labels}
        what = f"{alert} fires for {' '.join(map(str, list(labels.values())[1:])) or 'all'}"
        until(lambda: any(labels.items() <= found.items() for found in self.firing()), what, seconds)
        self.seen.add(alert)
        tell(what)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)


def check_seen(script, prometheus, cannot=()):
    """That this script saw what it should, but what it cannot see on this machine, and that every rule is somebody's."""
    rules = {rule["name"] for rule in prometheus.rules()}
    known = set().union(NOT_SEEN, *SEEN_BY.values())
    assert rules == known, f"no script says that it sees these fire: {rules - known}; no such rules: {known - rules}"
    missing = SEEN_BY[script] - prometheus.seen - set(cannot)
    assert not missing, f"not seen to fire: {missing}"
    tell(f"{len(prometheus.seen)} of {len(rules)} alerts fired by a fault")
