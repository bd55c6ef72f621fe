"""Processes of the store."""

import contextlib
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

from s3 import ACCESS, S3, SECRET

ADDRESS = "127.0.0.1"
CLUSTER_READY = "/minio/health/cluster"
READY_POLL_SECONDS = 0.02


def free_port():
    """A port that is free for TCP and UDP; a store keeps its ports from start to start."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind((ADDRESS, 0))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                return tcp.getsockname()[1]


class Store:
    """One host: its settings, and its process while it runs."""

    def __init__(self, binary, data, directory, **settings):
        self.binary, self.port, self.admin_port = binary, free_port(), free_port()
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("SHERD_")}
        settings = {
            "DATA": data,
            "S3_LISTEN": f"{ADDRESS}:{self.port}",
            "ADMIN_LISTEN": f"{ADDRESS}:{self.admin_port}",
            "ACCESS_KEY": ACCESS,
            "SECRET_KEY": SECRET,
            "LOG": "info,request=warn",
            "MEMORY_MAX": "512MiB",
        } | settings
        self.environment |= {f"SHERD_{name}": value for name, value in settings.items()}
        self.process, self.starts = None, 0
        self.output, self.listening = [], threading.Event()

    @property
    def log_path(self):
        return self.directory / f"start-{self.starts:04}.log"

    def log(self):
        return self.log_path.read_text(errors="replace")

    def spawn(self):
        self.starts += 1
        self.output, self.listening = [], threading.Event()
        self.began = time.monotonic()
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [self.binary], env=self.environment, stdout=subprocess.PIPE, stderr=log, cwd=self.directory
            )
        threading.Thread(target=self._listen, args=(self.process, self.output, self.listening), daemon=True).start()

    def _listen(self, process, output, listening):
        with process.stdout:
            for line in process.stdout:
                output.append(line.decode().rstrip())
                if line.startswith(b"listening"):
                    listening.set()
        listening.set()

    def _ask(self, path):
        """Status and body; (0, "") where nobody answers."""
        connection = http.client.HTTPConnection(ADDRESS, self.admin_port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def health(self, path=CLUSTER_READY):
        return self._ask(path)[0]

    def sum(self, metric):
        """The sum of a metric's series; 0 where nobody answers."""
        rows = (line.rsplit(" ", 1) for line in self._ask("/metrics")[1].splitlines() if not line.startswith("#"))
        return sum(float(value) for name, value in rows if name.split("{")[0] == metric)

    def wait_ready(self, seconds, path=CLUSTER_READY):
        """Seconds from the start of the process until it serves; None if it ends or does not serve in time."""
        while time.monotonic() - self.began < seconds:
            if self.process.poll() is not None:
                return None
            if self.listening.is_set() and self.health(path) == 200:
                return time.monotonic() - self.began
            time.sleep(READY_POLL_SECONDS)
        return None

    def client(self, **settings):
        return S3(self.port, **settings)

    def credentials(self):
        """The lines with which the store's own command shows its root credentials."""
        command = [self.binary, "credentials"]
        shown = subprocess.run(command, env=self.environment, cwd=self.directory, capture_output=True, text=True, timeout=20)
        return shown.stdout.splitlines()

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)

    def reap(self, seconds=20):
        """The exit code of a process that ends; None where there is none."""
        if not self.process:
            return None
        code = self.process.wait(seconds)
        self.process = None
        return code

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
