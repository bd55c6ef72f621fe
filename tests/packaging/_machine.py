"""Throwaway copies of this machine: overlays over /, in namespaces of the test's own; what is done to them is gone with it."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77
REPOSITORY = Path(__file__).resolve().parents[2]
INSIDE = "PACKAGING_TEST_AT"


def in_namespaces(what, tools, namespaces):
    """Starts the script again where its mounts are its own; returns the directory for its copies there."""
    at = os.environ.get(INSIDE)
    if at:
        mount("-t", "tmpfs", "-o", "size=2g", "tmpfs", at)
        return Path(at)
    missing = [tool for tool in ("unshare", "chroot", "setpriv", *tools) if not shutil.which(tool)]
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *namespaces]
    if os.geteuid() != 0 or missing:
        print(f"skipped: {what}, which takes root{''.join(f' and {tool}' for tool in missing)}")
        sys.exit(SKIPPED)
    if subprocess.run([*unshare, "true"]).returncode != 0:
        print(f"skipped: {what}, which takes namespaces")
        sys.exit(SKIPPED)
    # The store refuses variables with its prefix that are no settings, such as those of the tests.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHERD_")}
    with tempfile.TemporaryDirectory() as at:
        sys.exit(subprocess.run([*unshare, sys.executable, *sys.argv], env={**environment, INSIDE: at}).returncode)


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


def build_package(binary, version, to):
    """The Debian package of a binary."""
    stripped = to / "sherd"
    subprocess.run(["strip", "-o", stripped, binary], check=True)
    # To compress a program for tests takes minutes.
    environment = {**os.environ, "DPKG_DEB_COMPRESSOR_TYPE": "none"}
    command = [REPOSITORY / ".ci/deb", stripped, version, to / "packages"]
    built = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return Path(built.stdout.decode().strip())


def overlay_of_machine(at):
    """An overlay over /, whose changes are in memory."""
    upper, work, root = at / "upper", at / "work", at / "root"
    for directory in (upper, work, root):
        directory.mkdir(parents=True)
    mount("-t", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", "overlay", root)
    return root


def copy_of_machine(at):
    """An overlay over /, with what programs need besides."""
    root = overlay_of_machine(at)
    mount("-t", "proc", "proc", root / "proc")
    mount("--rbind", "/dev", root / "dev")
    mount("-t", "tmpfs", "tmpfs", root / "run")
    return root


def inside(root, *command, **options):
    return subprocess.run(["chroot", str(root), *command], **{"check": True, **options})


def as_user(root, user, group, command):
    """A command line that runs in the copy as this user, without privileges."""
    groups = "--init-groups" if user.isalpha() else "--clear-groups"
    return [
        shutil.which("chroot"), str(root), "setpriv", f"--reuid={user}", f"--regid={group}", groups, "--no-new-privs",
        "--bounding-set=-all", *command,
    ]  # fmt: skip
