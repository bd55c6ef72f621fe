"""Writes a bill of materials (CycloneDX 1.5): every crate that is linked into the binary.

    cargo metadata --format-version 1 --filter-platform TARGET | python3 .ci/sbom.py Cargo.lock > sherd.cdx.json

Crates that only tests or build scripts use are left out.
"""

import json
import os
import sys
import tomllib
from datetime import datetime, timezone


def linked(metadata):
    """The ids of the root's normal dependencies and theirs, each with the ids that it depends on."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    graph = {}
    waiting = [metadata["resolve"]["root"]]
    while waiting:
        node = waiting.pop()
        if node in graph:
            continue
        is_normal = lambda dep: any(kind["kind"] is None for kind in dep["dep_kinds"])
        graph[node] = sorted(dep["pkg"] for dep in nodes[node]["deps"] if is_normal(dep))
        waiting += graph[node]
    return graph


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, kind, checksums):
    found = {
        "type": kind,
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
        "licenses": [{"expression": package["license"].replace("/", " OR ")}],
    }
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


def main():
    with open(sys.argv[1], "rb") as file:
        locked = tomllib.load(file)["package"]
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in locked}
    metadata = json.load(sys.stdin)
    graph = linked(metadata)
    packages = {package["id"]: package for package in metadata["packages"] if package["id"] in graph}
    root = packages.pop(metadata["resolve"]["root"])
    made = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), timezone.utc)
    crates = sorted(packages.values(), key=purl)
    every = {package["id"]: package for package in [root, *crates]}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(root, "application", checksums),
        },
        "components": [component(package, "library", checksums) for package in crates],
        "dependencies": [
            {"ref": purl(package), "dependsOn": [purl(every[to]) for to in graph[id]]} for id, package in every.items()
        ],
    }
    json.dump(bill, sys.stdout, indent=1)
    print()


main()
