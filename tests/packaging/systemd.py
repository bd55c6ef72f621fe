#!/usr/bin/env python3
"""The Debian package under systemd, in a container of systemd-nspawn on a throwaway copy of this machine: the steps of
docs/how-to/systemd.md, in the unit's own sandbox.

    tests/packaging/systemd.py BINARY      exit code 77 where it takes root, systemd-nspawn or mounts that are not there

The copy boots to one unit, which runs this script again inside (`--inside`), and ends with its exit code.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "power")]

from _machine import SKIPPED, build_package, in_namespaces, overlay_of_machine  # noqa: E402
from s3 import S3  # noqa: E402

CONTAINER_SECONDS_MAX = 240
READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
S3_PORT, ADMIN_PORT = 9000, 9001
PACKAGE = "/root/sherd.deb"
LOG, RESULT = "root/trial.log", "root/trial.result"
SETTINGS = Path("/etc/sherd/sherd.env")
UNIT = """
[Unit]
# systemd-run takes it.
Wants=dbus.socket
After=dbus.socket
SuccessAction=exit-force
FailureAction=exit-force

[Service]
Type=oneshot
ExecStart={python} {script} --inside
StandardOutput=file:/{log}
StandardError=inherit
TimeoutStartSec=infinity
"""


def run(*command, succeeds=True):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert (done.returncode == 0) == succeeds, f"{command}: exit code {done.returncode}: {done.stdout}"
    return done.stdout


def shown(name):
    return run("systemctl", "show", f"--property={name}", "--value", "sherd").strip()


def journal():
    return run("journalctl", "--unit=sherd", "--no-pager", "--output=cat")


def wait_until(what, holds, seconds):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}: {journal()}"
        time.sleep(0.1)


def is_ready():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{ADMIN_PORT}/health/ready", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def wait_until_ready():
    wait_until("the service to be ready", is_ready, READY_SECONDS_MAX)


def as_service(*command):
    """Runs a command as docs/how-to/systemd.md says: as the store's user, with its settings."""
    of_service = ("--property=User=sherd", f"--property=EnvironmentFile={SETTINGS}")
    return run("systemd-run", "--quiet", "--wait", "--pipe", *of_service, *command)


def credentials():
    text = run("sherd", "credentials", "--data", "/mnt/d{1...4}")
    return [re.search(rf"aws configure set {name} (\S+)", text)[1] for name in ("aws_access_key_id", "aws_secret_access_key")]


