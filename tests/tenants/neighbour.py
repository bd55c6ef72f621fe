"""How long another tenant waits while one asks for the worst: small requests at a gentle rate, without and with the load, and
beside processes that only compute, or compute and write files, which shows what of it is the machine's."""

import mmap
import multiprocessing
import os
import socket
import threading
import time

import world as worlds
from client import Request, signed_headers

ROUNDS_EACH_SECOND = 40
# They are spread over the server's workers.
CONNECTIONS = 4
OBJECT_BYTES = 4 << 10
WARM_SECONDS = 2.0
# Of the load, and of what only computes: below the server's workers, as its slow lanes are.
NICE = 10
# The size of the file that is written beside.
WRITTEN_MIB = 512


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def wire(request, address):
    """All bytes of a signed request: what is sent again and again costs the sender nothing more."""
    target = request.path + (f"?{request.query}" if request.query else "")
    headers = [("host", address), *signed_headers(request, address)]
    if request.body or request.method in ("PUT", "POST"):
        headers.append(("content-length", str(len(request.body))))
    head = f"{request.method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
    return head.encode() + request.body


def read_answer(stream, has_body=True):
    """Reads one answer; its status, 0 where there is none, and whether the connection stays."""
    length, stays, line = 0, True, stream.readline()
    if not line:
        return 0, False
    status = int(line.split()[1])
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        name, value = name.lower(), value.strip().lower()
        if name == "content-length":
            length = int(value)
        elif name == "connection" and value == "close":
            stays = False
        elif name == "transfer-encoding":
            length = None
    if not has_body:
        pass
    elif length is None:
        while (size := int(stream.readline().split(b";")[0], 16)) > 0:
            stream.read(size + 2)
        stream.readline()
    else:
        stream.read(length)
    return status, stays


def attack(address, bytes_of_request, connections, counted, refused, stopped):
    """A process of its own, which yields to the server and to the neighbour."""
    os.nice(NICE)
    host, port = address.rsplit(":", 1)

    def one():
        while not stopped.is_set():
            try:
                with socket.create_connection((host, int(port)), timeout=60) as stream, stream.makefile("rb") as answers:
                    while not stopped.is_set():
                        stream.sendall(bytes_of_request)
                        status, stays = read_answer(answers)
                        with counted.get_lock():
                            counted.value += 1
                            refused.value += status not in (200, 204)
                        if not stays:
                            break
            except OSError:
                time.sleep(0.02)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    stopped.wait()
    os._exit(0)


def compute(stopped):
    """A process that does nothing else."""
    os.nice(NICE)
    while not stopped.is_set():
        sum(range(100_000))


def write(directory, mib_each_second, stopped):
    """A process that writes a file at this rate, past the page cache, and syncs every 8 MiB, as the store writes shards."""
    os.nice(NICE)
    piece = mmap.mmap(-1, 1 << 20)
    file = os.open(f"{directory}/written", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    os.posix_fallocate(file, 0, WRITTEN_MIB << 20)
    begin, number = time.monotonic(), 0
    while not stopped.is_set():
        os.pwrite(file, piece, (number % WRITTEN_MIB) << 20)
        number += 1
        if number % 8 == 0:
            os.fdatasync(file)
        time.sleep(max(0.0, begin + number / mib_each_second - time.monotonic()))


class Waits:
    """What requests took, in seconds, and how many were refused."""

    def __init__(self, found):
        seconds = [one for one, _ in found]
        self.refused = sum(status not in (200, 204) for _, status in found)
        self.p50, self.p99, self.max = percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds)


class Neighbour:
    """Another tenant: an account of its own, with one bucket and a hundred objects in it."""

    def __init__(self, address, account):
        self.address, self.world = address, worlds.World(address, account, None)
        self.world.bucket("neighbour")
        for number in range(100):
            self.world.put("neighbour", f"key-{number}", b"x" * OBJECT_BYTES)
        key = self.world.root
        self.requests = [Request("GET", "/neighbour/key-1", key=key), Request("HEAD", "/neighbour/key-2", key=key),
                         Request("PUT", "/neighbour/new", body=b"y" * OBJECT_BYTES, key=key)]

    def seconds(self, for_seconds):
        """Of each request, asked at a gentle rate: one that is late is not asked for more often later. All were signed before."""
        host, port = self.address.rsplit(":", 1)
        asked = [(wire(request, self.address), request.method != "HEAD") for request in self.requests]
        connections, found = [], []
        for _ in range(CONNECTIONS):
            stream = socket.create_connection((host, int(port)), timeout=60)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connections.append((stream, stream.makefile("rb")))
        end, number = time.monotonic() + for_seconds, 0
        while (begin := time.monotonic()) < end:
            number += 1
            stream, answers = connections[number % CONNECTIONS]
            for request, has_body in asked:
                sent = time.monotonic()
                stream.sendall(request)
                status, stays = read_answer(answers, has_body)
                found.append((time.monotonic() - sent, status))
                assert stays, "the server closed a connection of the neighbour"
            time.sleep(max(0.0, begin + 1 / ROUNDS_EACH_SECOND - time.monotonic()))
        for stream, answers in connections:
            answers.close()
            stream.close()
        return found

    def alone(self, for_seconds):
        return Waits(self.seconds(for_seconds))

    def beside_computing(self, processes, for_seconds, directory=None, mib_each_second=0):
        """Beside so many processes that only compute, and one that writes to the directory if there is a rate."""
        stopped = multiprocessing.Event()
        others = [multiprocessing.Process(target=compute, args=(stopped,), daemon=True) for _ in range(processes)]
        if mib_each_second:
            others.append(multiprocessing.Process(target=write, args=(directory, mib_each_second, stopped), daemon=True))
        for process in others:
            process.start()
        try:
            time.sleep(WARM_SECONDS)
            return Waits(self.seconds(for_seconds))
        finally:
            stopped.set()
            for process in others:
                process.join(timeout=10)

    def beside(self, request, connections, for_seconds, meter):
        """Beside a load; the load's requests each second and how many of them were refused, and the processor time of the
        server's threads for each second."""
        stopped, counted, refused = multiprocessing.Event(), multiprocessing.Value("L"), multiprocessing.Value("L")
        load = multiprocessing.Process(
            target=attack, args=(self.address, wire(request, self.address), connections, counted, refused, stopped),
            daemon=True)
        load.start()
        try:
            time.sleep(WARM_SECONDS)
            before, before_refused, threads, begin = counted.value, refused.value, meter.threads(), time.monotonic()
            waits = Waits(self.seconds(for_seconds))
            took = time.monotonic() - begin
            rate, failed = (counted.value - before) / took, refused.value - before_refused
            spent = {name: (cpu - threads.get(name, 0)) / took for name, cpu in meter.threads().items()}
        finally:
            stopped.set()
            load.join(timeout=10)
            load.kill()
        return waits, rate, failed, spent
