#!/usr/bin/env python3
"""The image's entry point on throwaway copies of this machine: whose the mounts below /data are afterwards, and who runs.

    tests/packaging/entry_point.py         exit code 77 where it takes root or mounts that are not there

The copies are of this machine, not of the image: its tools are those of coreutils and util-linux, as here.
"""

import os
import shutil
import subprocess
from pathlib import Path

from _machine import copy_of_machine, in_namespaces, inside, mount

SCRIPT = Path(__file__).resolve().parents[2] / "docker-entrypoint.sh"
USER = 1000
DRIVES = ("1", "2", "3", "4")


class Container:
    """A copy of the machine with the entry point, whose /data has mounts."""

    def __init__(self, at, name, mounts=DRIVES, of_data=USER):
        self.at = at / name
        self.root = copy_of_machine(self.at)
        self.data = self.root / "data"
        self.data.mkdir()
        os.chown(self.data, of_data, of_data)
        for drive in mounts:
            (self.data / drive).mkdir()
            self.mount(drive)
        shutil.copy(SCRIPT, self.root / "entry")

    def mount(self, drive):
        """Mounts an empty directory of root's, as a new file system or an unmounted mount point is."""
        source = self.at / "drives" / f"{drive}-{len(list(self.at.glob('drives/*')))}"
        source.mkdir(parents=True)
        mount("--bind", source, self.data / drive)

    def hold_drive(self, drive, below="store"):
        """Makes what a store leaves."""
        directory = self.data / drive / below
        directory.mkdir(exist_ok=True)
        (directory / "identity.json").write_text("{}")
        for path in (directory, directory / "identity.json"):
            os.chown(path, USER, USER)

    def start(self, code=0):
        """Runs the entry point as root; returns the user that it ran the command as, and what it said."""
        done = inside(
            self.root, "/entry", "sh", "-c", "id -u", check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert done.returncode == code, done
        return done.stdout.strip(), done.stderr

    def owners(self, *drives):
        return [(self.data / drive).stat().st_uid for drive in drives or DRIVES]


def check_first_start(at):
    new = Container(at, "first")
    (new.data / "1/lost+found").mkdir()
    (new.data / "plain").mkdir()
    assert new.start() == (str(USER), "")
    assert new.owners() == [USER] * 4
    assert new.owners("plain") == [0], "what is no mount keeps its owner"
    assert new.start() == (str(USER), "")

    other = Container(at, "other", of_data=1234)
    assert other.start() == ("1234", ""), "where the mounts are root's, the owner of /data counts"
    assert other.owners() == [1234] * 4


def check_missing_drives(at):
    """A mount point whose drive is not mounted is a directory of root's: it is not given away beside drives of the store."""
    for name, below in (("at", "."), ("below", "store")):
        missing = Container(at, f"missing-{name}")
        missing.start()
        for drive in DRIVES:
            missing.hold_drive(drive, below)
        missing.mount("2")
        user, said = missing.start()
        assert user == str(USER) and "/data/2/ is root's and holds no drive" in said, (user, said)
        assert "/data/1" not in said and missing.owners() == [USER, 0, USER, USER]

    of_roots = Container(at, "of-roots")
    of_roots.hold_drive("1")
    user, said = of_roots.start()
    assert user == str(USER) and said.count("holds no drive") == 3, (user, said)
    assert of_roots.owners() == [USER, 0, 0, 0], "the mount of a drive is given away, those without one are not"

    partly = Container(at, "partly")
    os.chown(partly.data / "1", 1234, 1234)
    user, said = partly.start()
    assert user == "1234" and said.count("give it to uid 1234") == 3, (user, said)

    beside = Container(at, "beside", mounts=("1",))
    beside.hold_drive(".")
    user, said = beside.start()
    assert "/data/1/ is root's" in said and beside.owners("1") == [0], "a drive in /data/store counts"


def check_refusals(at):
    fixed = Container(at, "fixed")
    mount("-o", "remount,bind,ro", fixed.data / "2")
    user, said = fixed.start()
    assert user == str(USER) and "/data/2/ stays root's" in said, (user, said)
    assert fixed.owners() == [USER, 0, USER, USER]

    two = Container(at, "two")
    os.chown(two.data / "1", 1234, 1234)
    os.chown(two.data / "2", 1235, 1235)
    _, said = two.start(code=2)
    assert "give both to one user" in said and two.owners() == [1234, 1235, 0, 0], said


def main():
    at = in_namespaces("the entry point", ["mountpoint"], [])
    check_first_start(at)
    check_missing_drives(at)
    check_refusals(at)
    print("entry point: it gives away new mounts, and none that may lack its drive")


main()
