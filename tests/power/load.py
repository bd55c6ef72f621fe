"""Clients that do a mix of operations and keep a ledger of them."""

import base64
import hashlib
import json
import random
import threading
import time
import urllib.parse

from ledger import Body, Key, Ledger, Rename, Upload, Versions, md5
from s3 import Doubt, NotSent

BUCKETS = PLAIN, VERSIONED, LOCKED = "plain", "versioned", "locked"
KIB, MIB = 1 << 10, 1 << 20


def make_buckets(s3):
    for bucket in BUCKETS:
        headers = {"x-amz-bucket-object-lock-enabled": "true"} if bucket == LOCKED else {}
        answer = s3.call("PUT", f"/{bucket}", headers=headers)
        if not answer.done and answer.code() != "BucketAlreadyOwnedByYou":
            raise RuntimeError(f"bucket {bucket}: {answer.status} {answer.body!r}")
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    answer = s3.call("PUT", f"/{VERSIONED}", {"versioning": ""}, body=body)
    if not answer.done:
        raise RuntimeError(f"versioning: {answer.status} {answer.body!r}")


class Client(threading.Thread):
    """Does one operation at a time, and leaves keys alone whose state is in doubt."""

    def __init__(self, number, ledger, stores, journal, seed, stop, roams=False, big=True, churn=False):
        super().__init__(daemon=True)
        self.number, self.ledger, self.stores, self.journal, self.stop = number, ledger, stores, journal, stop
        self.random, self.roams, self.churn = random.Random(seed), roams, churn
        self.at = number % len(stores)
        self.s3 = stores[self.at].client(timeout=15)
        operations = [
            (30, self.put), (6, self.put_if_none), (5, self.put_if_match), (14, self.delete), (3, self.delete_many),
            (6, self.copy), (5, self.upload), (3, self.go_on_with_upload), (10, self.put_version), (5, self.mark_deleted),
            (4, self.remove_version), (10, self.get), (6, self.bucket), (2, self.listing), (8, self.append), (5, self.rename),
            (4, self.put_locked), (3, self.hold), (2, self.remove_locked),
        ]  # fmt: skip
        if churn:
            operations = [(50, self.put), (40, self.delete), (8, self.copy), (5, self.upload)]
        self.weights, self.operations = zip(*operations)
        self.big = big
        self.error = None

    def run(self):
        try:
            while not self.stop.is_set():
                (operation,) = self.random.choices(self.operations, self.weights)
                try:
                    operation()
                except NotSent:
                    if not self.roams:
                        return
                    self.roam()
                except Doubt:
                    if not self.roams:
                        return
                    self.roam()
        except Exception as error:  # a fault of the harness; `Load.end` raises it
            self.error = error
            raise
        finally:
            self.s3.close()

    def roam(self):
        self.s3.close()
        self.at = (self.at + 1) % len(self.stores)
        self.s3 = self.stores[self.at].client(timeout=15)
        time.sleep(0.05)

    # The outcome of one call.

    def change(self, operation, key, call, done, doubt, detail=""):
        """Calls `done` with the answer of an acknowledged operation, `doubt` if its outcome is unknown."""
        began = time.time()
        try:
            answer = call()
        except NotSent:
            self.journal.note(began, time.time(), self.number, operation, key, "not sent", detail)
            raise
        except Doubt as error:
            doubt()
            self.journal.note(began, time.time(), self.number, operation, key, "doubt", f"{detail} {error}")
            raise
        if answer.done and b"<Error>" not in answer.body[:300]:
            done(answer)
            self.journal.note(began, time.time(), self.number, operation, key, "acknowledged", detail)
            return answer
        if answer.status >= 500 or answer.done:
            doubt()
            self.journal.note(began, time.time(), self.number, operation, key, "doubt", f"{detail} {answer.status} {answer.code()}")
            time.sleep(0.02)
        else:
            self.journal.note(began, time.time(), self.number, operation, key, "refused", f"{detail} {answer.status} {answer.code()}")
        return answer

    def size(self):
        draw = self.random.random()
        if self.churn:
            return self.random.choice([100 * KIB, 300 * KIB, MIB]) if draw < 0.8 else 4 * KIB
        if draw < 0.02:
            return 0
        if draw < 0.45:
            return 4 * KIB
        if draw < 0.6:
            return self.random.randint(1, 16 * KIB)
        if draw < 0.7:
            return self.random.randint(16 * KIB + 1, 64 * KIB)
        if draw < 0.9 or not self.big:
            return 100 * KIB
        return MIB

    def pick(self, new=0.5, present=None):
        """A key whose state is certain; a new one at times."""
        if present is None and self.random.random() < new:
            name = f"{self.ledger.prefix}{len(self.ledger.keys):05}"
            return name, self.ledger.keys.setdefault(name, Key())
        names = list(self.ledger.keys)
        for _ in range(12):
            if not names:
                break
            name = names[-1 - min(int(self.random.expovariate(1 / 25)), len(names) - 1)] if self.random.random() < 0.6 else self.random.choice(names)
            key = self.ledger.keys[name]
            if key.certain and (present is None or (key.possible[0] is not None) == present):
                return name, key
        return None, None

    def body(self, size=None, encryption=None):
        body = Body(self.size() if size is None else size, encryption=encryption)
        data = body.bytes()
        # What is under a client's key has an entity tag that only the store can tell.
        body.etag = None if isinstance(encryption, bytes) else md5(data)
        return body, data

    def encryption(self):
        """Of a new object: mostly none, SSE-S3, or a client's key (SSE-C)."""
        draw = self.random.random()
        return None if draw < 0.7 else "AES256" if draw < 0.85 else self.random.randbytes(32)

    # Operations.

    def put(self, headers=None, operation="put", name=None, key=None):
        if name is None:
            name, key = self.pick(new=0.45)
        if name is None:
            return None
        body, data = self.body(encryption=self.encryption())
        headers = (headers or {}) | body.put_headers()

        def done(answer):
            body.etag = body.etag or answer.etag or None
            key.acknowledged(body)

        return self.change(
            operation, name, lambda: self.s3.call("PUT", f"/{PLAIN}/{name}", headers=headers, body=data),
            done, lambda: key.doubted(body), repr(body),
        )  # fmt: skip

    def put_if_none(self):
        name, key = self.pick(new=0.6)
        if name is None:
            return
        was = key.possible[0]
        answer = self.put({"if-none-match": "*"}, "put-if-none", name, key)
        if answer.done and was is not None or answer.status == 412 and was is None:
            self.journal.violation("condition", name, f"If-None-Match answered {answer.status} where the key was {was}")

    def put_if_match(self):
        name, key = self.pick(present=True)
        if name is None or not key.possible[0].etag:
            return
        right, was = self.random.random() < 0.8, key.possible[0]
        etag = was.etag if right else "0" * 32
        answer = self.put({"if-match": f'"{etag}"'}, "put-if-match", name, key)
        if answer.status == 412 and right or answer.done and not right:
            self.journal.violation("condition", name, f"If-Match {etag} answered {answer.status} where the key was {was}")

    def delete(self):
        name, key = self.pick(present=True) if self.random.random() < 0.9 else self.pick(new=0)
        if name is None:
            return
        self.change(
            "delete", name, lambda: self.s3.call("DELETE", f"/{PLAIN}/{name}"),
            lambda answer: key.acknowledged(None), lambda: key.doubted(None),
        )  # fmt: skip

    def delete_many(self):
        picked = dict(self.pick(present=True) for _ in range(4))
        picked.pop(None, None)
        if not picked:
            return
        objects = "".join(f"<Object><Key>{name}</Key></Object>" for name in picked)
        body = f"<Delete>{objects}</Delete>".encode()
        headers = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}

        def done(answer):
            gone = {entry.findtext("Key") for entry in answer.xml().iter("Deleted")}
            for name, key in picked.items():
                key.acknowledged(None) if name in gone else key.doubted(None)

        self.change(
            "delete-many", ",".join(picked), lambda: self.s3.call("POST", f"/{PLAIN}", {"delete": ""}, headers, body),
            done, lambda: [key.doubted(None) for key in picked.values()],
        )  # fmt: skip

    def copy(self):
        source, from_key = self.pick(present=True)
        name, key = self.pick(new=0.6)
        if source is None or name is None or name == source:
            return
        was = from_key.possible[0]
        # The copy is encrypted by headers of its own; a source under a client's key would take further ones.
        if isinstance(was.encryption, bytes):
            return
        body = Body(was.size, None, was.generation, was.parts)

        def done(answer):
            body.etag = (answer.xml().findtext("ETag") or "").strip('"') or None
            key.acknowledged(body)

        self.change(
            "copy", name, lambda: self.s3.call("PUT", f"/{PLAIN}/{name}", headers={"x-amz-copy-source": f"/{PLAIN}/{source}"}),
            done, lambda: key.doubted(body), f"{source} {body}",
        )  # fmt: skip

    def append(self):
        name, key = self.pick(present=True)
        if name is None or key.possible[0].size > 4 * MIB:
            return
        was = key.possible[0]
        piece, data = self.body(self.random.choice([1, 500, 20 * KIB, 100 * KIB]))
        body = Body(was.size + piece.size, parts=[*(was.parts or [was]), piece], encryption=was.encryption)
        headers = {"x-amz-write-offset-bytes": str(was.size)} | was.key_headers()

        def done(answer):
            body.etag = answer.etag or None
            key.acknowledged(body)

        self.change(
            "append", name, lambda: self.s3.call("PUT", f"/{PLAIN}/{name}", headers=headers, body=data),
            done, lambda: key.doubted(body), f"{was} {body}",
        )  # fmt: skip

    def rename(self):
        source, from_key = self.pick(present=True)
        target, key = self.pick(new=0.7)
        if source is None or target is None or source == target:
            return
        body, replaced = from_key.possible[0], key.possible[0]
        # A rename of unknown outcome is judged by where the body is: it must not be there already, as a copy.
        if replaced and replaced.generation == body.generation:
            return

        def done(answer):
            from_key.acknowledged(None)
            key.acknowledged(body)

        def doubt():
            from_key.doubted(None)
            key.doubted(body)
            self.ledger.renames.append(Rename(source, target, body))

        headers = {"x-amz-rename-source": urllib.parse.quote(f"/{PLAIN}/{source}")} | body.key_headers()
        self.change(
            "rename", source, lambda: self.s3.call("PUT", f"/{PLAIN}/{target}", {"renameObject": ""}, headers),
            done, doubt, f"{target} {body}",
        )  # fmt: skip

    def upload(self):
        name, _ = self.pick(new=0.7)
        if name is None or any(upload.key == name for upload in self.ledger.uploads):
            return
        answer = self.change(
            "upload-create", name, lambda: self.s3.call("POST", f"/{PLAIN}/{name}", {"uploads": ""}), lambda answer: None, lambda: None
        )
        if not answer.done:
            return
        upload = Upload(name, answer.xml().findtext("UploadId"))
        self.ledger.uploads.append(upload)
        sizes = [5 * MIB, 3 * MIB] if self.big and self.random.random() < 0.4 else [self.random.choice([20 * KIB, 200 * KIB, MIB])]
        for number, size in enumerate(sizes, 1):
            if not self.part(upload, number, size):
                return
        if self.random.random() < 0.75:
            self.finish(upload)

    def part(self, upload, number, size):
        part, data = self.body(size)

        def doubt():
            upload.doubted_parts.add(number)

        answer = self.change(
            "upload-part", upload.key, lambda: self.s3.call("PUT", f"/{PLAIN}/{upload.key}", {"partNumber": number, "uploadId": upload.id}, body=data),
            lambda answer: upload.parts.__setitem__(number, part), doubt, f"{upload.id} {number} {part}",
        )  # fmt: skip
        return answer.done

    def go_on_with_upload(self):
        ready = [upload for upload in self.ledger.uploads if upload.state == "open" and upload.parts and not upload.doubted_parts]
        if not ready:
            return
        upload = self.random.choice(ready)
        if self.random.random() < 0.2:
            def end():
                upload.state = "gone"

            def doubt():
                upload.state = "doubt"

            self.change(
                "upload-abort", upload.key, lambda: self.s3.call("DELETE", f"/{PLAIN}/{upload.key}", {"uploadId": upload.id}),
                lambda answer: end(), doubt, upload.id,
            )  # fmt: skip
        else:
            self.finish(upload)

    def finish(self, upload):
        key = self.ledger.keys.setdefault(upload.key, Key())
        if not key.certain:
            return
        parts = [upload.parts[number] for number in sorted(upload.parts)]
        etag = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts)).hexdigest() + f"-{len(parts)}"
        body = Body(sum(part.size for part in parts), etag, parts=parts)
        listed = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{upload.parts[number].etag}</ETag></Part>" for number in sorted(upload.parts))
        xml = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()

        def done(answer):
            upload.state = "gone"
            key.acknowledged(body)

        def doubt():
            upload.state = "doubt"
            key.doubted(body)

        answer = self.change(
            "upload-complete", upload.key, lambda: self.s3.call("POST", f"/{PLAIN}/{upload.key}", {"uploadId": upload.id}, body=xml),
            done, doubt, f"{upload.id} {body}",
        )  # fmt: skip
        if 400 <= answer.status < 500:
            self.journal.violation("lost", upload.key, f"upload {upload.id} with parts {upload.parts} is refused at its end: {answer.status} {answer.code()}")
            upload.state = "gone"

    def put_version(self):
        name, key = self.versions_to_extend(self.ledger.versions)
        body, data = self.body(encryption=self.random.choice([None, None, "AES256"]))
        self.change(
            "put-version", name, lambda: self.s3.call("PUT", f"/{VERSIONED}/{name}", headers=body.put_headers(), body=data),
            lambda answer: key.rows.append((answer.headers["x-amz-version-id"], body)), lambda: key.doubts.append(body), repr(body),
        )  # fmt: skip

    def versions_to_extend(self, versions):
        names = [name for name, key in versions.items() if key.certain]
        if not names or self.random.random() < 0.3:
            name = f"{self.ledger.prefix}v{len(versions):04}"
        else:
            name = self.random.choice(names[-20:])
        key = versions.setdefault(name, Versions())
        key.touched = True
        return name, key

    def put_locked(self):
        """A version under legal hold."""
        name, key = self.versions_to_extend(self.ledger.locked)
        body, data = self.body(self.random.choice([100, 40 * KIB]))

        def done(answer):
            version = answer.headers["x-amz-version-id"]
            key.rows.append((version, body))
            key.holds[version] = ["ON"]

        self.change(
            "put-locked", name,
            lambda: self.s3.call("PUT", f"/{LOCKED}/{name}", headers={"x-amz-object-lock-legal-hold": "ON"}, body=data),
            done, lambda: key.doubts.append(body), repr(body),
        )  # fmt: skip

    def held_version(self):
        names = [name for name, key in self.ledger.locked.items() if key.certain and key.holds]
        if not names:
            return None, None, None
        name = self.random.choice(names)
        key = self.ledger.locked[name]
        left = [version for version in key.holds if version not in key.removed]
        if not left:
            return None, None, None
        key.touched = True
        return name, key, self.random.choice(left)

    def hold(self):
        """Turns a legal hold on or off."""
        name, key, version = self.held_version()
        if name is None:
            return
        state = "OFF" if key.holds[version] == ["ON"] else "ON"
        self.change(
            "hold", name,
            lambda: self.s3.call(
                "PUT", f"/{LOCKED}/{name}", {"legal-hold": "", "versionId": version}, body=f"<LegalHold><Status>{state}</Status></LegalHold>".encode()
            ),
            lambda answer: key.holds.__setitem__(version, [state]), lambda: key.holds[version].append(state), f"{version} {state}",
        )  # fmt: skip

    def remove_locked(self):
        """Removes a version; one under legal hold stays."""
        name, key, version = self.held_version()
        if name is None:
            return
        held = key.holds[version] == ["ON"]
        answer = self.change(
            "delete-locked", name, lambda: self.s3.call("DELETE", f"/{LOCKED}/{name}", {"versionId": version}),
            lambda answer: key.removed.add(version), lambda: None if held else key.doubted_removals.add(version), version,
        )  # fmt: skip
        if answer.done and held:
            self.journal.violation("lock", name, f"version {version} was removed under legal hold")

    def certain_version(self):
        names = [name for name, key in self.ledger.versions.items() if key.certain and key.rows]
        if not names:
            return None, None
        name = self.random.choice(names)
        self.ledger.versions[name].touched = True
        return name, self.ledger.versions[name]

    def mark_deleted(self):
        name, key = self.certain_version()
        if name is None:
            return
        self.change(
            "delete-marker", name, lambda: self.s3.call("DELETE", f"/{VERSIONED}/{name}"),
            lambda answer: key.rows.append((answer.headers["x-amz-version-id"], None)), lambda: key.doubts.append(None),
        )  # fmt: skip

    def remove_version(self):
        name, key = self.certain_version()
        if name is None:
            return
        left = [version for version, _ in key.rows if version not in key.removed]
        if not left:
            return
        version = self.random.choice(left)
        self.change(
            "delete-version", name, lambda: self.s3.call("DELETE", f"/{VERSIONED}/{name}", {"versionId": version}),
            lambda answer: key.removed.add(version), lambda: key.doubted_removals.add(version), version,
        )  # fmt: skip

    def get(self):
        name, key = self.pick(new=0)
        if name is None:
            return
        began, wanted = time.time(), key.possible[0]
        headers, data = {}, wanted.bytes() if wanted else b""
        if len(data) > 100 and self.random.random() < 0.4:
            start = self.random.randrange(len(data))
            end = min(len(data) - 1, start + self.random.randrange(200 * KIB))
            headers, data = {"range": f"bytes={start}-{end}"}, data[start : end + 1]
        headers |= wanted.key_headers() if wanted else {}
        answer = self.s3.call("GET", f"/{PLAIN}/{name}", headers=headers)
        self.journal.note(began, time.time(), self.number, "get", name, str(answer.status) if answer.status >= 500 else "read")
        if answer.status >= 500:
            time.sleep(0.02)
        elif (answer.status == 404) != (wanted is None) or (answer.done and answer.body != data):
            self.journal.violation("read", name, f"under load: {answer.status} with {len(answer.body)} bytes, wanted {wanted}, {headers}")

    def listing(self):
        certain = {name: key.possible[0] for name, key in self.ledger.keys.items() if key.certain}
        doubted = {name for name, key in self.ledger.keys.items() if not key.certain}
        answer = self.s3.call("GET", f"/{PLAIN}", {"list-type": "2", "prefix": self.ledger.prefix, "max-keys": 300})
        if not answer.done:
            return
        found = {entry.findtext("Key"): int(entry.findtext("Size")) for entry in answer.xml().iter("Contents")}
        last = max(found, default="") if len(found) == 300 else "~"
        wanted = {name: body.size for name, body in certain.items() if body and name <= last}
        seen = {name: size for name, size in found.items() if name not in doubted}
        if wanted != seen:
            differs = {name: (wanted.get(name), seen.get(name)) for name in wanted.keys() | seen.keys() if wanted.get(name) != seen.get(name)}
            self.journal.violation("read", self.ledger.prefix, f"listing under load: (ledger, found) {differs}")

    def bucket(self):
        certain = [name for name, possible in self.ledger.buckets.items() if len(possible) == 1]
        if not certain or (self.random.random() < 0.3 and len(self.ledger.buckets) < 40):
            name = f"b{self.number}-{len(self.ledger.buckets)}"
            self.ledger.buckets[name] = [None]
        else:
            name = self.random.choice(certain)
        was = self.ledger.buckets[name][0]
        if was is None:
            self.set_bucket("bucket-create", name, (), lambda: self.s3.call("PUT", f"/{name}"))
        elif self.random.random() < 0.2:
            self.set_bucket("bucket-delete", name, None, lambda: self.s3.call("DELETE", f"/{name}"))
        else:
            kind = self.random.choice(["cors", "policy", "tagging"])
            documents, value = dict(was), str(self.random.randrange(10**9))
            if documents.pop(kind, None) and self.random.random() < 0.3:
                call = lambda: self.s3.call("DELETE", f"/{name}", {kind: ""})
            else:
                documents[kind] = value
                call = lambda: self.s3.call("PUT", f"/{name}", {kind: ""}, *document(kind, name, value))
            self.set_bucket(f"bucket-{kind}", name, tuple(sorted(documents.items())), call)

    def set_bucket(self, operation, name, state, call):
        possible = self.ledger.buckets
        self.change(
            operation, name, call, lambda answer: possible.__setitem__(name, [state]), lambda: possible[name].append(state), repr(state)
        )


