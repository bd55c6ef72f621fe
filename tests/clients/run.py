#!/usr/bin/env python3
"""Starts the real binary and lets real S3 clients work with it, one script after the other.

    tests/clients/run.py BINARY [NAME...]

Runs every script beside this file (or those whose names contain a NAME): *.sh with bash, *.py with this interpreter.
A script finds in its environment S3_ENDPOINT, S3_ADMIN, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION,
BUCKET (a name of its own, not created), WORK (an empty directory of its own, where it starts) and BINARY (for a script that
starts a server of its own). Exit code 0 is success, 77 means that the client is not installed. The server has one drive
(SHERD_CLIENTS_DRIVES changes that).
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
SCRIPT_SECONDS_MAX = int(os.environ.get("SHERD_CLIENTS_SECONDS", "300"))
START_SECONDS_MAX = 60
MISSING = 77
ACCESS_KEY = "clients-access-key"
SECRET_KEY = "clients-secret-key-0123456789"


def start(binary, root, drives):
    """The process, and its S3 and admin addresses."""
    environment = {
        "PATH": os.environ["PATH"],
        "SHERD_DATA": ",".join(str(root / f"d{n}") for n in range(1, drives + 1)),
        "SHERD_S3_LISTEN": "127.0.0.1:0",
        "SHERD_ADMIN_LISTEN": "127.0.0.1:0",
        "SHERD_ACCESS_KEY": ACCESS_KEY,
        "SHERD_SECRET_KEY": SECRET_KEY,
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
    sys.exit("the server did not start:\n" + (root / "server.log").read_text(errors="replace"))


def run_script(script, binary, s3, admin, root):
    work = root / script.stem
    work.mkdir()
    environment = dict(
        os.environ,
        S3_ENDPOINT=f"http://{s3}",
        S3_ADMIN=f"http://{admin}",
        AWS_ACCESS_KEY_ID=ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=SECRET_KEY,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        BUCKET=re.sub("[^a-z0-9]+", "-", script.stem.lower()) + "-bucket",
        WORK=str(work),
        BINARY=binary,
        # Nobody's own settings and caches.
        AWS_CONFIG_FILE=str(work / "no-config"),
        AWS_SHARED_CREDENTIALS_FILE=str(work / "no-credentials"),
        XDG_CACHE_HOME=str(work / ".cache"),
    )
    # There is no TLS here, and rclone refuses to start with a bundle that it does not use.
    environment.pop("AWS_CA_BUNDLE", None)
    command = ["bash", "-euo", "pipefail", str(script)] if script.suffix == ".sh" else [sys.executable, str(script)]
    begun = time.monotonic()
    try:
        done = subprocess.run(
            command, env=environment, cwd=work, timeout=SCRIPT_SECONDS_MAX,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )
        code, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout if isinstance(expired.stdout, str) else (expired.stdout or b"").decode(errors="replace")
        code, output = 1, f"{output}\nnot done within {SCRIPT_SECONDS_MAX} s"
    return code, output, time.monotonic() - begun


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    binary, names = os.path.abspath(sys.argv[1]), sys.argv[2:]
    scripts = sorted(path for path in HERE.iterdir() if path.suffix in (".sh", ".py") and path.name != "run.py")
    scripts = [path for path in scripts if not path.name.startswith("_")]
    scripts = [path for path in scripts if not names or any(name in path.name for name in names)]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    with tempfile.TemporaryDirectory(dir=os.environ.get("SHERD_CLIENTS_DIR")) as directory:
        root = pathlib.Path(directory)
        process, s3, admin = start(binary, root, int(os.environ.get("SHERD_CLIENTS_DRIVES", "1")))
        try:
            for script in scripts:
                code, output, seconds = run_script(script, binary, s3, admin, root)
                result = {0: "passed", MISSING: "skipped"}.get(code, "failed")
                counts[result] += 1
                print(f"{script.name}: {result} in {seconds:.1f} s", flush=True)
                if result != "passed":
                    print("\n".join("    " + line for line in output.splitlines()[-60:]), flush=True)
                if process.poll() is not None:
                    print(f"the server ended with {process.returncode}")
                    break
            process.send_signal(signal.SIGTERM)
            if process.wait(timeout=30) != 0:
                counts["failed"] += 1
                print(f"the server ended with {process.returncode} after SIGTERM")
        finally:
            process.kill()
            if counts["failed"]:
                log = (root / "server.log").read_text(errors="replace").splitlines()
                print("--- the server's last log lines\n" + "\n".join(log[-40:]))
    print(f"clients: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] or not counts["passed"] else 0)


if __name__ == "__main__":
    main()
