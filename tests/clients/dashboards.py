# server: SHERD_REGION=us-east-1
"""Dashboards and alerts against the real thing: a Prometheus that scrapes two running stores, one with faults injected.

Needs Debian's package `prometheus` (with promtool). In order:
- dashboards, rules and the catalogue of metrics (src/metrics/mod.rs) agree, by name and by label; runbooks name real sections;
- promtool accepts the configuration, and its unit tests of every alert pass (grafana/alerts_test.yml);
- every panel's query finds data while a store of four drives works and heals, except those in MAY_BE_EMPTY;
- alerts fire for faults made in that store, and none for the healthy one beside it. The rules are those of
  grafana/alerts.yml, evaluated every second, only that `for` is HOLD_SECONDS here, and BACK_SECONDS where they look back for
  half an hour or more. alerts.py sees the other alerts fire.
"""

import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse

import run as runner
from _observing import (
    GRAFANA, OF_THE_MACHINE, ROOT, Prometheus, check_seen, end_in_time, is_installed, tell,
)
from _stores import bring_back, take_away
from _support import ENDPOINT, PART, boto3, botocore, content, until

WORK = pathlib.Path(os.environ["WORK"])
BACK_SECONDS = 3
# What Prometheus itself makes.
NOT_OURS = {"up", "ALERTS"}
OWN_LABELS = {"job", "instance", "le", "alertname", "alertstate", "severity"}
# Queries for which a run this short has nothing to show, by their metric.
MAY_BE_EMPTY = {
    "sherd_compacted_segments_total": "a segment is compacted when 128 MiB of it are dead, a minute after the delete",
    "sherd_compacted_bytes_total": "as above",
    "sherd_orphan_shards_dropped_total": "an orphan is dropped once the fence has passed it: an hour later",
    "sherd_pool_connections_active": "a store of one host has no connections to others",
    "sherd_pool_streams_active": "as above",
    "sherd_pool_events_total": "as above; there are no hits",
    "sherd_net_sent_bytes_total": "as above",
    "sherd_net_received_bytes_total": "as above",
    "sherd_net_round_trip_seconds": "as above",
    "sherd_moved_bytes_total": "nothing moves where no drive comes or goes",
    "sherd_shards_moved_total": "as above",
    "sherd_scrub_finished_seconds": "a pass over every chunk is finished after days",
    "sherd_scrubbed_bytes_total": "what was just written is verified later",
    "sherd_hedged_reads_total": "no drive is late",
    "sherd_nodes_in_trouble": "no node is",
    "sherd_events_delivered_total": "no webhook is set",
    "sherd_event_deliveries_failed_total": "as above",
    "sherd_events_dropped_total": "as above",
    "sherd_events_behind": "as above",
    "sherd_event_delivery_seconds": "as above",
    "sherd_audit_lines_total": "no audit log is kept",
    "sherd_audit_failures_total": "as above",
    "sherd_audit_waiting_lines": "as above",
    "sherd_trace_spans_total": "requests are not traced",
    "sherd_trace_export_failures_total": "as above",
    "sherd_rate_delayed_bytes_total": "no limit on rates is set",
    "sherd_tls_certificate_end_seconds": "no listener speaks TLS",
    "sherd_acme_failed_orders": "no certificate is ordered",
    "sherd_growth_bytes_per_day": "it is said when a day was measured",
    "sherd_raft_mirror_failed": "no copy of the metadata log failed",
}
# Panels that have data only once faults happened: they are asked after these were made.
ONLY_WITH_FAULTS = {
    "overview.json: Alerts that fire": "no alert, no line",
    "s3.json: Share of 5xx": "a status has no series before its first answer",
    "cluster.json: Time until the repairs are done": "there is none while nothing is repaired",
}
GOOD, BAD = "healthy", "faulty"
# Each store is a cluster, and so has a job.
BAD_JOB = f"sherd-{BAD}"


# --- the files

def catalogue():
    """Each metric's kind and labels."""
    text = (ROOT / "src/metrics/mod.rs").read_text()
    found = re.findall(r'^    (counter|gauge|latency|batch) \w+ = "(\w+)" \[([^\]]*)\]', text, re.MULTILINE)
    assert len(found) > 40, "the catalogue is written otherwise than this script reads it"
    return {name: (kind, set(re.findall(r"\w+", labels))) for kind, name, labels in found}