def document(kind, bucket, value):
    """Headers and body of a request that sets a bucket's document."""
    if kind == "tagging":
        body = f"<Tagging><TagSet><Tag><Key>at</Key><Value>{value}</Value></Tag></TagSet></Tagging>"
    elif kind == "cors":
        rule = f"<AllowedMethod>GET</AllowedMethod><AllowedOrigin>https://{value}.test</AllowedOrigin>"
        body = f"<CORSConfiguration><CORSRule>{rule}</CORSRule></CORSConfiguration>"
    else:
        statement = {"Sid": f"s{value}", "Effect": "Deny", "Principal": "*", "Action": "s3:GetObjectTorrent", "Resource": f"arn:aws:s3:::{bucket}/*"}
        body = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    data = body.encode()
    return {"content-md5": base64.b64encode(hashlib.md5(data).digest()).decode()}, data


class Load:
    """Several clients at once, and their ledgers from round to round."""

    def __init__(self, stores, journal, clients, seed, **settings):
        self.stores, self.journal, self.settings = stores, journal, settings
        self.random = random.Random(seed)
        self.ledgers = [Ledger(f"c{number}/") for number in range(clients)]
        self.clients = []

    def start(self, **settings):
        self.stop = threading.Event()
        self.clients = [
            Client(number, ledger, self.stores, self.journal, self.random.random(), self.stop, **(self.settings | settings))
            for number, ledger in enumerate(self.ledgers)
        ]
        for client in self.clients:
            client.start()

    def end(self, seconds=40):
        self.stop.set()
        for client in self.clients:
            client.join(seconds)
            if client.is_alive() or client.error:
                raise RuntimeError(f"client {client.number} hangs or failed: {client.error}")
