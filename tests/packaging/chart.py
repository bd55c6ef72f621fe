#!/usr/bin/env python3
"""The Helm chart: linted, rendered, its objects held to Kubernetes' schemas, and its pods run as processes that found a store.

    tests/packaging/chart.py BINARY [--write]        --write: writes docs/kubernetes/sherd.yaml anew

Each pod is a copy of this machine with an address of its own and the names that the headless service would give; its
environment, user, files and volumes are those of the rendered StatefulSet. Exit code 77 where it takes root, namespaces or
helm; `HELM` names another command than `helm`.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from _machine import as_user, copy_of_machine, in_namespaces

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "docs/kubernetes/chart"
MANIFEST = REPOSITORY / "docs/kubernetes/sherd.yaml"
HEADER = """\
# Three hosts of one drive each. Written by tests/packaging/chart.py from the chart beside it: change that.
# First make the Secret: README.md
"""
HELM = os.environ.get("HELM", "helm")
KUBERNETES = "1.33"
NAMESPACE = "stores"
GIVEN = ["auth.existingSecret=sherd"]
EVERYTHING = [
    *GIVEN,
    "drives=4",
    "replicas=5",
    "auth.rootKey=true",
    "auth.metricsToken=true",
    "tls.existingSecret=certificate",
    "tls.admin=true",
    "storage.className=fast",
    "serviceMonitor.enabled=true",
    "networkPolicy.enabled=true",
    "networkPolicy.adminFrom[0].podSelector.matchLabels.app=prometheus",
    "env.SHERD_REGION=eu-central-1",
    "updateStrategy=RollingUpdate",
    "priorityClassName=high",
]
REFUSED = [
    ["auth.accessKey=admin"],
    [*GIVEN, "replicas=2"],
    [*GIVEN, "drives=0"],
    [*GIVEN, "replica=3"],
    [*GIVEN, "env.SHERD_HOSTS=a=b:1"],
    [*GIVEN, "env.REGION=x"],
    [*GIVEN, "maintenance=sherd-3"],
    [*GIVEN, "maintenance=sherd-0  sherd-1"],
    [*GIVEN, "replicas=1", "maintenance=sherd-1"],
]
PATIENCE_SECONDS = 60
SECRETS = {"access-key": "admin", "secret-key": "a-secret-of-tests", "cluster-secret": "a-secret-of-tests-0123456789"}


def helm(*arguments):
    return subprocess.run([HELM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def render(values):
    settings = (part for value in values for part in ("--set", value))
    done = helm("template", "sherd", str(CHART), "--namespace", NAMESPACE, *settings)
    return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr


def objects(values):
    is_rendered, text = render(values)
    assert is_rendered, text
    return [found for found in yaml.safe_load_all(text) if found]


def manifest():
    text = render(GIVEN)[1]
    return HEADER + re.sub(r"^# Source: .*\n", "", text, flags=re.M)


def check_schemas(found):
    """Objects of Kubernetes itself against its own schemas; those of others have none here."""
    import kubernetes_validate

    for item in found:
        if item["apiVersion"] == "monitoring.coreos.com/v1":
            continue
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


def named(found, kind, name=None):
    return next(item for item in found if item["kind"] == kind and name in (None, item["metadata"]["name"]))


def check_references(found):
    """Ports, labels, volumes and Secrets that one object names and another has."""
    pods = named(found, "StatefulSet")["spec"]
    container = pods["template"]["spec"]["containers"][0]
    ports = {port["name"]: port for port in container["ports"]}
    labels = pods["template"]["metadata"]["labels"].items()
    for service in (item for item in found if item["kind"] == "Service"):
        assert service["spec"]["selector"].items() <= labels
        for port in service["spec"]["ports"]:
            assert port.get("protocol", "TCP") == ports[port["targetPort"]].get("protocol", "TCP"), port
    assert named(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels
    headless = named(found, "Service", pods["serviceName"])
    assert headless["spec"]["publishNotReadyAddresses"] and headless["spec"]["clusterIP"] == "None"
    volumes = {volume["name"] for volume in pods["template"]["spec"]["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in pods["volumeClaimTemplates"]}
    assert {mounted["name"] for mounted in container["volumeMounts"]} == volumes
    for monitor in (item for item in found if item["kind"] == "ServiceMonitor"):
        assert monitor["spec"]["selector"]["matchLabels"].items() <= headless["metadata"]["labels"].items()
        assert {end["port"] for end in monitor["spec"]["endpoints"]} <= {port["name"] for port in headless["spec"]["ports"]}
        for tls in (end["tlsConfig"] for end in monitor["spec"]["endpoints"] if "tlsConfig" in end):
            # A name that the certificate has: the README asks for those of the hosts.
            assert tls["serverName"] == f"{named(found, 'StatefulSet')['metadata']['name']}-0.{pods['serviceName']}.{NAMESPACE}.svc"
            secrets = {volume["secret"]["secretName"] for volume in pods["template"]["spec"]["volumes"] if "secret" in volume}
            assert tls["ca"]["secret"]["name"] in secrets


def check_spread(found, is_required):
    """Whether two hosts may share a node. A spread constraint forbids it only while there are as many nodes that take pods."""
    pods = named(found, "StatefulSet")["spec"]
    spec = pods["template"]["spec"]
    here = {"topologyKey": "kubernetes.io/hostname", "labelSelector": pods["selector"]}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [here]}}
    if_possible = [{"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", **here}]
    assert spec.get("affinity") == (apart if is_required else None), spec.get("affinity")
    assert spec.get("topologySpreadConstraints") == (None if is_required else if_possible)


def starts_of(container, name, at):
    """What the pod of this name says first, with a program `sherd` that says that it serves; ends it in order."""
    environment = {"PATH": f"{at}:/usr/bin:/bin", "POD_NAME": name}
    process = subprocess.Popen(container["command"], env=environment, stderr=subprocess.PIPE, text=True)
    said = process.stderr.readline()
    if said != "serves\n":
        assert process.poll() is None, "it does not wait for commands"
        process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) == 0, process
    return said


def check_maintenance():
    """A host that is named waits until it is told to end, and no probe ends it before; the others run the store."""
    pods = ["sherd-0", "sherd-1", "sherd-2"]
    with tempfile.TemporaryDirectory() as at:
        program = Path(at) / "sherd"
        program.write_text("#!/bin/sh\necho serves >&2\n")
        program.chmod(0o755)
        for value, waiting in (("sherd-0 sherd-2", ["sherd-0", "sherd-2"]), ("sherd-1", ["sherd-1"]), ("all", pods)):
            found = objects([*GIVEN, f"maintenance={value}"])
            check_schemas(found)
            check_references(found)
            container = named(found, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
            assert not {"livenessProbe", "startupProbe"} & container.keys() and "readinessProbe" in container
            said = {pod: starts_of(container, pod, at) for pod in pods}
            assert [pod for pod in pods if said[pod].startswith("maintenance: ")] == waiting, said
            assert all(said[pod] == "serves\n" for pod in pods if pod not in waiting), said
    alone = objects([*GIVEN, "replicas=1", "maintenance=sherd-0"])
    check_schemas(alone)
    serving = named(objects(GIVEN), "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    assert "command" not in serving and "livenessProbe" in serving


def check_chart():
    linted = helm("lint", "--strict", str(CHART), "--set", GIVEN[0])
    assert linted.returncode == 0, linted.stdout
    for values in (GIVEN, EVERYTHING):
        found = objects(values)
        check_schemas(found)
        check_references(found)
        check_spread(found, is_required=True)
    on_one_node = objects([*GIVEN, "spreadOverNodes=false"])
    check_schemas(on_one_node)
    check_spread(on_one_node, is_required=False)
    alone = objects([*GIVEN, "replicas=1"])
    check_schemas(alone)
    assert not any(item["kind"] == "PodDisruptionBudget" for item in alone)
    check_maintenance()
    for values in REFUSED:
        assert not render(values)[0], f"it is not refused: {values}"
    with (REPOSITORY / "Cargo.toml").open() as file:
        version = re.search(r'^version = "(.*)"', file.read(), re.M)[1]
    assert f"appVersion: {version}\n" in (CHART / "Chart.yaml").read_text(), "the chart is of another version"
    assert MANIFEST.read_text() == manifest(), f"{MANIFEST} is not what the chart renders: --write"
    print(f"chart: linted, rendered and valid for Kubernetes {KUBERNETES}")


def run(*command):
    subprocess.run(command, check=True)


class Pod:
    """A pod of the StatefulSet: a copy of the machine with an address of its own."""

    def __init__(self, at, stateful_set, number, binary):
        self.name = f"{stateful_set['metadata']['name']}-{number}"
        self.spec = stateful_set["spec"]["template"]["spec"]
        self.container = self.spec["containers"][0]
        self.security = self.spec["securityContext"]
        self.root = copy_of_machine(at / self.name)
        shutil.copy(binary, self.root / "usr/bin/sherd")
        self.user = str(self.security["runAsUser"])
        for mounted in self.container["volumeMounts"]:
            directory = self.root / mounted["mountPath"].lstrip("/")
            directory.mkdir(parents=True)
            os.chown(directory, self.security["runAsUser"], self.security["fsGroup"])
            if mounted["name"] == "secrets":
                self.fill(directory)
        self.address = None
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", f"h{number}", "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", f"h{number}", "master", "nodes", "up")
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        run("ip", "-n", self.name, "link", "set", "eth0", "up")
        self.process = None

    def fill(self, directory):
        for name, value in SECRETS.items():
            path = directory / name
            path.write_text(value)
            os.chown(path, 0, self.security["fsGroup"])
            path.chmod(0o440)

    def set_address(self, address):
        run("ip", "-n", self.name, "address", "flush", "dev", "eth0")
        run("ip", "-n", self.name, "address", "add", f"{address}/16", "dev", "eth0")
        self.address = address

    def environment(self):
        found = {"PATH": "/usr/bin:/bin"}
        for variable in self.container["env"]:
            field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            assert field in (None, "metadata.name"), field
            found[variable["name"]] = self.name if field else variable["value"]
        return found

    def command(self, *words):
        user = as_user(self.root, self.user, str(self.security["runAsGroup"]), words)
        return ["ip", "netns", "exec", self.name, *user]

    def start(self):
        log = open(self.root / "log", "ab")
        self.process = subprocess.Popen(
            self.command("sherd"), env=self.environment(), stdout=subprocess.DEVNULL, stderr=log
        )

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(self.spec["terminationGracePeriodSeconds"]) == 0, self.log()

    def log(self):
        return (self.root / "log").read_text()[-3000:]

    def probe(self, kind):
        """The status that the kubelet would see."""
        get = self.container[kind]["httpGet"]
        port = next(port["containerPort"] for port in self.container["ports"] if port["name"] == get["port"])
        try:
            with urllib.request.urlopen(f"http://{self.address}:{port}{get['path']}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def wait_until(self, kind, status):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            if self.probe(kind) == status:
                return
            time.sleep(0.1)
        raise AssertionError(f"{self.name}: {kind} is {self.probe(kind)}, not {status}:\n{self.log()}")

    def admin(self, *words):
        return subprocess.run(
            self.command("sherd", "admin", *words), env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


def name_service(pods, service):
    """What the cluster's DNS says of the headless service, in the search domain of the pods."""
    text = "127.0.0.1 localhost\n" + "".join(f"{pod.address} {pod.name}.{service}\n" for pod in pods if pod.address)
    for pod in pods:
        (pod.root / "etc/hosts").write_text(text)