def base_name(name, known):
    """The metric of a series: that of `x_bucket` is x, where x is a histogram."""
    base = re.sub("_(bucket|sum|count)$", "", name)
    return base if known.get(base, ("",))[0] in ("latency", "batch") else name


def metrics_of(expression, known):
    return {base_name(name, known) for name in re.findall(r"\bsherd_\w+", re.sub(r'"[^"]*"', '""', expression))}


def check_expression(expression, known, where):
    for name in metrics_of(expression, known):
        assert name in known, f"{where}: no metric is called {name}"
    for name, matchers in re.findall(r"\b(sherd_\w+)\{([^}]*)\}", expression):
        used = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', matchers))
        wrong = used - known[base_name(name, known)][1] - OWN_LABELS
        assert not wrong, f"{where}: {name} has no label {wrong}"
    every_label = OWN_LABELS.union(*(labels for _, labels in known.values()))
    for labels in re.findall(r"\b(?:by|ignoring|on)\s*\(([^)]*)\)", expression):
        wrong = set(re.findall(r"\w+", labels)) - every_label
        assert not wrong, f"{where}: nothing has a label {wrong}"
    for labels in re.findall(r"\bon\s*\(([^)]*)\)", expression):
        matched = set(re.findall(r"\w+", labels))
        assert "job" in matched or "instance" not in matched, f"{where}: hosts of two stores may have one name"


def dashboards():
    return {path.name: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}


def panels_of(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def check_one_store(expression, where):
    """Every selector asks for the chosen store, whose hosts may have the names of another one's."""
    for metric, selector in re.findall(r"\b(sherd_\w+|process_\w+|up)\b(?:\{([^}]*)\})?", expression):
        assert 'job=~"$job"' in selector, f"{where}: {metric} is that of every store"


def check_dashboard(name, dashboard, known):
    assert dashboard["schemaVersion"] >= 39 and dashboard["uid"] and dashboard["title"], name
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and {"job", "instance"} <= set(variables), name
    assert not variables["job"]["multi"], f"{name}: panels add up, or take the most, of one store's hosts"
    for variable in set(variables) - {"datasource", "job"}:
        check_one_store(variables[variable]["query"]["query"], f"{name}: the variable {variable}")
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)), f"{name}: two panels with one id"
    taken = set()
    for panel in dashboard["panels"]:
        where, at = f"{name}: {panel['title']}", panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not cells & taken and at["x"] + at["w"] <= 24, f"{where}: it overlaps, or is out of the grid"
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel.get("description"), f"{where}: no description"
        assert panel["fieldConfig"]["defaults"].get("unit"), f"{where}: no unit"
        assert panel["targets"] and panel["datasource"]["uid"] == "${datasource}", where
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", where
            check_expression(target["expr"], known, where)
            check_one_store(target["expr"], where)
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval", "__range"}
            assert used <= set(variables), f"{where}: no variable {used - set(variables)}"


def names_a_section(runbook):
    """Whether the text ends in a page of docs/how-to and one of its sections."""
    named = re.fullmatch(r'[^\n]+: (docs/how-to/[a-z-]+\.md), "(.+)"', runbook)
    return named and f"## {named[2]}" in (ROOT / named[1]).read_text().splitlines()


def check_rules(rules, known):
    tests = (GRAFANA / "alerts_test.yml").read_text()
    for rule in rules:
        name = rule["name"]
        check_expression(rule["query"], known, name)
        assert rule["labels"].get("severity") in ("critical", "warning"), f"{name}: no severity"
        assert rule["annotations"].get("summary"), f"{name}: no summary"
        runbook = rule["annotations"].get("runbook", "")
        assert names_a_section(runbook), f"{name}: the runbook names no section: {runbook}"
        fires = f"- labels: 'ALERTS{{alertname=\"{name}\", alertstate=\"firing\""
        assert fires in tests, f"{name}: no unit test shows that it fires"


# --- what the stores have to do

