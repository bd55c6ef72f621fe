#!/usr/bin/env python3
"""Starts the real binary and lets real S3 clients work with it, one script after the other.

    tests/clients/run.py BINARY [NAME...]

Runs every script beside this file (or those whose names contain a NAME): *.sh with bash, *.py with this interpreter.
A script finds in its environment S3_ENDPOINT, S3_ADMIN, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION,
BUCKET (a name of its own, not created), WORK (an empty directory of its own, where it starts), BINARY (for a script that
starts a server of its own), RESULTS (a file that takes a JSON line for each operation and test), and for each of the further
accounts ALT_ID, ALT_NAME, ALT_EMAIL, ALT_CANONICAL_ID, ALT_ACCESS_KEY, ALT_SECRET_KEY, and so for TENANT. Exit code 0 is
success, 77 means that the client is not installed. The server has one drive (SHERD_CLIENTS_DRIVES changes that).

A script whose first lines say `# server: NAME=VALUE NAME=VALUE` has a server of its own with these settings. In a value,
{WORK} is the script's directory, filled beforehand by the same script when called with --prepare, and {PORT} a free port, in
its environment as PORT. With SHERD_TLS_CERT among them it speaks HTTPS.

What the tests showed is kept in SHERD_CLIENTS_RESULTS (target/clients-results.jsonl); a run of some scripts replaces their
lines only.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = pathlib.Path(os.environ.get("SHERD_CLIENTS_RESULTS", HERE.parents[1] / "target" / "clients-results.jsonl"))
SCRIPT_SECONDS_MAX = int(os.environ.get("SHERD_CLIENTS_SECONDS", "300"))
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
SETTINGS_LINES_MAX = 10
OUTPUT_LINES_MAX = 60
MISSING = 77
NO_SCRIPTS = ("run.py", "matrix.py")
ACCESS_KEY = "clients-access-key"
SECRET_KEY = "clients-secret-key-0123456789"


def account(name, number):
    return {
        "id": number,
        "name": name,
        "email": f"{name}@example.com",
        "canonical_id": hashlib.sha256(name.encode()).hexdigest(),
        "keys": [{"access_key": f"{name}-access-key", "secret_key": f"{name}-secret-key-0123456789"}],
        "users": [],
    }


ACCOUNTS = [account("alt", "111111111111"), account("tenant", "222222222222")]


def start(binary, root, drives, settings=()):
    """The process, and its S3 and admin addresses."""
    environment = {
        "PATH": os.environ["PATH"],
        "SHERD_DATA": ",".join(str(root / f"d{n}") for n in range(1, drives + 1)),
        "SHERD_S3_LISTEN": "127.0.0.1:0",
        "SHERD_ADMIN_LISTEN": "127.0.0.1:0",
        "SHERD_ACCESS_KEY": ACCESS_KEY,
        "SHERD_SECRET_KEY": SECRET_KEY,
        # As AWS has it for new buckets; what needs access control lists says so.
        "SHERD_OBJECT_OWNERSHIP": "BucketOwnerEnforced",
        **dict(settings),
    }
    log = open(root / "server.log", "wb")
    process = subprocess.Popen([binary], env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    watchdog = threading.Timer(START_SECONDS_MAX, process.kill)
    watchdog.start()
    for line in process.stdout:
        found = re.match(r"listening s3=(\S+) admin=(\S+)", line)
        if found:
            watchdog.cancel()
            # What it prints later must not fill the pipe.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return process, found[1], found[2]
    watchdog.cancel()
    sys.exit("the server did not start:\n" + (root / "server.log").read_text(errors="replace"))


class Server:
    """A server in a directory of its own, with the accounts of every script."""

    def __init__(self, binary, root, settings):
        self.root, self.tls = root, settings.get("SHERD_TLS_CERT")
        root.mkdir(exist_ok=True)
        accounts = root / "accounts.json"
        accounts.write_text(json.dumps({"accounts": ACCOUNTS}))
        accounts.chmod(0o600)
        drives = int(os.environ.get("SHERD_CLIENTS_DRIVES", "1"))
        settings = {"SHERD_ACCOUNTS_FILE": str(accounts), **settings}
        self.process, self.s3, self.admin = start(binary, root, drives, settings)

    def ended(self):
        return self.process.poll() is not None

    def stop(self):
        """Whether it stopped as it should."""
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.process.wait(timeout=STOP_SECONDS_MAX) == 0:
                return True
        print(f"the server ended with {self.process.poll()} after SIGTERM")
        return False

    def tell_log(self):
        log = (self.root / "server.log").read_text(errors="replace").splitlines()
        print("--- the server's last log lines\n" + "\n".join(log[-40:]), flush=True)


def settings_of(script):
    """What the script's first lines say of its server; None, if nothing."""
    lines = script.read_text().splitlines()[:SETTINGS_LINES_MAX]
    words = [word for line in lines if line.startswith("# server: ") for word in line.split()[2:]]
    return dict(word.split("=", 1) for word in words) or None


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def environment_of(script, binary, work):
    environment = dict(
        os.environ,
        AWS_ACCESS_KEY_ID=ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=SECRET_KEY,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        BUCKET=re.sub("[^a-z0-9]+", "-", script.stem.lower()) + "-bucket",
        WORK=str(work),
        BINARY=binary,
        RESULTS=str(work / "results.jsonl"),
        # Nobody's own settings and caches.
        AWS_CONFIG_FILE=str(work / "no-config"),
        AWS_SHARED_CREDENTIALS_FILE=str(work / "no-credentials"),
        XDG_CACHE_HOME=str(work / ".cache"),
    )
    for one in ACCOUNTS:
        prefix = one["name"].upper()
        for field in ("id", "name", "email", "canonical_id"):
            environment[f"{prefix}_{field.upper()}"] = one[field]
        for field, value in one["keys"][0].items():
            environment[f"{prefix}_{field.upper()}"] = value
    # Where there is no TLS, rclone refuses to start with a bundle that it does not use.
    environment.pop("AWS_CA_BUNDLE", None)
    return environment


