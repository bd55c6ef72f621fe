#!/usr/bin/env python3
"""The Debian package on a throwaway copy of this machine: installed, run as its unit says, upgraded, removed, purged.

    tests/packaging/deb.py BINARY          exit code 77 where it takes root, dpkg or mounts that are not there

The service is run by its unit's command lines: there is no systemd in the copy. systemd.py has one.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from _machine import REPOSITORY, as_user, build_package, copy_of_machine, in_namespaces, inside

READY_SECONDS_MAX = 30
STOP_SECONDS_MAX = 15
UNIT = "lib/systemd/system/sherd.service"
EDITED = "# a line of the operator\n"


def dpkg(root, *arguments):
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = inside(root, "dpkg", *arguments, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


def take_in(root, package):
    """Copies the package to where dpkg inside finds it."""
    shutil.copy(package, root / "tmp/sherd.deb")
    return "/tmp/sherd.deb"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def check_files(root):
    def is_as(path, mode, owner, group):
        done = inside(root, "stat", "-c", "%a %U %G", f"/{path}", stdout=subprocess.PIPE, check=False)
        assert done.stdout.decode().split() == [mode, owner, group], (path, done)

    is_as("usr/bin/sherd", "755", "root", "root")
    is_as(UNIT, "644", "root", "root")
    is_as("etc/sherd", "750", "root", "sherd")
    is_as("etc/sherd/sherd.env", "640", "root", "sherd")
    is_as("var/lib/sherd", "700", "sherd", "sherd")
    is_as("usr/share/doc/sherd/copyright", "644", "root", "root")
    conffiles = inside(root, "dpkg-query", "--show", "--showformat=${Conffiles}", "sherd", stdout=subprocess.PIPE)
    assert b"/etc/sherd/sherd.env" in conffiles.stdout
    entry = inside(root, "getent", "passwd", "sherd", stdout=subprocess.PIPE).stdout.decode()
    assert entry.strip().endswith(":/var/lib/sherd:/usr/sbin/nologin"), entry


def check_unit(root):
    """systemd's own judgement of the unit, where systemd is here."""
    if not (root / "usr/bin/systemd-analyze").exists():
        print("not checked, for want of systemd-analyze: the unit's syntax")
        return
    verified = inside(
        root, "systemd-analyze", "verify", f"/{UNIT}", check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    ours = [line for line in verified.stdout.decode().splitlines() if "sherd" in line]
    assert verified.returncode == 0 and not ours, ours


def check_patience(root):
    """A start that fails is tried again for ever, and a stop is given the time that it may take."""
    settings = unit_settings(root)
    assert settings["StartLimitIntervalSec"] == ["0"] and settings["Restart"] == ["on-failure"], settings
    assert int(settings["TimeoutStopSec"][0]) > STOP_SECONDS_MAX, settings


def unit_settings(root):
    """The unit's lines; a name that occurs several times has several values."""
    found = {}
    for line in (root / UNIT).read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def environment_of(root, settings):
    """As systemd reads an `EnvironmentFile`."""
    text = (root / settings["EnvironmentFile"][0].lstrip("/")).read_text()
    pairs = (line.partition("=") for line in text.splitlines() if re.match(r"[A-Z]", line))
    return {"PATH": "/usr/bin:/bin", **{name: value for name, _, value in pairs}}


def as_unit(root, settings, command):
    return as_user(root, settings["User"][0], settings["Group"][0], shlex.split(command))


class Service:
    """The service as the unit would run it."""

    def __init__(self, root, admin_port):
        self.admin_port = admin_port
        settings = unit_settings(root)
        environment = environment_of(root, settings)
        self.stop_seconds_max = int(settings["TimeoutStopSec"][0])
        subprocess.run(as_unit(root, settings, settings["ExecStartPre"][0]), env=environment, check=True)
        command = as_unit(root, settings, settings["ExecStart"][0])
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.wait_until_ready()

    def wait_until_ready(self):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/health/ready", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.process.kill()
        raise AssertionError(f"the service is not ready: {self.process.stderr.read().decode()}")

    def stop(self):
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=STOP_SECONDS_MAX)
        assert self.process.returncode == 0, log.decode()
        assert time.monotonic() - begun < self.stop_seconds_max


