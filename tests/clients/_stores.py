"""Stores for scripts that make faults: servers that start, end and start again; clients that ask much of them; and what
is done to their drives and to their calls of the system."""

import contextlib
import http.server
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading

import run as runner
from _support import boto3, botocore, objects_of, policy, until

ADDRESS = "127.0.0.1"
# Before a client that was refused asks again.
AGAIN_SECONDS = 0.05


class Store:
    """A server with a directory of its own."""

    def __init__(self, root, drives=1, **settings):
        self.root, self.settings = root, settings
        self.root.mkdir(exist_ok=True)
        self.drives = [root / f"d{number}" for number in range(1, drives + 1)]
        self.process = self.s3 = self.admin = None

    def start(self):
        """At other addresses each time: a port that was left may be somebody's by now."""
        self.process, self.s3, self.admin = runner.start(
            os.environ["BINARY"], self.root, len(self.drives), self.settings)

    def begin(self, admin):
        """Does not wait until it serves, and so names the address."""
        settings = {**self.settings, "SHERD_ADMIN_LISTEN": admin}
        self.process, self.admin = runner.spawn(os.environ["BINARY"], self.root, len(self.drives), settings), admin

    def kill(self):
        """It must not have panicked."""
        if self.process:
            self.process.kill()
            self.process.wait(timeout=30)
            panic = runner.panic_in(self.root)
            assert not panic, f"a store panicked:\n{panic}"

    def client(self):
        config = botocore.config.Config(retries={"max_attempts": 3}, s3={"addressing_style": "path"}, read_timeout=30)
        return boto3.client("s3", endpoint_url=f"http://{self.s3}", region_name="us-east-1", config=config,
                            aws_access_key_id=runner.ACCESS_KEY, aws_secret_access_key=runner.SECRET_KEY)

    def make_bucket(self, bucket):
        """One that takes objects without a signature: these cost less, on both sides. A client of the store."""
        s3 = self.client()
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(
            {"Principal": "*", "Action": "s3:PutObject", "Resource": objects_of(bucket)}))
        return s3


class Clients:
    """Threads that each do the same again and again, until they are stopped."""

    def __init__(self, count):
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(timeout=40)

    def work(self, number):
        while not self.stopped.wait(AGAIN_SECONDS):
            with contextlib.suppress(OSError):
                self.serve(number)


class Writers(Clients):
    """Each writes an object of so many bytes over itself."""

    def __init__(self, store, path, size, count):
        super().__init__(count)
        self.address, self.path, self.body = store.s3, path, os.urandom(size)

    def serve(self, number):
        host, port = self.address.split(":")
        head = f"PUT {self.path}-{number} HTTP/1.1\r\nHost: {self.address}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answers = connection.makefile("rb")
            while not self.stopped.is_set():
                connection.sendall(head.encode() + self.body)
                if status_of(answers) != 200:
                    return


def status_of(answers):
    """Reads one answer."""
    status = answers.readline().split()
    length = 0
    for line in iter(answers.readline, b""):
        name, _, value = line.partition(b":")
        if not value:
            break
        length = int(value) if name.lower() == b"content-length" else length
    answers.read(length)
    return int(status[1]) if status else 0


class SlowUploads(Clients):
    """Begins objects and does not go on with them, nor gives them up."""

    def __init__(self, store, path, size, count):
        super().__init__(count)
        self.address, self.path, self.size = store.s3, path, size

    def serve(self, number):
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=1) as connection:
            head = f"PUT {self.path}-{number} HTTP/1.1\r\nHost: {self.address}\r\nContent-Length: {self.size}\r\n\r\n"
            connection.sendall(head.encode() + b"the beginning")
            while not self.stopped.is_set():
                with contextlib.suppress(TimeoutError):
                    # An answer: it waited too long for room.
                    connection.recv(4096)
                    return


class Refusal(http.server.BaseHTTPRequestHandler):
    """Finds fault with every message."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def refusing_webhook():
    """Its URL."""
    server = http.server.ThreadingHTTPServer((ADDRESS, 0), Refusal)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{ADDRESS}:{server.server_port}/"


def take_away(drive):
    drive.rename(drive.with_name(f"{drive.name}-away"))


def bring_back(drive):
    drive.with_name(f"{drive.name}-away").rename(drive)


def fill_to(directory, share):
    """Leaves so much of the file system free, of 1."""
    space = os.statvfs(directory)
    fill = (space.f_bavail - int(space.f_blocks * share)) * space.f_frsize
    filler = directory / f"filler-{share}"
    with open(filler, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, fill)


@contextlib.contextmanager
def small_file_system(at, size_bytes):
    """A file system of its own there; whether it could be mounted."""
    at.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs", str(at)]
    mounted = bool(shutil.which("mount")) and subprocess.run(mount, stderr=subprocess.DEVNULL).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(at)], check=True)


@contextlib.contextmanager
def delayed(process, call, seconds, path=None):
    """Lets a call of the system, of this file if one is named, take so much longer while the context lasts; whether that
    can be done here."""
    if not shutil.which("strace"):
        yield False
        return
    tracer = subprocess.Popen(
        ["strace", "--follow-forks", "--quiet=all", "--output=/dev/null", f"--attach={process.pid}", f"--trace={call}",
         f"--inject={call}:delay_enter={int(seconds * 1e6)}", *([f"--trace-path={path}"] if path else [])],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: is_traced(process.pid) or tracer.poll() is not None, "strace traces, or cannot", 20)
        yield tracer.poll() is None
    finally:
        tracer.send_signal(signal.SIGTERM)
        try:
            tracer.wait(timeout=10)
        except subprocess.TimeoutExpired:
            tracer.kill()
            tracer.wait(timeout=10)


def is_traced(pid):
    """All its threads."""
    with contextlib.suppress(FileNotFoundError):
        threads = [path.read_text() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/status")]
        return bool(threads) and not any("TracerPid:\t0\n" in thread for thread in threads)


CLOCK_AHEAD = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *at) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, at);
    if (!failed && clock == CLOCK_REALTIME) at->tv_sec += SECONDS_AHEAD;
    return failed;
}
"""


def wall_clock_ahead(directory, seconds):
    """Settings with which a store's wall clock is so much ahead, and its monotonic clock is not; none where that cannot be
    done here."""
    if not shutil.which("cc"):
        return None
    library = directory / f"clock-{seconds}.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", f"-DSECONDS_AHEAD={seconds}", "-o", library, "-x", "c", "-", "-ldl"],
        input=CLOCK_AHEAD, text=True, check=True)
    # A program without a dynamic linker takes no notice.
    linked = subprocess.run(["ldd", os.environ["BINARY"]], capture_output=True, text=True)
    return {"LD_PRELOAD": str(library)} if linked.returncode == 0 else None