def check_sandbox():
    status = Path(f"/proc/{shown('MainPID')}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    found = [fields[name].strip() for name in ("NoNewPrivs", "Seccomp", "CapEff", "CapBnd")]
    assert found == ["1", "2", "0" * 16, "0" * 16], found
    assert int(fields["Uid"].split()[0]) != 0


def check_object(keys, body):
    answer = S3(S3_PORT, *keys).call("GET", "/box/key")
    assert answer.status == 200 and answer.body == body, answer.status


def set_settings(*lines):
    kept = [line for line in SETTINGS.read_text().splitlines() if not line.startswith(("SHERD_DATA=", "SHERD_LOG="))]
    SETTINGS.write_text("\n".join([*kept, *lines, ""]))


def trial():
    run("dpkg", "--install", PACKAGE)
    assert "disabled" in run("systemctl", "is-enabled", "sherd", succeeds=False)
    assert "inactive" in run("systemctl", "is-active", "sherd", succeeds=False), "an installation starts nothing"
    drives = [f"/mnt/d{number}" for number in range(1, 5)]
    for drive in drives:
        os.mkdir(drive)
    data = "SHERD_DATA=/mnt/d{1...4}"
    audit = Path("/var/log/sherd/audit.log")

    # What is wrong is said before a drive is touched.
    set_settings(data, "SHERD_LOG=loud")
    run("systemctl", "start", "sherd", succeeds=False)
    assert "SHERD_LOG" in journal() and not any(os.listdir(drive) for drive in drives), journal()
    run("systemctl", "stop", "sherd")

    set_settings(data, f"SHERD_AUDIT_LOG={audit}")
    run("chown", "sherd:", *drives)
    begun = time.monotonic()
    run("systemctl", "enable", "--now", "sherd")
    wait_until_ready()
    started = time.monotonic() - begun
    keys = credentials()
    check_sandbox()
    body = os.urandom(1 << 20)
    s3 = S3(S3_PORT, *keys)
    assert s3.call("PUT", "/box").done and s3.call("PUT", "/box/key", body=body).done
    check_object(keys, body)
    assert as_service("sherd", "admin", "health").startswith("ok"), journal()
    assert as_service("sherd", "check")

    # Of this process.
    process = shown("MainPID")
    audit.unlink()
    run("systemctl", "reload", "sherd")
    wait_until("the audit log to be opened anew", audit.exists, READY_SECONDS_MAX)
    assert shown("MainPID") == process

    os.kill(int(process), signal.SIGKILL)
    wait_until("systemd to start it again", lambda: shown("MainPID") not in ("0", process), READY_SECONDS_MAX)
    wait_until_ready()
    check_object(keys, body)
    process = shown("MainPID")
    run("dpkg", "--install", PACKAGE)
    assert shown("MainPID") == process, "an upgrade restarts nothing"
    run("systemctl", "restart", "sherd")
    wait_until_ready()
    check_object(keys, body)
    begun = time.monotonic()
    run("systemctl", "stop", "sherd")
    assert time.monotonic() - begun < STOP_SECONDS_MAX and shown("Result") == "success", journal()
    run("systemctl", "start", "sherd")
    run("dpkg", "--purge", "sherd")
    assert not Path(f"/proc/{process}/exe").exists() and not SETTINGS.exists()
    assert all(os.path.exists(f"{drive}/identity.json") for drive in drives), "the data stays"
    return started


def inside():
    try:
        started = trial()
        Path("/", RESULT).write_text(f"{started:.1f}")
    finally:
        sys.stdout.flush()


def main(binary, at):
    begun = time.monotonic()
    package = build_package(binary, "0.0.1", at)
    root = overlay_of_machine(at / "machine")
    shutil.copy(package, root / PACKAGE.lstrip("/"))
    # With the directories beside it, whatever the copy shows of where this script is.
    for directory in (HERE, HERE.parent / "power"):
        shutil.copytree(directory, root / "root/trial" / directory.name, ignore=shutil.ignore_patterns("cutfs"))
    script = f"/root/trial/{HERE.name}/{Path(__file__).name}"
    (root / "etc/systemd/system/trial.service").write_text(UNIT.format(python=os.path.realpath(sys.executable), script=script, log=LOG))
    # No other unit of the machine is started, and the network is the container's own.
    command = [
        "systemd-nspawn", "--quiet", "--boot", f"--directory={root}", "--register=no", "--keep-unit", "--private-network",
        "--link-journal=no", "systemd.unit=trial.service",
    ]  # fmt: skip
    console = at / "console.log"
    with console.open("wb") as output:
        try:
            booted = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, timeout=CONTAINER_SECONDS_MAX
            )
        except subprocess.TimeoutExpired:
            booted = None
    log = root / LOG
    if not log.exists():
        print(f"skipped: the package under systemd, which cannot be booted here: {console.read_text(errors='replace')[-2000:]}")
        sys.exit(SKIPPED)
    result = root / RESULT
    if not result.exists():
        print(f"{booted}\n{console.read_text(errors='replace')[-2000:]}\n{log.read_text()}")
        sys.exit(1)
    print(
        f"systemd: the service was ready {result.read_text()} s after `systemctl enable --now`, reloaded, killed, upgraded, "
        f"restarted, stopped and purged, in {time.monotonic() - begun:.0f} s"
    )


if sys.argv[1] == "--inside":
    inside()
else:
    main(os.path.abspath(sys.argv[1]), in_namespaces("the package under systemd", ["dpkg", "strip", "systemd-nspawn"], ["--mount-proc"]))