def check_processor(binary):
    """The erasure code uses SSSE3 and demands no AVX2."""
    if os.uname().machine != "x86_64":
        return
    command = ["objdump", "--disassemble=reedsolomon_gal_mul", "--no-show-raw-insn", binary]
    code = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    assert b"pshufb" in code, "the erasure code is not there"
    assert b"%ymm" not in code, "it demands AVX2"


class Systemctl:
    """Stands in for systemd, which does not run in the copy: notes what it is told, and says that the service is active."""

    def __init__(self, root):
        (root / "run/systemd/system").mkdir(parents=True)
        self.told = root / "run/told"
        command = root / "usr/bin/systemctl"
        command.unlink(missing_ok=True)
        command.write_text('#!/bin/sh\necho "$*" >> /run/told\n')
        command.chmod(0o755)

    def take(self):
        """What it was told since it was last asked."""
        told = self.told.read_text().splitlines()
        self.told.unlink()
        return told


def version_of(root):
    shown = inside(root, "dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Version}", "sherd", stdout=subprocess.PIPE)
    return shown.stdout.decode().split()


def check_restart_of_a_cluster(root, settings_file):
    """Whoever upgrades one of several hosts is told to ask first, however the host came to its cluster."""
    alone = settings_file.read_text()
    for setting in ("SHERD_HOSTS=a=10.0.0.1:9100,b=10.0.0.2:9100", "SHERD_JOIN=10.0.0.1:9100"):
        settings_file.write_text(f"{alone}{setting}\n")
        said = dpkg(root, "--install", "/tmp/sherd.deb")
        assert "--safe-to-stop HOST --wait" in said, said
    settings_file.write_text(alone)


def main(binary, at):
    begun = time.monotonic()
    check_processor(binary)
    root = copy_of_machine(at / "machine")
    version = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE
        ).stdout
    )["packages"][0]["version"]
    older, newer = (build_package(binary, name, at) for name in (f"{version}~0", version))

    systemctl = Systemctl(root)
    dpkg(root, "--install", take_in(root, older))
    assert systemctl.take() == ["daemon-reload"], "an installation starts nothing"
    check_files(root)
    check_unit(root)
    check_patience(root)
    assert version_of(root) == ["ii", f"{version}~0"]

    admin_port = free_port()
    settings_file = root / "etc/sherd/sherd.env"
    with settings_file.open("a") as file:
        file.write(f"{EDITED}SHERD_S3_LISTEN=127.0.0.1:{free_port()}\nSHERD_ADMIN_LISTEN=127.0.0.1:{admin_port}\n")
    service = Service(root, admin_port)
    data = root / "var/lib/sherd/data"
    identity = (data / "identity.json").read_bytes()
    shown = inside(root, "sherd", "credentials", "--data", "/var/lib/sherd/data", stdout=subprocess.PIPE)
    assert b"aws configure set" in shown.stdout, shown

    said = dpkg(root, "--install", take_in(root, newer))
    assert systemctl.take() == ["daemon-reload", "--quiet is-active sherd"], "an upgrade restarts nothing"
    assert "systemctl restart sherd" in said and "--safe-to-stop" not in said, f"there is no other host to ask: {said}"
    assert version_of(root) == ["ii", version]
    assert service.process.poll() is None, "an upgrade does not stop the service"
    assert EDITED in settings_file.read_text(), "an upgrade keeps what the operator wrote"
    check_files(root)
    check_restart_of_a_cluster(root, settings_file)
    assert systemctl.take() == ["daemon-reload", "--quiet is-active sherd"] * 2
    service.stop()
    service = Service(root, admin_port)
    assert (data / "identity.json").read_bytes() == identity, "it is the same store"
    service.stop()

    dpkg(root, "--remove", "sherd")
    assert systemctl.take() == ["disable --now sherd", "daemon-reload"]
    assert not (root / "usr/bin/sherd").exists() and not (root / UNIT).exists()
    assert settings_file.exists() and data.exists(), "settings and data outlive a removal"
    said = dpkg(root, "--purge", "sherd")
    assert not (root / "etc/sherd").exists(), "a purge removes the settings"
    assert data.exists() and "the data of sherd stays" in said, said
    inside(root, "getent", "passwd", "sherd", stdout=subprocess.DEVNULL)
    print(f"package: {newer.name} was installed, run, upgraded, removed and purged in {time.monotonic() - begun:.0f} s")


main(os.path.abspath(sys.argv[1]), in_namespaces("the package", ["dpkg", "objdump", "strip"], []))