def object_calls(address):
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=f"http://{address}:9000",
        aws_access_key_id=SECRETS["access-key"],
        aws_secret_access_key=SECRETS["secret-key"],
        region_name="us-east-1",
    )
    return client


def found_and_restart(at, binary):
    """Three pods found a store; one comes back under another address; each may be stopped when the store says so."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "nodes", "type", "bridge")
    run("ip", "link", "set", "nodes", "up")
    run("ip", "address", "add", "10.7.0.1/16", "dev", "nodes")
    stateful_set = named(objects(GIVEN), "StatefulSet")
    pods = [Pod(at, stateful_set, number, binary) for number in range(stateful_set["spec"]["replicas"])]
    service = stateful_set["spec"]["serviceName"]
    for number, pod in enumerate(pods):
        pod.set_address(f"10.7.1.{number + 1}")
        name_service(pods, service)
        pod.start()
        pod.wait_until("livenessProbe", 200)
        if number + 1 < len(pods):
            assert pod.probe("readinessProbe") == 503, "it serves before the others are there"
    for pod in pods:
        pod.wait_until("readinessProbe", 200)
    print("chart: three pods have founded a store")
    body = os.urandom(1 << 20)
    object_calls(pods[0].address).create_bucket(Bucket="photos")
    object_calls(pods[0].address).put_object(Bucket="photos", Key="k", Body=body)

    for number, pod in enumerate(pods):
        asked = pods[(number + 1) % len(pods)]
        waiting = ("--wait", "--timeout", str(PATIENCE_SECONDS))
        safe = asked.admin("health", "--safe-to-stop", pod.name, *waiting)
        assert safe.returncode == 0, safe.stdout
        pod.stop()
        object_calls(asked.address).put_object(Bucket="photos", Key=f"k{number}", Body=body)
        pod.set_address(f"10.7.2.{number + 1}")
        name_service(pods, service)
        pod.start()
        pod.wait_until("readinessProbe", 200)
        keys = ["k", *(f"k{written}" for written in range(number + 1))]
        for key in keys:
            got = object_calls(pod.address).get_object(Bucket="photos", Key=key)["Body"].read()
            assert got == body, key
    print("chart: each pod came back under another address, with all objects")

    more = named(objects([*GIVEN, f"replicas={len(pods) + 1}"]), "StatefulSet")
    pods.append(Pod(at, more, len(pods), binary))
    pods[-1].set_address("10.7.1.9")
    name_service(pods, service)
    pods[-1].start()
    pods[-1].wait_until("readinessProbe", 200)
    info = pods[0].admin("info")
    assert pods[-1].name in info.stdout, info.stdout
    assert object_calls(pods[-1].address).get_object(Bucket="photos", Key="k")["Body"].read() == body
    print("chart: a fourth pod joined the store")
    for pod in pods:
        pod.stop()


def main():
    binary = os.path.abspath(sys.argv[1])
    if not shutil.which(HELM):
        print("skipped: the chart, which takes helm")
        sys.exit(77)
    if "--write" in sys.argv:
        MANIFEST.write_text(manifest())
        return
    at = in_namespaces("the chart", ["ip"], ["--net"])
    check_chart()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    found_and_restart(at, binary)


main()
