"""Access logs of buckets: their configuration, and the lines that come of requests.

Logs are written when there are many lines, when they are minutes old, or when the server stops; so the tests of what
they say start and stop a server of their own.
"""

import contextlib
import datetime
import os
import pathlib
import re
import signal
import urllib.parse
import urllib.request

import _support
import run as runner
from _support import ALT, WORK, anonymous, another, client, covers, denied, refused, run, with_acls

FIELDS = ("bucket_owner", "bucket", "time", "remote_ip", "requester", "request_id", "operation", "key", "request_uri",
          "status",
          "error_code", "bytes_sent", "object_size", "total_time", "turn_around_time", "referer", "user_agent", "version_id",
          "host_id", "signature_version", "cipher_suite", "authentication_type", "host_header", "tls_version",
          "access_point_arn", "acl_required")


def configure(s3, bucket, **enabled):
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": enabled} if enabled else {})


def found(s3, bucket):
    return s3.get_bucket_logging(Bucket=bucket).get("LoggingEnabled")


def fields(line):
    """A line's fields by name. One begins with a bracket or a quote, or ends at a space."""
    words = re.findall(r'\[[^\]]*\]|"[^"]*"|\S+', line)
    assert len(words) == len(FIELDS), (len(words), line)
    return dict(zip(FIELDS, words))


@covers("PutBucketLogging", "GetBucketLogging")
def test_a_configuration_comes_back_is_replaced_and_goes(s3, bucket):
    target = another(s3, bucket, "logs")
    assert found(s3, bucket) is None
    for enabled in [{"TargetBucket": target, "TargetPrefix": "logs/"}, {"TargetBucket": target, "TargetPrefix": ""},
                    {"TargetBucket": target, "TargetPrefix": "p/", "TargetObjectKeyFormat": {"SimplePrefix": {}}},
                    {"TargetBucket": target, "TargetPrefix": "p/",
                     "TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}},
                    {"TargetBucket": bucket, "TargetPrefix": "itself/"}]:
        configure(s3, bucket, **enabled)
        assert found(s3, bucket) == enabled
    configure(s3, bucket)
    assert found(s3, bucket) is None


@covers("PutBucketLogging", "GetBucketLogging")
def test_grants_of_a_configuration(s3, bucket):
    target = with_acls(s3, bucket, "logs")
    grants = [{"Grantee": {"Type": "CanonicalUser", "ID": ALT.canonical_id}, "Permission": "READ"}]
    configure(s3, bucket, TargetBucket=target, TargetPrefix="", TargetGrants=grants)
    [grant] = found(s3, bucket)["TargetGrants"]
    assert (grant["Grantee"]["ID"], grant["Permission"]) == (ALT.canonical_id, "READ")
    public = [{"Grantee": {"Type": "Group", "URI": _support.ALL_USERS}, "Permission": "READ"}]
    configure(s3, bucket, TargetBucket=target, TargetPrefix="", TargetGrants=public)
    s3.put_public_access_block(Bucket=target, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    refused("AccessDenied", 403, configure, s3, bucket, TargetBucket=target, TargetPrefix="", TargetGrants=public)
    configure(s3, bucket, TargetBucket=target, TargetPrefix="", TargetGrants=grants)
    s3.put_bucket_ownership_controls(
        Bucket=target, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    refused("AccessControlListNotSupported", 400, configure, s3, bucket, TargetBucket=target, TargetPrefix="",
            TargetGrants=grants)


@covers("PutBucketLogging")
def test_configurations_that_make_no_sense(s3, bucket):
    target = another(s3, bucket, "logs")
    refused("InvalidTargetBucketForLogging", 400, configure, s3, bucket, TargetBucket=bucket + "-absent", TargetPrefix="")
    refused("MalformedXML", 400, configure, s3, bucket, TargetBucket=target, TargetPrefix="",
            TargetGrants=[{"Grantee": {"Type": "CanonicalUser", "ID": ALT.canonical_id}, "Permission": "EAT"}])
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": ALT.canonical_id}, "Permission": "READ"}
    refused("MalformedACLError", 400, configure, s3, bucket, TargetBucket=target, TargetPrefix="", TargetGrants=[grant] * 101)
    refused("InvalidArgument", 400, configure, s3, bucket, TargetBucket=target, TargetPrefix="",
            TargetGrants=[{"Grantee": {"Type": "Group", "URI": "http://" + "g" * 50_000}, "Permission": "READ"}])
    refused("MalformedXML", 400, configure, s3, bucket, TargetBucket=target, TargetPrefix="",
            TargetObjectKeyFormat={"SimplePrefix": {}, "PartitionedPrefix": {"PartitionDateSource": "EventTime"}})
    refused("NoSuchBucket", 404, configure, s3, bucket + "-absent", TargetBucket=target, TargetPrefix="")
    refused("NoSuchBucket", 404, found, s3, bucket + "-absent")
    assert found(s3, bucket) is None


@covers("PutBucketLogging")
def test_logs_go_to_buckets_of_the_same_account(s3, bucket):
    other, name = client(ALT), f"{bucket}-alt"
    other.create_bucket(Bucket=name)
    try:
        refused("InvalidTargetBucketForLogging", 400, configure, s3, bucket, TargetBucket=name, TargetPrefix="")
        denied(found, other, bucket)
        denied(configure, other, bucket, TargetBucket=name, TargetPrefix="")
    finally:
        other.delete_bucket(Bucket=name)


@contextlib.contextmanager
def server(root):
    """Clients of a server on a directory, which is stopped afterwards."""
    process, address, _ = runner.start(os.environ["BINARY"], root, 1)
    before, _support.ENDPOINT = _support.ENDPOINT, f"http://{address}"
    try:
        yield client()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=runner.STOP_SECONDS_MAX) == 0 and not runner.panic_in(root)
    finally:
        process.kill()
        _support.ENDPOINT = before


def directory(name):
    root = pathlib.Path(WORK) / name
    root.mkdir()
    return root


def logs(s3, target, prefix):
    """The keys of log objects, and the fields of their lines."""
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=target, Prefix=prefix).get("Contents", [])]
    texts = [s3.get_object(Bucket=target, Key=key)["Body"].read().decode() for key in keys]
    return keys, [fields(line) for text in texts for line in text.splitlines()]


