#!/usr/bin/env python3
"""Says in docs/reference/s3.md which operations of S3 there are, and which tests show it. It runs nothing.

    tests/clients/matrix.py [--check [--names]] [--results FILE] [--document FILE]

What the tests cover is read from the suites beside this file (`@covers` of _support.py), the list of operations from boto3,
and whether the tests passed from the file that run.py leaves. With --check nothing is written, and the exit code says whether
the document is as it would be; without results, or with --names, only operations and tests are compared. Where the installed boto3 is
another than the document's, operations that only one of them knows are left out of the comparison.
"""

import argparse
import ast
import json
import os
import pathlib
import re
import sys

import botocore
import botocore.session

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = pathlib.Path(os.environ.get("SHERD_CLIENTS_RESULTS", ROOT / "target" / "clients-results.jsonl"))
BEGIN, END = "<!-- operations: written by tests/clients/matrix.py -->", "<!-- end of operations -->"
HEAD = "# S3, operation by operation\n\n"
# Operations that browsers ask for and boto3 does not know.
OF_BROWSERS = {"OptionsObject": "a preflight of CORS", "PostObject": "a form"}
# Why an operation is not here.
REPLICATION = "comes with import: both need what copies between stores and goes on where it stopped"
ABSENT = {
    "CreateSession": "sessions are for directory buckets; requests are signed one by one",
    "GetBucketReplication": REPLICATION, "PutBucketReplication": REPLICATION, "DeleteBucketReplication": REPLICATION,
    "GetObjectTorrent": "AWS gives it up",
    "ListDirectoryBuckets": "all buckets are general purpose buckets",
    "RestoreObject": "nothing is archived: no class needs restoring",
    "SelectObjectContent": "AWS closed it to new customers",
    "UpdateObjectEncryption": "a copy onto itself changes the key",
    "WriteGetObjectResponse": "there are no functions that it could answer",
}
ABSENT_BY_WORD = {
    "Annotation": "not built", "Abac": "tags of buckets take no part in decisions", "BucketMetadata": "needs AWS's table buckets",
}
# What an operation lacks although its tests pass.
PARTLY = {}


class Row:
    """What is known of an operation."""

    def __init__(self, name, tests, results):
        self.name, self.tests = name, sorted(tests)
        self.passed = [test for test in self.tests if results.get((name, test))]

    def state(self):
        if not self.tests:
            return f"no: {reason(self.name)}"
        if not self.passed:
            return f"no: none of its {len(self.tests)} tests passes"
        failed = [readable(test) for test in self.tests if test not in self.passed]
        if failed:
            return f"partly: {'; '.join(failed)} does not pass"
        return f"partly: {PARTLY[self.name]}" if self.name in PARTLY else "yes"

    def shown_by(self):
        return ", ".join(sorted({readable(test).split(":")[0] for test in self.tests}))

    def __str__(self):
        return f"| {self.name} | {self.state()} | {self.shown_by()} |"


def readable(test):
    return test.removeprefix("boto3_").replace(".test_", ": ").replace("_", " ")


def reason(name):
    by_word = (why for word, why in ABSENT_BY_WORD.items() if word in name)
    return ABSENT.get(name) or next(by_word, "not built")


def operations_of(service):
    """All that boto3 knows, but those that have later names."""
    model = botocore.session.get_session().get_service_model(service)
    return {name for name in model.operation_names if not model.operation_model(name).deprecated}


def covered(path):
    """Pairs of an operation and a test, of a suite."""
    pairs = []
    for function in ast.parse(path.read_text(), str(path)).body:
        if not isinstance(function, ast.FunctionDef) or not function.name.startswith("test_"):
            continue
        calls = [one for one in function.decorator_list if isinstance(one, ast.Call)
                 and getattr(one.func, "id", "") == "covers"]
        names = [argument.value for call in calls for argument in call.args]
        if not names:
            sys.exit(f"{path.name}: {function.name} does not say what it covers")
        pairs += [(name, f"{path.stem}.{function.name}") for name in names]
    return pairs


def all_covered():
    """Tests by operation. Those of other services than S3 have the service before them."""
    tests = {}
    for path in sorted(HERE.glob("boto3_*.py")):
        for name, test in covered(path):
            tests.setdefault(name, []).append(test)
    known = operations_of("s3") | set(OF_BROWSERS)
    known |= {f"{service}.{name}" for service in ("iam", "sts") for name in operations_of(service)}
    unknown = {name: tests[name] for name in set(tests) - known}
    if unknown:
        sys.exit(f"operations that boto3 does not know: {unknown}")
    return tests


def read_results(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["operation"], line["test"]): line["passed"] for line in lines}


def table(rows):
    lines = ["| operation | | tested by (tests/clients/boto3_*) |", "|---|---|---|", *map(str, rows)]
    return "\n".join(lines)


def generated(tests, results):
    rows = [Row(name, tests.get(name, []), results) for name in sorted(operations_of("s3") | set(OF_BROWSERS))]
    others = [Row(name, tests[name], results) for name in sorted(tests) if "." in name]
    states = [row.state().split(":")[0] for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("yes", "partly", "no"))
    browsers = " and ".join(f"{name} ({what})" for name, what in OF_BROWSERS.items())
    return (f"{BEGIN}\nOperations as botocore {botocore.__version__} knows them, {counts}.\nDeprecated names are left out; "
            f"{browsers} are\nasked for by browsers.\n\n{table(rows)}\n\n"
            f"Of IAM and STS these are tested:\n\n{table(others)}\n{END}")


def cells(text):
    """The rows of a document's tables by operation, and the version of botocore that it was made with."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    version = re.search(r"botocore (\S+) knows", text)
    return {row[0]: row for row in rows if len(row) == 3}, version and version[1]


def differences(old, new, with_states):
    """What a document says otherwise than it should."""
    (before, version), (after, installed) = cells(old), cells(new)
    names = before.keys() | after.keys() if version in (None, installed) else before.keys() & after.keys()
    columns = (1, 2) if with_states else (2,)
    for name in sorted(names):
        one, other = before.get(name), after.get(name)
        if one is None or other is None or any(one[column] != other[column] for column in columns):
            yield f"{name}: says {one and one[1:]}, and not {other and other[1:]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--names", action="store_true")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    parser.add_argument("--document", type=pathlib.Path, default=ROOT / "docs" / "reference" / "s3.md")
    asked = parser.parse_args()
    with_results = asked.results.exists() and not asked.names
    if not with_results and not asked.check:
        sys.exit(f"there are no results ({asked.results}): run tests/clients/run.py first")
    new = generated(all_covered(), read_results(asked.results) if with_results else {})
    old = asked.document.read_text() if asked.document.exists() else f"{HEAD}{BEGIN}\n{END}\n"
    if BEGIN not in old or END not in old:
        sys.exit(f"{asked.document} has no place for the operations:\n{BEGIN}\n{END}")
    before, rest = old.split(BEGIN, 1)
    within, after = rest.split(END, 1)
    if asked.check:
        found = list(differences(within, new, with_results))
        print("\n".join(found) or f"{asked.document} is up to date")
        sys.exit(1 if found else 0)
    asked.document.write_text(before + new + after)


if __name__ == "__main__":
    main()
