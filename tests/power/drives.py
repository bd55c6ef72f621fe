"""Drives whose power can be cut: a `cutfs` process (cutfs/src/control.rs lists its commands)."""

import os
import pathlib
import signal
import socket
import subprocess

STOP_SECONDS_MAX = 10


class Drives:
    def __init__(self, binary, directory, names, capacity_mib=16384):
        self.names, self.directory = list(names), pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.mounts = {name: self.directory / name for name in self.names}
        for mount in self.mounts.values():
            mount.mkdir(exist_ok=True)
        self.path = self.directory / "control"
        self.log = (self.directory / "cutfs.log").open("ab")
        arguments = [binary, self.path, str(capacity_mib), *self.mounts.values()]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self.log)
        if self.process.stdout.readline().strip() != b"mounted":
            raise RuntimeError(f"cutfs does not start; see {self.log.name}")
        self.control = self._connect()

    def _connect(self):
        link = socket.socket(socket.AF_UNIX)
        # A path of a socket is at most 108 bytes long; through the directory's descriptor any path is short.
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            link.connect(f"/proc/self/fd/{directory}/{self.path.name}")
        finally:
            os.close(directory)
        return link.makefile("rw", newline="\n")

    def command(self, verb, link=None, **arguments):
        """The answer's words."""
        link = link or self.control
        words = [verb, *(f"{name}={value}" for name, value in arguments.items() if value is not None)]
        link.write(" ".join(words) + "\n")
        link.flush()
        answer = link.readline().strip()
        if not answer.startswith("ok"):
            raise RuntimeError(f"{' '.join(words)}: {answer}")
        return answer[3:]

    def cut(self, drives=None, hangs=False):
        self.command("cut", drives=drives, hangs=int(hangs))

    def power_on(self, seed, drives=None):
        """{sectors: …, names_lost: …}: the unsynced state, and how much of it was lost."""
        answer = self.command("on", seed=seed, drives=drives)
        return {name: int(number) for name, number in (pair.split("=") for pair in answer.split())}

    def wait_cut(self, seconds):
        """Whether a trigger cut the power within so many seconds. Uses a connection of its own."""
        link = self._connect()
        try:
            return self.command("wait-cut", link=link, ms=int(seconds * 1000)) == "1"
        finally:
            link.close()

    def trace(self, lines=200, drives=None):
        return [line for line in self.command("trace", lines=lines, drives=drives).split("|") if line]

    def close(self):
        try:
            self.command("quit")
        except (OSError, RuntimeError):
            pass
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for mount in self.mounts.values():
            if os.path.ismount(mount):
                subprocess.run(["umount", "-l", mount], check=False)
        self.process.stdout.close()
        self.log.close()