@covers("PutBucketLogging")
def test_each_request_becomes_a_line(s3, bucket):
    root = directory("lines")
    with server(root) as own:
        for name in ["source", "target"]:
            own.create_bucket(Bucket=name)
        configure(own, "source", TargetBucket="target", TargetPrefix="logs/")
        own.put_object(Bucket="source", Key="a b/ü", Body=b"12345")
        request_id = own.get_object(Bucket="source", Key="a b/ü", Range="bytes=1-2")["ResponseMetadata"]["RequestId"]
        refused("NoSuchKey", 404, own.get_object, Bucket="source", Key="absent")
        own.list_objects_v2(Bucket="source", Prefix="a")
        denied(anonymous().get_object, Bucket="source", Key="a b/ü")
        signer = client(signature_version="s3v4")
        url = signer.generate_presigned_url("get_object", Params={"Bucket": "source", "Key": "a b/ü"})
        request = urllib.request.Request(url, headers={"Referer": 'http://example.com/"a b"', "User-Agent": "robot 1"})
        assert urllib.request.urlopen(request).read() == b"12345"
        own.delete_object(Bucket="source", Key="a b/ü")
        owner = own.list_buckets()["Owner"]["ID"]
    with server(root) as own:
        keys, lines = logs(own, "target", "logs/")
        assert keys and all(re.fullmatch(r"logs/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}", key) for key in keys), keys
    operations = [line["operation"] for line in lines]
    for operation, count in [("REST.PUT.OBJECT", 1), ("REST.GET.OBJECT", 4), ("REST.GET.BUCKET", 1),
                             ("REST.DELETE.OBJECT", 1)]:
        assert operations.count(operation) == count, (operation, operations)
    for line in lines:
        assert (line["bucket_owner"], line["bucket"], line["remote_ip"]) == (owner, "source", "127.0.0.1")
        assert line["request_id"] != "-" and re.fullmatch(r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\]", line["time"])
        assert line["total_time"].isdigit()
    [read] = [line for line in lines if line["request_id"] == request_id]
    assert urllib.parse.unquote(urllib.parse.unquote(read["key"])) == "a b/ü" and read["status"] == "206"
    assert (read["bytes_sent"], read["object_size"], read["error_code"]) == ("2", "5", "-")
    assert read["requester"] != "-" and (read["signature_version"], read["authentication_type"]) == ("SigV4", "AuthHeader")
    assert read["request_uri"].startswith('"GET /source/') and read["request_uri"].endswith(' HTTP/1.1"')
    [absent] = [line for line in lines if line["error_code"] == "NoSuchKey"]
    assert absent["status"] == "404"
    [unknown] = [line for line in lines if line["error_code"] == "AccessDenied"]
    assert (unknown["status"], unknown["requester"]) == ("403", "-")
    [by_url] = [line for line in lines if "robot 1" in line["user_agent"]]
    assert by_url["authentication_type"] == "QueryString" and "example.com" in by_url["referer"]


@covers("PutBucketLogging")
def test_keys_of_logs_may_be_partitioned_by_date(s3, bucket):
    root = directory("partitions")
    with server(root) as own:
        for name in ["source", "target"]:
            own.create_bucket(Bucket=name)
        partitioned = {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}
        configure(own, "source", TargetBucket="target", TargetPrefix="p/", TargetObjectKeyFormat=partitioned)
        own.put_object(Bucket="source", Key="k", Body=b"x")
        account = _support.account_id()
    day = datetime.datetime.now(datetime.timezone.utc)
    with server(root) as own:
        keys, lines = logs(own, "target", "p/")
        pattern = rf"p/{account}/us-east-1/source/\d{{4}}/\d\d/\d\d/\d{{4}}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{{16}}"
        assert keys and all(re.fullmatch(pattern, key) for key in keys), keys
        assert keys[0].split("/")[4:7] in [f"{one:%Y/%m/%d}".split("/") for one in (day, day - datetime.timedelta(hours=1))]
        assert "REST.PUT.OBJECT" in [line["operation"] for line in lines]


@covers("PutBucketLogging")
def test_what_is_not_logged_leaves_no_line(s3, bucket):
    root = directory("silence")
    with server(root) as own:
        for name in ["source", "other", "target"]:
            own.create_bucket(Bucket=name)
        own.put_object(Bucket="source", Key="before", Body=b"x")
        configure(own, "source", TargetBucket="target", TargetPrefix="")
        own.put_object(Bucket="source", Key="during", Body=b"x")
        own.put_object(Bucket="other", Key="elsewhere", Body=b"x")
        configure(own, "source")
        own.put_object(Bucket="source", Key="after", Body=b"x")
    with server(root) as own:
        _, lines = logs(own, "target", "")
    assert {line["key"] for line in lines if line["operation"] == "REST.PUT.OBJECT"} == {"during"}
    assert {line["bucket"] for line in lines} == {"source"}


run(globals())
