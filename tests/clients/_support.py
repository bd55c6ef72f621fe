"""What the boto3 scripts share: clients, a runner, and the ways to ask for something to fail.

A script defines functions whose names begin with `test_` and ends with `run(globals())`. Each test takes a client and the
name of a bucket that is made for it and emptied after it, as are those that it makes with `another`. `@covers` says which
operations of S3 a test shows to work (others by their service: "iam.CreateUser"). The environment is that of run.py.
A script whose server needs files writes them in a function `prepare()`.
"""

import contextlib
import datetime
import http.client
import json
import os
import socket
import ssl
import sys
import time
import traceback
import typing
import urllib.parse

try:
    import boto3
    import botocore
    import botocore.auth
    import botocore.awsrequest
    import botocore.config
    import botocore.credentials
    import botocore.exceptions
except ImportError:
    sys.exit(77)

ENDPOINT = os.environ.get("S3_ENDPOINT", "")
ADDRESSING = os.environ.get("S3_ADDRESSING", "path")
DOMAIN = os.environ.get("S3_DOMAIN")
REGION = os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
ACCESS_KEY = os.environ["AWS_ACCESS_KEY_ID"]
SECRET_KEY = os.environ["AWS_SECRET_ACCESS_KEY"]
WORK = os.environ.get("WORK", ".")
PART = 5 << 20
# What is to happen by itself has happened after so many seconds.
WAIT_SECONDS_MAX = 60
ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"


def resolve_here(domain, resolve=socket.getaddrinfo):
    """Lets this process find the domain and what is below it where the server is."""
    def resolved(host, *arguments, **named):
        name = host.decode() if isinstance(host, bytes) else host
        ours = name is not None and (name == domain or name.endswith(f".{domain}"))
        return resolve("127.0.0.1" if ours else host, *arguments, **named)
    socket.getaddrinfo = resolved


if DOMAIN:
    resolve_here(DOMAIN)


class Account(typing.NamedTuple):
    id: str
    name: str
    email: str
    canonical_id: str
    access_key: str
    secret_key: str

    @property
    def arn(self):
        return f"arn:aws:iam::{self.id}:root"


def account(prefix):
    """One of those beside the root account."""
    return Account(*(os.environ.get(f"{prefix}_{field.upper()}", "") for field in Account._fields))


ALT, TENANT = account("ALT"), account("TENANT")


def service(name, keys=None, token=None, **settings):
    """A client of one AWS API: as the root account, another one, or with keys of one's own (access key, secret key)."""
    if isinstance(keys, Account):
        keys = keys.access_key, keys.secret_key
    access_key, secret_key = keys or (ACCESS_KEY, SECRET_KEY)
    settings.setdefault("retries", {"max_attempts": 0})
    if name == "s3":
        settings["s3"] = {"addressing_style": ADDRESSING, **settings.get("s3", {})}
    region = settings.pop("region_name", REGION)
    return boto3.client(name, endpoint_url=ENDPOINT, region_name=region, config=botocore.config.Config(**settings),
                        aws_access_key_id=access_key, aws_secret_access_key=secret_key, aws_session_token=token)


def client(keys=None, token=None, **settings):
    return service("s3", keys, token, **settings)


def anonymous():
    return client(signature_version=botocore.UNSIGNED)


def iam(keys=None, token=None):
    return service("iam", keys, token)


def sts(keys=None, token=None):
    return service("sts", keys, token)


def account_id():
    """The root account's number."""
    return sts().get_caller_identity()["Account"]


def covers(*operations):
    def mark(test):
        test.operations = operations
        return test
    return mark


def refused(code, status, call, *arguments, **named):
    """The error of a call that must fail so; where AWS's own answers vary, with one of several codes or statuses. A HEAD
    has no body, so its code is its status."""
    codes = code if isinstance(code, tuple) else (code,)
    statuses = status if isinstance(status, tuple) else (status,)
    try:
        answer = call(*arguments, **named)
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert found[1] in statuses and found[0] in (*codes, str(found[1])), f"{found} and not {(code, status)}: {error}"
        return error.response
    raise AssertionError(f"not refused with {code}: {answer}")


def denied(call, *arguments, **named):
    return refused("AccessDenied", 403, call, *arguments, **named)


def status_of(answer):
    return answer["ResponseMetadata"]["HTTPStatusCode"]


def headers_of(answer):
    """Of an answer or of the error that `refused` returned; their names are in small letters."""
    return answer["ResponseMetadata"]["HTTPHeaders"]