class Traffic:
    """Requests of every kind, again and again until it is stopped. What they answer does not matter here."""

    def __init__(self, endpoint, bucket):
        config = botocore.config.Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}, read_timeout=20)
        self.s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config,
                               aws_access_key_id=runner.ACCESS_KEY, aws_secret_access_key=runner.SECRET_KEY)
        self.bucket = bucket
        self.large = content(600_000)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.repeat, daemon=True)

    def prepare(self):
        self.s3.create_bucket(Bucket=self.bucket)
        for number in range(8):
            self.s3.put_object(Bucket=self.bucket, Key=f"kept/{number}", Body=self.large)

    def calls(self, turn):
        s3, of = self.s3, {"Bucket": self.bucket}
        yield lambda: s3.put_object(Key=f"small/{turn % 10}", Body=b"little", **of)
        yield lambda: s3.put_object(Key=f"large/{turn % 3}", Body=self.large, **of)
        yield lambda: s3.get_object(Key=f"kept/{turn % 8}", **of)["Body"].read()
        yield lambda: s3.get_object(Key=f"small/{turn % 10}", **of)["Body"].read()
        yield lambda: s3.get_object(Key=f"kept/{turn % 8}", Range="bytes=300000-300099", **of)["Body"].read()
        yield lambda: s3.head_object(Key="never put", **of)
        yield lambda: s3.list_objects_v2(Prefix="kept/", **of)
        yield lambda: s3.delete_object(Key=f"large/{turn % 3}", **of)

    def upload(self):
        at = {"Bucket": self.bucket, "Key": "of parts"}
        upload = self.s3.create_multipart_upload(**at)["UploadId"]
        part = self.s3.upload_part(PartNumber=1, UploadId=upload, Body=content(PART), **at)
        parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
        self.s3.complete_multipart_upload(UploadId=upload, MultipartUpload=parts, **at)

    def repeat(self):
        for turn in itertools.count():
            for call in self.calls(turn):
                if self.stopped.wait(0.02):
                    return
                with contextlib.suppress(botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
                    call()

    def stop(self):
        self.stopped.set()
        self.thread.join(timeout=25)


def overwrite(drive):
    """Noise over the first chunks of a drive's log of shards."""
    noise = content(1 << 20, seed=7)
    for segment in (drive / "shards").rglob("*"):
        if segment.is_file() and segment.stat().st_size >= len(noise):
            with open(segment, "r+b") as file:
                for _ in range(16):
                    file.write(noise)


# --- the checks

def promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], cwd=GRAFANA, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"promtool {' '.join(arguments)}\n{done.stdout}"


def runnable(expression):
    """A panel's query with what Grafana would put into it."""
    expression = expression.replace("$__rate_interval", "20s").replace("$__range", "1m")
    return re.sub(r"\$\w+", ".*", expression)


def check_queries(prometheus, with_faults):
    """Every query finds data, or else those that do only after faults; what finds none yet is asked again."""
    waiting = {}
    for name, dashboard in dashboards().items():
        for panel in panels_of(dashboard):
            where = f"{name}: {panel['title']}"
            for target in panel["targets"]:
                if any(metric in target["expr"] for metric in MAY_BE_EMPTY):
                    prometheus.query(runnable(target["expr"]))  # It is valid, at least.
                elif (where in ONLY_WITH_FAULTS) == with_faults:
                    waiting[f"{where}, {target['refId']}"] = runnable(target["expr"])
    asked = len(waiting)

    def all_found():
        for where, expression in list(waiting.items()):
            # NaN is what a quotient gives where nothing happened: no data either.
            if any(value == value for _, value in prometheus.query(expression)):
                del waiting[where]
        return not waiting

    with contextlib.suppress(AssertionError):
        until(all_found, "every panel has data", 30)
    assert not waiting, "no data:\n" + "\n".join(f"{where}\n    {expression}" for where, expression in waiting.items())
    tell(f"{asked} queries of panels found data{' after faults' if with_faults else ''}")


def check_series(prometheus, known):
    for metric in sorted(set(known) - set(MAY_BE_EMPTY)):
        name = metric if known[metric][0] in ("counter", "gauge") else f"{metric}_count"
        assert prometheus.query(name), f"{metric} has no series"


def check_variables(prometheus):
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
                values = {labels.get(label) for labels, _ in prometheus.query(runnable(selector))}
                assert values and None not in values, f"{name}: the variable {variable['name']} has no values"


