"""What the store acknowledged, and so what must be found in it.

A key has a list of states that it may be in: absent, or one body. An acknowledged operation leaves one; an operation whose
outcome is unknown (no answer, or a 5xx) adds one, and clients leave the key alone until `verify` has looked. The state found
after the restart is the truth from then on: a later power cut must not change it either.
"""

import base64
import hashlib
import itertools
import random
import threading

generations = itertools.count(1)


def content(generation, size):
    return random.Random(generation * 2654435761).randbytes(size)


def md5(data):
    return hashlib.md5(data).hexdigest()


class Body:
    """One content that was tried for a key; `parts` where it was put together of several."""

    __slots__ = ("generation", "size", "etag", "parts", "encryption")

    def __init__(self, size, etag=None, generation=None, parts=None, encryption=None):
        self.generation = generation or next(generations)
        self.size, self.etag, self.parts = size, etag, parts
        self.encryption = encryption

    def bytes(self):
        if self.parts:
            return b"".join(part.bytes() for part in self.parts)
        return content(self.generation, self.size)

    def key_headers(self):
        """The headers of a request that reads or extends it: the client's key, with SSE-C."""
        if self.encryption is None or self.encryption == "AES256":
            return {}
        prefix = "x-amz-server-side-encryption-customer"
        return {
            f"{prefix}-algorithm": "AES256",
            f"{prefix}-key": base64.b64encode(self.encryption).decode(),
            f"{prefix}-key-md5": base64.b64encode(hashlib.md5(self.encryption).digest()).decode(),
        }

    def put_headers(self):
        return {"x-amz-server-side-encryption": "AES256"} if self.encryption == "AES256" else self.key_headers()

    def fits(self, size, etag):
        return self.size == size and (self.etag is None or not etag or self.etag == etag)

    def __repr__(self):
        return f"#{self.generation}({self.size} bytes, {self.etag})"


class Key:
    def __init__(self):
        self.possible, self.history, self.touched = [None], [], True

    @property
    def certain(self):
        return len(self.possible) == 1

    def acknowledged(self, state):
        self.possible, self.touched = [state], True
        if state:
            self.history.append(state)

    def doubted(self, state):
        self.touched = True
        if state not in self.possible:
            self.possible.append(state)
        if state:
            self.history.append(state)


class Versions:
    """A key of a bucket with versions: rows (id, Body or None for a delete marker), oldest first."""

    def __init__(self):
        self.rows, self.removed, self.doubts, self.doubted_removals, self.touched = [], set(), [], set(), True
        # {id: the states that its legal hold may be in}, in the bucket with object lock.
        self.holds = {}

    @property
    def certain(self):
        return not self.doubts and not self.doubted_removals and all(len(hold) == 1 for hold in self.holds.values())


class Upload:
    def __init__(self, key, upload_id):
        self.key, self.id, self.parts, self.state, self.doubted_parts = key, upload_id, {}, "open", set()


class Rename:
    """A rename of unknown outcome: the body is under one of the two names."""

    def __init__(self, source, target, body):
        self.source, self.target, self.body = source, target, body


class Ledger:
    """The state that one client has left. Only that client changes it under load."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.keys, self.versions, self.locked, self.uploads, self.renames = {}, {}, {}, [], []
        # {bucket: the states that it may be in}: None, or its documents by kind (sorted pairs).
        self.buckets = {}


class Journal:
    """Every operation with its outcome, as evidence; counts; violations."""

    def __init__(self, path):
        self.file, self.lock, self.counts, self.violations = open(path, "a", buffering=1), threading.Lock(), {}, []

    def note(self, began, ended, client, operation, key, outcome, detail=""):
        with self.lock:
            self.counts[operation, outcome] = self.counts.get((operation, outcome), 0) + 1
            self.file.write(f"{began:.4f}\t{ended:.4f}\t{client}\t{operation}\t{key}\t{outcome}\t{detail}\n")

    def violation(self, kind, key, detail):
        with self.lock:
            self.violations.append((kind, key, detail))
            self.file.write(f"VIOLATION\t{kind}\t{key}\t{detail}\n")

    def total(self, outcome):
        return sum(count for (_, counted), count in self.counts.items() if counted == outcome)

    def acknowledged(self):
        """{operation: count}."""
        return {operation: count for (operation, outcome), count in sorted(self.counts.items()) if outcome == "acknowledged"}
