"""How long another tenant waits while one asks for the worst: small requests at a gentle rate, without and with the load."""

import multiprocessing
import os
import socket
import threading
import time

import world as worlds
from client import Connection, Request, signed_headers

ROUNDS_EACH_SECOND = 10
WARM_SECONDS = 2.0
NICE = 10


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


def drain_answer(stream):
    """Reads one answer; whether the connection stays."""
    length, stays, line = 0, True, stream.readline()
    if not line:
        return False
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        name, value = name.lower(), value.strip().lower()
        if name == "content-length":
            length = int(value)
        elif name == "connection" and value == "close":
            stays = False
        elif name == "transfer-encoding":
            length = None
    if length is None:
        while (size := int(stream.readline().split(b";")[0], 16)) > 0:
            stream.read(size + 2)
        stream.readline()
    else:
        stream.read(length)
    return stays


def attack(address, bytes_of_request, connections, counted, stopped):
    """A process of its own, which yields to the server and to the neighbour."""
    os.nice(NICE)
    host, port = address.rsplit(":", 1)

    def one():
        while not stopped.is_set():
            try:
                with socket.create_connection((host, int(port)), timeout=60) as stream, stream.makefile("rb") as answers:
                    while not stopped.is_set():
                        stream.sendall(bytes_of_request)
                        stays = drain_answer(answers)
                        with counted.get_lock():
                            counted.value += 1
                        if not stays:
                            break
            except OSError:
                time.sleep(0.02)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    stopped.wait()
    os._exit(0)


class Neighbour:
    """Another tenant: an account of its own, with one bucket and a hundred objects in it."""

    def __init__(self, address, account):
        self.address, self.world = address, worlds.World(address, account, None)
        self.world.bucket("neighbour")
        for number in range(100):
            self.world.put("neighbour", f"key-{number}", b"x" * 1_000)

    def seconds(self, for_seconds):
        """Of each request, asked at a gentle rate: one that is late is not asked for more often later."""
        key, found = self.world.root, []
        connection = Connection(self.address)
        end = time.monotonic() + for_seconds
        number = 0
        while (begin := time.monotonic()) < end:
            number += 1
            for request in (Request("GET", f"/neighbour/key-{number % 100}", key=key),
                            Request("PUT", f"/neighbour/new-{number % 100}", body=b"y" * 1_000, key=key),
                            Request("GET", "/neighbour", "list-type=2&max-keys=100", key=key)):
                asked = time.monotonic()
                answer = connection.send(request)
                found.append((time.monotonic() - asked, answer.status))
            time.sleep(max(0.0, begin + 1 / ROUNDS_EACH_SECOND - time.monotonic()))
        connection.close()
        return found

    def beside(self, request, connections, for_seconds):
        """p50, p99 in seconds, refusals of the neighbour, and the load's requests each second."""
        stopped, counted = multiprocessing.Event(), multiprocessing.Value("L")
        load = None
        if request:
            load = multiprocessing.Process(
                target=attack, args=(self.address, wire(request, self.address), connections, counted, stopped), daemon=True)
            load.start()
        try:
            time.sleep(WARM_SECONDS)
            before, begin = counted.value, time.monotonic()
            found = self.seconds(for_seconds)
            rate = (counted.value - before) / (time.monotonic() - begin)
        finally:
            stopped.set()
            if load:
                load.join(timeout=10)
                load.kill()
        seconds = [one for one, _ in found]
        refused = sum(status != 200 for _, status in found)
        return percentile(seconds, 0.5), percentile(seconds, 0.99), refused, rate