def reach(environment, server):
    """Tells a script where its server is."""
    environment["S3_ENDPOINT"] = f"{'https' if server.tls else 'http'}://{server.s3}"
    environment["S3_ADMIN"] = f"http://{server.admin}"
    if server.tls:
        environment["AWS_CA_BUNDLE"] = server.tls


def execute(script, arguments, environment, work):
    """Exit code, output."""
    command = ["bash", "-euo", "pipefail", str(script)] if script.suffix == ".sh" else [sys.executable, str(script)]
    try:
        done = subprocess.run(
            command + arguments, env=environment, cwd=work, timeout=SCRIPT_SECONDS_MAX,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout if isinstance(expired.stdout, str) else (expired.stdout or b"").decode(errors="replace")
        return 1, f"{output}\nnot done within {SCRIPT_SECONDS_MAX} s"
    return done.returncode, done.stdout


def run_with_own(script, binary, settings, environment, work):
    """Prepares the script's directory, starts its server, and runs it; exit code, output."""
    if any("{WORK}" in value for value in settings.values()):
        code, output = execute(script, ["--prepare"], environment, work)
        if code != 0:
            return code, output
    environment["PORT"] = str(free_port())
    fill = lambda value: value.replace("{WORK}", str(work)).replace("{PORT}", environment["PORT"])
    try:
        server = Server(binary, work.with_suffix(".server"), {name: fill(value) for name, value in settings.items()})
    except SystemExit as refusal:
        return 1, str(refusal)
    try:
        reach(environment, server)
        code, output = execute(script, [], environment, work)
        if not server.stop():
            code = code or 1
        if code not in (0, MISSING):
            server.tell_log()
        return code, output
    finally:
        server.process.kill()


def run_script(script, binary, shared, root):
    """Exit code, output, seconds."""
    work = root / script.stem
    work.mkdir()
    environment = environment_of(script, binary, work)
    settings = settings_of(script)
    begun = time.monotonic()
    if settings:
        code, output = run_with_own(script, binary, settings, environment, work)
    else:
        reach(environment, shared)
        code, output = execute(script, [], environment, work)
    return code, output, time.monotonic() - begun


def keep_results(script, root):
    """Puts what the script's tests showed in the place of what they showed before."""
    kept = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    kept = [line for line in kept if not json.loads(line)["test"].startswith(f"{script.stem}.")]
    new = root / script.stem / "results.jsonl"
    kept += new.read_text().splitlines() if new.exists() else []
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text("".join(f"{line}\n" for line in sorted(kept)))


def run_scripts(scripts, binary, shared, root):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for script in scripts:
        code, output, seconds = run_script(script, binary, shared, root)
        result = {0: "passed", MISSING: "skipped"}.get(code, "failed")
        counts[result] += 1
        keep_results(script, root)
        print(f"{script.name}: {result} in {seconds:.1f} s", flush=True)
        if result != "passed":
            lines = output.splitlines()
            failed = [line for line in lines if line.endswith(": FAILED")]
            print("\n".join("    " + line for line in [*failed, *lines[-OUTPUT_LINES_MAX:]]), flush=True)
        if shared and shared.ended():
            print(f"the server ended with {shared.process.returncode}")
            break
    return counts


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    binary, names = os.path.abspath(sys.argv[1]), sys.argv[2:]
    scripts = sorted(path for path in HERE.iterdir() if path.suffix in (".sh", ".py") and path.name not in NO_SCRIPTS)
    scripts = [path for path in scripts if not path.name.startswith("_")]
    scripts = [path for path in scripts if not names or any(name in path.name for name in names)]
    with tempfile.TemporaryDirectory(dir=os.environ.get("SHERD_CLIENTS_DIR")) as directory:
        root = pathlib.Path(directory)
        shares = any(not settings_of(script) for script in scripts)
        shared = Server(binary, root / "shared.server", {}) if shares else None
        try:
            counts = run_scripts(scripts, binary, shared, root)
            if shared and not shared.stop():
                counts["failed"] += 1
        finally:
            if shared:
                shared.process.kill()
        if shared and counts["failed"]:
            shared.tell_log()
    print(f"clients: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] or not counts["passed"] else 0)


if __name__ == "__main__":
    main()
