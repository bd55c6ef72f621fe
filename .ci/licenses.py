"""Checks the licence and source of every crate that is built, against the lists in deny.toml.

    cargo metadata --format-version 1 | python3 .ci/licenses.py deny.toml
"""

import json
import re
import sys
import tomllib

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def is_allowed(expression, allowed):
    """SPDX: `A OR (B AND C)`, `A WITH exception`; the old `A/B` is OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    python = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token in ("(", ")"):
            python.append(token)
        elif token in ("OR", "AND"):
            python.append(token.lower())
        else:
            if tokens[position + 1 : position + 2] == ["WITH"]:
                token = " ".join(tokens[position : position + 3])
                position += 2
            python.append(str(token in allowed))
        position += 1
    return eval(" ".join(python), {"__builtins__": {}})  # only True, False, and, or, parentheses


def main():
    with open(sys.argv[1], "rb") as file:
        rules = tomllib.load(file)
    allowed = set(rules["licenses"]["allow"])
    exceptions = {rule["crate"]: set(rule["allow"]) for rule in rules["licenses"].get("exceptions", [])}
    packages = json.load(sys.stdin)["packages"]
    wrong = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if package["source"] not in (None, REGISTRY):
            wrong.append(f"{name}: comes from {package['source']}")
        licence = package["license"]
        if not licence:
            wrong.append(f"{name}: names no licence")
        elif not is_allowed(licence, allowed | exceptions.get(package["name"], set())):
            wrong.append(f"{name}: {licence}")
    print("\n".join(wrong))
    print(f"licenses: {len(packages) - len(wrong)} passed, {len(wrong)} failed")
    sys.exit(1 if wrong else 0)


main()
