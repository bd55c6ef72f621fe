"""What the boto3 scripts share: clients, a runner, and the ways to ask for something to fail.

A script defines functions whose names begin with `test_` and ends with `run(globals())`. Each test takes a client and the
name of a bucket that is made for it and emptied after it. The environment is that of run.py: S3_ENDPOINT,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, BUCKET.
"""

import http.client
import os
import sys
import traceback
import urllib.parse

try:
    import boto3
    import botocore.auth
    import botocore.awsrequest
    import botocore.config
    import botocore.credentials
    import botocore.exceptions
except ImportError:
    sys.exit(77)

ENDPOINT = os.environ["S3_ENDPOINT"]
REGION = os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
ACCESS_KEY = os.environ["AWS_ACCESS_KEY_ID"]
SECRET_KEY = os.environ["AWS_SECRET_ACCESS_KEY"]
PART = 5 << 20


def client(**settings):
    settings.setdefault("retries", {"max_attempts": 0})
    config = botocore.config.Config(s3={"addressing_style": "path"}, **settings)
    return boto3.client("s3", endpoint_url=ENDPOINT, region_name=REGION, config=config,
                        aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY)


def refused(code, status, call, *arguments, **named):
    """The error of a call that must fail so. A HEAD has no body, so its code is its status."""
    try:
        answer = call(*arguments, **named)
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert found in [(code, status), (str(status), status)], f"{found} and not {(code, status)}"
        return error.response
    raise AssertionError(f"not refused with {code}: {answer}")


def content(length, seed=1):
    """Bytes without a short period."""
    import random
    return random.Random(seed).randbytes(length)


def signed(method, path, headers=None, query="", body=b"", payload=None):
    """The headers of a request that is signed as given, whatever its body then is. `payload` is x-amz-content-sha256."""
    url = f"{ENDPOINT}{path}" + (f"?{query}" if query else "")
    request = botocore.awsrequest.AWSRequest(method=method, url=url, headers=dict(headers or {}), data=body)
    if payload is not None:
        request.headers["x-amz-content-sha256"] = payload
        request.context["payload_signing_enabled"] = False
    auth = Signer(botocore.credentials.Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION)
    auth.fixed_payload = payload
    auth.add_auth(request)
    return request


class Signer(botocore.auth.S3SigV4Auth):
    """SigV4 with a payload hash of one's own choice."""
    fixed_payload = None

    def payload(self, request):
        return self.fixed_payload or super().payload(request)


def send(request, body=b"", length=None):
    """Sends a signed request byte by byte as it is; status, headers, body."""
    where = urllib.parse.urlsplit(request.url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    connection.putrequest(request.method, where.path + (f"?{where.query}" if where.query else ""),
                          skip_accept_encoding=True)
    for name, value in request.headers.items():
        if name.lower() not in ("content-length", "host"):
            connection.putheader(name, value if isinstance(value, str) else value.decode())
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


def raw(method, path, body=b"", **named):
    length = named.pop("length", None)
    return send(signed(method, path, body=body, **named), body, length)


def empty(s3, bucket):
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
        if keys:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
    s3.delete_bucket(Bucket=bucket)


def run(names):
    tests = [(name, test) for name, test in names.items() if name.startswith("test_")]
    wanted = sys.argv[1:]
    failed = 0
    s3 = client()
    for number, (name, test) in enumerate(tests):
        if wanted and not any(word in name for word in wanted):
            continue
        bucket = f"{os.environ['BUCKET'][:50]}-{number}"
        s3.create_bucket(Bucket=bucket)
        try:
            test(s3, bucket)
            print(f"{name}: passed")
        except Exception:  # Every failure is told, and the next test runs.
            failed += 1
            print(f"{name}: FAILED\n{traceback.format_exc()}")
        finally:
            empty(s3, bucket)
    sys.exit(1 if failed else 0)