def content(length, seed=1):
    """Bytes without a short period."""
    import random
    return random.Random(seed).randbytes(length)


def soon(seconds):
    """A time so many seconds from now, in whole seconds, as S3 takes it."""
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).replace(microsecond=0)


def pages(count_max=200):
    """For a walk through the pages of a listing, each of which says whether there is another: it must come to an end."""
    yield from range(count_max)
    raise AssertionError(f"a listing of more than {count_max} pages")


def until(condition, what, seconds=WAIT_SECONDS_MAX):
    """Waits for something that comes by itself; what the condition returned."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def signed(method, path, headers=None, query="", body=b"", payload=None, keys=None):
    """The headers of a request that is signed as given, whatever its body then is. `payload` is x-amz-content-sha256."""
    url = f"{ENDPOINT}{path}" + (f"?{query}" if query else "")
    request = botocore.awsrequest.AWSRequest(method=method, url=url, headers=dict(headers or {}), data=body)
    if payload is not None:
        request.headers["x-amz-content-sha256"] = payload
        request.context["payload_signing_enabled"] = False
    if isinstance(keys, Account):
        keys = keys.access_key, keys.secret_key
    auth = Signer(botocore.credentials.Credentials(*(keys or (ACCESS_KEY, SECRET_KEY))), "s3", REGION)
    auth.fixed_payload = payload
    auth.add_auth(request)
    return request


class Signer(botocore.auth.S3SigV4Auth):
    """SigV4 with a payload hash of one's own choice."""
    fixed_payload = None

    def payload(self, request):
        return self.fixed_payload or super().payload(request)


def trust():
    return ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])


def connect():
    where = urllib.parse.urlsplit(ENDPOINT)
    if where.scheme == "https":
        return http.client.HTTPSConnection(where.hostname, where.port, timeout=30, context=trust())
    return http.client.HTTPConnection(where.hostname, where.port, timeout=30)


def dial():
    """A connection for bytes of one's own."""
    where = urllib.parse.urlsplit(ENDPOINT)
    connection = socket.create_connection((where.hostname, where.port), timeout=30)
    return trust().wrap_socket(connection, server_hostname=where.hostname) if where.scheme == "https" else connection


def send(request, body=b"", length=None):
    """Sends a signed request byte by byte as it is; status, headers, body."""
    where = urllib.parse.urlsplit(request.url)
    path = where.path + (f"?{where.query}" if where.query else "")
    headers = [(name, value if isinstance(value, str) else value.decode()) for name, value in request.headers.items()
               if name.lower() not in ("content-length", "host")]
    return exchange(request.method, path, headers, body, length)


def exchange(method, path, headers=(), body=b"", length=None, host=None):
    connection = connect()
    connection.putrequest(method, path, skip_accept_encoding=True, skip_host=host is not None)
    if host is not None:
        connection.putheader("Host", host)
    for name, value in headers:
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body) if length is None else length))
    connection.endheaders()
    try:
        connection.send(body)
    except (BrokenPipeError, ConnectionResetError):
        pass  # The answer came before the body was taken.
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def slowly(request, body, meanwhile):
    """Sends a signed request whose body comes only after something else was done, and a while later; its answer."""
    connection = connect()
    where = urllib.parse.urlsplit(request.url)
    connection.putrequest(request.method, f"{where.path}?{where.query}", skip_accept_encoding=True)
    for name, value in request.headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    time.sleep(0.3)
    meanwhile()
    time.sleep(1.3)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.send(body)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def raw(method, path, body=b"", **named):
    length = named.pop("length", None)
    return send(signed(method, path, body=body, **named), body, length)


def fetch(method, path, headers=None, body=b"", host=None):
    """Asks without a signature, as browsers do; status, headers (in small letters), body."""
    status, found, answer = exchange(method, path, (headers or {}).items(), body, host=host)
    return status, {name.lower(): value for name, value in found.items()}, answer


def follow(url, method="GET", headers=None, body=b""):
    """As `fetch`, of a whole URL of this server."""
    where = urllib.parse.urlsplit(url)
    return fetch(method, where.path + (f"?{where.query}" if where.query else ""), headers, body, host=where.netloc)


def told(answer, status, code):
    """That a raw answer is this error."""
    assert (answer[0], f"<Code>{code}</Code>".encode() in answer[2]) == (status, True), answer