def check_faults(prometheus, drives, s3):
    """Makes faults in a running store, one after the other, and sees the alert of each fire."""
    # Once more: what Prometheus sees rise is a counter that it knew before.
    overwrite(drives[1])
    prometheus.fires("SherdChunkFaults", instance=BAD, node="1")
    shutil.rmtree(drives[3])
    prometheus.fires("SherdDriveOutOfService", instance=BAD, node="3")
    until(lambda: put(s3, "short of a shard"), "a write finds three drives", 20)
    # With two of four drives left everything is read and nothing written, with one nothing.
    take_away(drives[2])
    prometheus.fires("SherdDriveOutOfService", instance=BAD, node="2")
    prometheus.fires("SherdLogCopiesMissing", instance=BAD)
    prometheus.fires("SherdServerErrors", instance=BAD)
    prometheus.fires("SherdUnavailable", job=BAD_JOB)
    prometheus.fires("SherdRepairsStuck", job=BAD_JOB)
    prometheus.fires("SherdRedundancyReduced", job=BAD_JOB)
    prometheus.fires("SherdDataAtRisk", job=BAD_JOB)
    check_queries(prometheus, with_faults=True)
    take_away(drives[1])
    prometheus.fires("SherdReadsUnanswered", instance=BAD, node="1")


def put(s3, key):
    """Whether it is stored; refusals are to be tried again."""
    with contextlib.suppress(botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
        return s3.put_object(Bucket="observed", Key=key, Body=content(600_000))


def main():
    if not is_installed():
        sys.exit(77)
    known = catalogue()
    shown = set()
    for name, dashboard in dashboards().items():
        check_dashboard(name, dashboard, known)
        for panel in panels_of(dashboard):
            shown |= set().union(*(metrics_of(target["expr"], known) for target in panel["targets"]))
    assert shown == set(known), f"metrics on no dashboard: {set(known) - shown}"
    for arguments in [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"),
                      ("test", "rules", "alerts_test.yml")]:
        promtool(*arguments)
    tell("promtool accepts rules and their tests")

    root = WORK / "store"
    root.mkdir()
    drives = [root / f"d{number}" for number in range(1, 5)]
    with contextlib.ExitStack() as stack:
        store, s3, _ = runner.start(os.environ["BINARY"], root, len(drives))
        stack.callback(store.kill)
        Traffic(f"http://{s3}", "observed").prepare()
        # A start with something stored compares it with the metadata.
        store.terminate()
        store.wait(timeout=30)
        store, s3, admin = runner.start(os.environ["BINARY"], root, len(drives))
        stack.callback(store.kill)
        bad = Traffic(f"http://{s3}", "observed")
        good = Traffic(ENDPOINT, os.environ["BUCKET"])
        good.prepare()
        healthy, jobs = urllib.parse.urlsplit(os.environ["S3_ADMIN"]).netloc, {BAD: {"job": BAD_JOB}}
        prometheus = Prometheus(WORK / "prometheus", BACK_SECONDS)
        stack.callback(prometheus.stop)
        prometheus.aim({GOOD: healthy, BAD: admin}, **jobs)
        until(prometheus.is_ready, "Prometheus is ready", 30)
        tell("Prometheus and two stores run")
        check_rules(prometheus.rules(), known)
        for traffic in (bad, good):
            traffic.thread.start()
            stack.callback(traffic.stop)
        bad.upload()
        overwrite(drives[1])
        check_queries(prometheus, with_faults=False)
        check_series(prometheus, known)
        check_variables(prometheus)
        check_faults(prometheus, drives, bad.s3)

        store.kill()
        store.wait(timeout=10)
        prometheus.fires("SherdDown", instance=BAD)
        assert not [alert for alert in prometheus.firing() if alert["alertname"] == "SherdDriveOutOfService"]
        # A drive that is not there at the start is told of too.
        bring_back(drives[1])
        bring_back(drives[2])
        store, _, admin = runner.start(os.environ["BINARY"], root, len(drives))
        stack.callback(store.kill)
        prometheus.aim({GOOD: healthy, BAD: admin}, **jobs)
        prometheus.fires("SherdDriveOutOfService", instance=BAD, node="3")
        prometheus.fires("SherdComparisonsStuck", instance=BAD)
        others = [alert for alert in prometheus.firing()
                  if alert.get("job") != BAD_JOB and alert["alertname"] not in OF_THE_MACHINE]
        assert not others, f"alerts for what is healthy: {others}"
        check_seen("dashboards", prometheus)
        panic = runner.panic_in(root)
        assert not panic, f"the store panicked:\n{panic}"


end_in_time()
main()
tell("all of it is done")
