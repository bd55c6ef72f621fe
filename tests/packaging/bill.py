#!/usr/bin/env python3
"""The bill of materials of a release: valid by the schema of CycloneDX, and what is linked, no more.

    tests/packaging/bill.py
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = "x86_64-unknown-linux-gnu"
LINKED = {"tokio", "openraft", "reed-solomon-erasure", "aws-lc-sys"}
# Of tests, of build scripts, and of other platforms.
NOT_LINKED = {"proptest", "ureq", "cc", "windows-sys"}


def main():
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    metadata = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE).stdout
    write = [sys.executable, REPOSITORY / ".ci/sbom.py", REPOSITORY / "Cargo.lock"]
    text = subprocess.run(write, input=metadata, check=True, stdout=subprocess.PIPE).stdout.decode()
    fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    assert fault is None, fault
    components = json.loads(text)["components"]
    names = {component["name"] for component in components}
    assert LINKED <= names, LINKED - names
    assert not NOT_LINKED & names, NOT_LINKED & names
    with (REPOSITORY / "Cargo.lock").open("rb") as file:
        locked = {(package["name"], package["version"]): package.get("checksum") for package in tomllib.load(file)["package"]}
    for component in components:
        checksum = locked[component["name"], component["version"]]
        assert [entry["content"] for entry in component["hashes"]] == [checksum], component
    print(f"bill: {len(components)} crates, valid for CycloneDX 1.5")


main()