def policy(*statements):
    """A policy document; a statement that does not say what it does allows."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]})


def objects_of(bucket):
    return f"arn:aws:s3:::{bucket}/*"


def bucket_arn(bucket):
    return f"arn:aws:s3:::{bucket}"


def versioned(s3, bucket, status="Enabled"):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


MADE = []


def another(s3, bucket, suffix, **settings):
    """Makes a further bucket of this test."""
    name = f"{bucket}-{suffix}"
    s3.create_bucket(Bucket=name, **settings)
    MADE.append((s3, name))
    return name


def with_acls(s3, bucket, suffix="open", **settings):
    """A further bucket in which ACLs count and nothing blocks what is public."""
    name = another(s3, bucket, suffix, ObjectOwnership="ObjectWriter", **settings)
    s3.delete_public_access_block(Bucket=name)
    return name


def empty(s3, bucket):
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    if "Status" in s3.get_bucket_versioning(Bucket=bucket):
        empty_versioned(s3, bucket)
    else:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
            if keys:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
    s3.delete_bucket(Bucket=bucket)


def empty_versioned(s3, bucket):
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        entries = page.get("Versions", []) + page.get("DeleteMarkers", [])
        entries = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in entries]
        if not entries:
            continue
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": entries, "Quiet": True}, BypassGovernanceRetention=True)
        for error in answer.get("Errors", []):
            release(s3, Bucket=bucket, Key=error["Key"], VersionId=error["VersionId"])


def release(s3, **version):
    """Deletes a version that is locked: its legal hold is lifted, the end of its retention waited for."""
    s3.put_object_legal_hold(LegalHold={"Status": "OFF"}, **version)

    def gone():
        try:
            return s3.delete_object(BypassGovernanceRetention=True, **version)
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied", error
    until(gone, f"the end of a retention: {version}")


def clear(s3, bucket):
    """Empties the bucket of a test and those that it made beside it, whatever policies it left on them."""
    for owner, name in [*reversed(MADE), (s3, bucket)]:
        try:
            try:
                empty(owner, name)
            except botocore.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in ("AccessDenied", "BucketNotEmpty"):
                    raise
                owner.delete_bucket_policy(Bucket=name)
                empty(owner, name)
        except botocore.exceptions.ClientError as error:
            # A test may delete what it made.
            if error.response["Error"]["Code"] not in ("NoSuchBucket", "404"):
                raise
    MADE.clear()


def gap(why):
    """A test of what is not there yet, and said so in docs/gaps.md: it must fail for as long as that is said, by what it
    asserts or what it is refused."""
    def mark(test):
        test.gap = why
        return test
    return mark


def record(name, test, passed):
    script = os.path.basename(sys.argv[0]).removesuffix(".py")
    if "RESULTS" in os.environ:
        with open(os.environ["RESULTS"], "a") as file:
            for operation in getattr(test, "operations", ()):
                file.write(json.dumps({"operation": operation, "test": f"{script}.{name}", "passed": passed}) + "\n")


def shows(test, s3, bucket):
    """Whether a test passes; only one of a gap may fail."""
    try:
        test(s3, bucket)
    except (AssertionError, botocore.exceptions.ClientError):
        if not hasattr(test, "gap"):
            raise
        return False
    return True


def attempt(s3, bucket, name, test):
    """Whether a test passed and left its buckets such that they can be emptied; or failed, as is known of it."""
    known = getattr(test, "gap", None)
    try:
        s3.create_bucket(Bucket=bucket)
        try:
            is_there = shows(test, s3, bucket)
        finally:
            clear(s3, bucket)
    except Exception:  # Every failure is told, and the next test runs.
        print(f"{name}: FAILED\n{traceback.format_exc()}")
        return False
    finally:
        MADE.clear()
    if not is_there:
        print(f"{name}: not there yet ({known})")
        return True
    if known:
        print(f"{name}: FAILED\nit passes, and is said not to be there: {known}")
        return False
    print(f"{name}: passed")
    return True


def run(names):
    if sys.argv[1:] == ["--prepare"]:
        names["prepare"]()
        sys.exit(0)
    tests = [(name, test) for name, test in names.items() if name.startswith("test_")]
    wanted = sys.argv[1:]
    unknown = [word for word in wanted if not any(word in name for name, _ in tests)]
    if unknown:
        sys.exit(f"no test is called {', '.join(unknown)}")
    failed = 0
    s3 = client()
    for number, (name, test) in enumerate(tests):
        if wanted and not any(word in name for word in wanted):
            continue
        passed = attempt(s3, f"{os.environ['BUCKET'][:50]}-{number}", name, test)
        record(name, test, passed and not hasattr(test, "gap"))
        failed += not passed
    sys.exit(1 if failed else 0)
