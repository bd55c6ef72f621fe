"""What tenants have before anything is measured: buckets whose documents are at their bounds, a user with as many policies as
there can be, listings of very many keys."""

import base64
import concurrent.futures
import hashlib
import re
import socket
import threading
import time
import urllib.parse

import documents
from client import Connection, Key, Request, query_of, quote

THREADS = 16
DELETES = 1_000
# A user is in ten groups, and they and it have twenty managed policies each.
GROUPS = 10
ATTACHED = 20
PART_BYTES = 5 << 20
COPIES = 4
START_SECONDS_MAX = 60


class World:
    """A tenant's account, and what it has made."""

    def __init__(self, address, account, sizes):
        self.sizes = sizes
        self.id, self.canonical_id = account["id"], account["canonical_id"]
        self.root = Key(account["keys"][0]["access_key"], account["keys"][0]["secret_key"])
        self.pool = concurrent.futures.ThreadPoolExecutor(THREADS)
        self.long_key = "a" * 1_024
        self.reach(address)

    def reach(self, address):
        """From now on the server is there."""
        self.address, self.connection = address, Connection(address)
        # Accounts of the file are made after the start.
        request, end = Request("GET", "/", key=self.root), time.monotonic() + START_SECONDS_MAX
        while self.connection.send(request).status != 200:
            assert time.monotonic() < end, "the account is not there"
            time.sleep(0.1)

    def ask(self, method, path, query="", headers=(), body=b"", key=None, service="s3", connection=None):
        request = Request(method, path, query, tuple(headers), body, key or self.root, service)
        answer = (connection or self.connection).send(request)
        assert answer.status < 300, (method, path, query[:80], answer.status, answer.body[:600])
        return answer

    def iam(self, action, **parameters):
        return self.ask("POST", "/", body=form(action, "2010-05-08", parameters), headers=FORM, service="iam")

    def sts(self, action, key, **parameters):
        return self.ask("POST", "/", body=form(action, "2011-06-15", parameters), headers=FORM, service="sts", key=key)

    def bucket(self, name, **headers):
        headers = [(header.replace("_", "-"), value) for header, value in headers.items()]
        self.ask("PUT", f"/{name}", headers=[("x-amz-object-ownership", "ObjectWriter"), *headers])
        return name

    def configure(self, bucket, kind, body, **more):
        self.ask("PUT", f"/{bucket}", query_of(**{kind: "", **more}), headers=[digest(body)], body=body)

    def every(self, make, count):
        """Runs these requests, some at a time."""
        local = threading.local()

        def one(number):
            if not hasattr(local, "connection"):
                local.connection = Connection(self.address)
            return make(number, local.connection)
        return list(self.pool.map(one, range(count)))

    # Users and policies

    def worst_user(self):
        """A user whose every decision asks 231 policies, and its key; a session of it that is limited by one more."""
        self.iam("CreateUser", UserName="worst")
        arns = []
        for number in range(ATTACHED * (GROUPS + 1)):
            answer = self.iam("CreatePolicy", PolicyName=f"slow-{number}", PolicyDocument=documents.slow_identity_policy())
            arns.append(tag("Arn", answer.body))
        for group in range(GROUPS):
            self.iam("CreateGroup", GroupName=f"group-{group}")
            for arn in arns[group * ATTACHED:(group + 1) * ATTACHED]:
                self.iam("AttachGroupPolicy", GroupName=f"group-{group}", PolicyArn=arn)
            self.iam("PutGroupPolicy", GroupName=f"group-{group}", PolicyName="own",
                     PolicyDocument=documents.slow_identity_policy(5_000))
            self.iam("AddUserToGroup", GroupName=f"group-{group}", UserName="worst")
        for arn in arns[-ATTACHED:]:
            self.iam("AttachUserPolicy", UserName="worst", PolicyArn=arn)
        self.iam("PutUserPermissionsBoundary", UserName="worst", PermissionsBoundary=arns[0])
        self.arns = arns
        self.user = self.key_of("worst")
        answer = self.sts("GetFederationToken", self.user, Name="limited", Policy=documents.slow_identity_policy(2_000))
        self.session = Key(tag("AccessKeyId", answer.body), tag("SecretAccessKey", answer.body),
                           tag("SessionToken", answer.body))

    def key_of(self, user):
        answer = self.iam("CreateAccessKey", UserName=user)
        return Key(tag("AccessKeyId", answer.body), tag("SecretAccessKey", answer.body))

    def padded_user(self):
        """One whose policies have five versions each, with as much white space as is taken."""
        self.iam("CreateUser", UserName="padded")
        document = documents.padded(documents.policy([{"Effect": "Allow", "Action": "*", "Resource": "*"}]), 120 << 10)
        def policy(number, connection):
            name = f"padded-{number}"
            body = form("CreatePolicy", "2010-05-08", {"PolicyName": name, "PolicyDocument": document})
            answer = self.ask("POST", "/", body=body, headers=FORM, service="iam", connection=connection)
            arn = tag("Arn", answer.body)
            for _ in range(4):
                body = form("CreatePolicyVersion", "2010-05-08", {"PolicyArn": arn, "PolicyDocument": document})
                self.ask("POST", "/", body=body, headers=FORM, service="iam", connection=connection)
            return arn
        arns = self.every(policy, ATTACHED * (GROUPS + 1))
        for group in range(GROUPS):
            self.iam("CreateGroup", GroupName=f"padded-{group}")
            for arn in arns[group * ATTACHED:(group + 1) * ATTACHED]:
                self.iam("AttachGroupPolicy", GroupName=f"padded-{group}", PolicyArn=arn)
            self.iam("AddUserToGroup", GroupName=f"padded-{group}", UserName="padded")
        for arn in arns[-ATTACHED:]:
            self.iam("AttachUserPolicy", UserName="padded", PolicyArn=arn)
        self.padded = self.key_of("padded")

    def wildcards_user(self):
        """One whose policies are looked at for every object of a request. Its groups share them."""
        self.iam("CreateUser", UserName="wildcards")
        arns = []
        for number in range(ATTACHED):
            document = documents.wildcards_identity_policy(number)
            answer = self.iam("CreatePolicy", PolicyName=f"wildcards-{number}", PolicyDocument=document)
            arns.append(tag("Arn", answer.body))
        for group in range(GROUPS):
            self.iam("CreateGroup", GroupName=f"wildcards-{group}")
            for arn in arns:
                self.iam("AttachGroupPolicy", GroupName=f"wildcards-{group}", PolicyArn=arn)
            self.iam("AddUserToGroup", GroupName=f"wildcards-{group}", UserName="wildcards")
        self.wildcards = self.key_of("wildcards")

    def many_users(self):
        """Each with a policy of its own, in white space as far as it is taken."""
        document = documents.padded(documents.policy([{"Effect": "Allow", "Action": "*", "Resource": "*"}]), 120 << 10)
        self.iam("CreateGroup", GroupName="many")
        def user(number, connection):
            name = f"many-{number:05}"
            for action, parameters in [("CreateUser", {"UserName": name}),
                                       ("PutUserPolicy", {"UserName": name, "PolicyName": "own", "PolicyDocument": document}),
                                       ("AddUserToGroup", {"UserName": name, "GroupName": "many"})]:
                for _ in range(40):
                    request = Request("POST", "/", "", FORM, form(action, "2010-05-08", parameters), self.root, "iam")
                    if connection.send(request).status < 300:
                        break
        self.every(user, self.sizes.users)

    # Buckets

    def worst_bucket(self):
        """All its documents are at their bounds."""
        name = self.bucket("worst")
        self.put(name, self.long_key, b"x" * 1000, tagged=True)
        self.ask("PUT", f"/{name}", "versioning=", body=versioning())
        self.configure(name, "cors", documents.cors())
        self.configure(name, "lifecycle", documents.lifecycle())
        self.configure(name, "website", documents.website())
        self.configure(name, "tagging", documents.tags(50))
        self.configure(name, "acl", documents.grants(self.canonical_id))
        self.ask("PUT", f"/{name}/{self.long_key}", "acl=", body=documents.grants(self.canonical_id),
                 headers=[digest(documents.grants(self.canonical_id))])
        self.configure(name, "policy", documents.slow_bucket_policy(name).encode())

    def put(self, bucket, key, body=b"", tagged=False, headers=(), connection=None):
        headers = list(headers)
        if tagged:
            headers.append(("x-amz-tagging", "&".join(f"{n:03}{'k' * 100}={'v' * 200}" for n in range(10))))
        return self.ask("PUT", f"/{bucket}/{quote(key)}", headers=headers, body=body, connection=connection)

    def fill(self, bucket, keys):
        """Empty objects, many to a packet; the bucket takes them from anybody."""
        self.configure(bucket, "policy", documents.policy([
            {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}]).encode())
        parts = [keys[number::THREADS] for number in range(THREADS)]
        list(self.pool.map(lambda part: pour(self.address, bucket, part), parts))

    def delete_all(self, bucket, keys):
        lists = [keys[at:at + DELETES] for at in range(0, len(keys), DELETES)]
        def one(number, connection):
            body = documents.deletes(lists[number])
            self.ask("POST", f"/{bucket}", "delete=", [digest(body)], body, connection=connection)
        self.every(one, len(lists))

    def listings(self):
        """Keys that each hide behind a prefix of their own, keys that are deleted, delete markers, uploads."""
        count = self.sizes.keys
        self.wide_keys = [f"{number:06}/{'k' * 64}" for number in range(count)]
        self.fill(self.bucket("wide"), self.wide_keys)
        self.fill(self.bucket("deleted"), self.wide_keys)
        self.delete_all("deleted", self.wide_keys)
        self.ask("PUT", f"/{self.bucket('markers')}", "versioning=", body=versioning())
        self.delete_all("markers", self.wide_keys)
        # Names of the greatest length, which take three times as much where they are encoded.
        self.fill(self.bucket("names"), [f"{number:04}" + "ü" * 510 for number in range(1_000)])
        # Objects of which a listing shows little: headers, metadata and tags at their bounds.
        self.bucket("large")
        headers = [("cache-control", "c" * 4_000), ("content-disposition", "d" * 4_000), ("x-amz-meta-m", "m" * 2_000)]
        self.every(lambda number, connection: self.put(
            "large", f"{number:06}", tagged=True, headers=headers, connection=connection), min(count, 1_000))
        self.ask("PUT", f"/{self.bucket('versions')}", "versioning=", body=versioning())
        self.fill("versions", ["key"] * (count // 10))
        # Versions to delete, the newest first.
        self.ask("PUT", f"/{self.bucket('pruned')}", "versioning=", body=versioning())
        self.fill("pruned", ["key"] * (count // 10))
        self.pruned = self.versions_of("pruned")
        self.bucket("uploads")
        self.every(lambda number, connection: self.ask(
            "POST", f"/uploads/{number:06}/{'k' * 900}", "uploads=", connection=connection), self.sizes.uploads)

    def versions_of(self, bucket):
        """The ids of all versions of a bucket's only key."""
        found, more = [], {}
        while True:
            page = self.ask("GET", f"/{bucket}", query_of(versions="", **more)).body.decode()
            ids = re.findall("<VersionId>(.*?)</VersionId>", page)
            found += ids
            if "<IsTruncated>true</IsTruncated>" not in page:
                return found
            more = {"key_marker": "key", "version_id_marker": ids[-1]}

    def parts(self):
        """An upload of as many parts as there can be, an object that grew by as many, and copies of it from before its last
        part, the most with which an object can be appended to."""
        self.bucket("parts")
        self.put("parts", "part", bytes(PART_BYTES))
        self.upload = tag("UploadId", self.ask("POST", "/parts/pending", "uploads=").body)

        def part(number, connection):
            query = query_of(partNumber=number + 1, uploadId=self.upload)
            return self.ask("PUT", "/parts/pending", query, body=b"x", connection=connection).headers["etag"]
        self.parts_etags = self.every(part, self.sizes.parts)
        for number in range(self.sizes.parts):
            if number == self.sizes.parts - 1:
                for copy in range(COPIES):
                    self.ask("PUT", f"/parts/copy-{copy}", headers=[("x-amz-copy-source", "/parts/object")])
            headers = [("x-amz-write-offset-bytes", str(number))] if number else []
            self.ask("PUT", "/parts/object", headers=headers, body=b"x")
        self.copied_bytes = [self.sizes.parts - 1] * COPIES


FORM = (("content-type", "application/x-www-form-urlencoded"),)


def form(action, version, parameters):
    return urllib.parse.urlencode({"Action": action, "Version": version, **parameters}).encode()


def tag(name, body):
    return re.search(f"<{name}>(.*?)</{name}>", body.decode())[1]


def digest(body):
    return "content-md5", base64.b64encode(hashlib.md5(body).digest()).decode()


def versioning(status="Enabled"):
    return f"<VersioningConfiguration {documents.S3_XML}><Status>{status}</Status></VersioningConfiguration>".encode()


def pour(address, bucket, keys, at_once=64):
    """Puts empty objects that nobody signed, without waiting for each answer."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=60) as stream:
        answers = stream.makefile("rb")
        for start in range(0, len(keys), at_once):
            some = keys[start:start + at_once]
            stream.sendall(b"".join(
                f"PUT /{bucket}/{urllib.parse.quote(key)} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n".encode()
                for key in some))
            for _ in some:
                status = answers.readline()
                assert b" 200 " in status, status
                while answers.readline() != b"\r\n":
                    pass
