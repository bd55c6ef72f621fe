# server: SHERD_WEBHOOK_HOOK_URL=http://127.0.0.1:{PORT}/events SHERD_WEBHOOK_HOOK_SECRET=of-these-tests
# server: SHERD_WEBHOOK_OTHER_URL=http://127.0.0.1:{PORT}/other SHERD_WEBHOOK_EVENTBRIDGE_URL=http://127.0.0.1:{PORT}/bridge
# server: SHERD_LIFECYCLE_DAY=2
"""Notifications: what happens in a bucket is told to webhooks, here one in this process, as AWS words it."""

import datetime
import hashlib
import hmac
import http.server
import json
import os
import re
import threading
import time
import urllib.parse

from _support import PART, account_id, client, content, covers, fetch, refused, run, until, versioned, with_acls

SECRET = "of-these-tests"
HOOK = "arn:sherd:sqs:::HOOK:webhook"
OTHER = "arn:sherd:sqs:::OTHER:webhook"


class Receiver:
    """Takes messages, or refuses them as long as it is told to."""

    def __init__(self, port):
        self.messages, self.refusals, self.lock = [], {}, threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.take(self.path, dict(self.headers.items()), body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path, headers, body):
        """The status of the answer."""
        headers = {name.lower(): value for name, value in headers.items()}
        with self.lock:
            left, status = self.refusals.get(path, (0, 0))
            if left:
                self.refusals[path] = left - 1, status
            self.messages.append((path, headers, body, status if left else 200))
            return status if left else 200

    def refuse(self, path, count, status=503):
        with self.lock:
            self.refusals[path] = count, status

    def taken(self, path="/events", answered=200):
        with self.lock:
            return [(headers, body) for where, headers, body, status in self.messages if where == path and status == answered]

    def records(self, bucket, path="/events"):
        """Of a bucket, in the order in which they came, each once."""
        found = {}
        for headers, body in self.taken(path):
            for record in json.loads(body).get("Records", []):
                if record["s3"]["bucket"]["name"] == bucket:
                    found.setdefault(headers.get("x-sherd-event-id"), record)
        return list(found.values())


RECEIVER = Receiver(int(os.environ["PORT"]))


def rule(*events, name="rule", arn=HOOK, prefix=None, suffix=None):
    given = {"prefix": prefix, "suffix": suffix}
    filters = [{"Name": kind, "Value": value} for kind, value in given.items() if value is not None]
    return {"Id": name, "QueueArn": arn, "Events": [f"s3:{event}" for event in events],
            **({"Filter": {"Key": {"FilterRules": filters}}} if filters else {})}


def configure(s3, bucket, *rules, **more):
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={**({"QueueConfigurations": list(rules)} if rules else {}), **more})


def configuration(s3, bucket):
    answer = s3.get_bucket_notification_configuration(Bucket=bucket)
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def told(bucket, count, path="/events"):
    """The records of a bucket, when so many have come."""
    return until(lambda: found if len(found := RECEIVER.records(bucket, path)) >= count else None, f"{count} events")


def names(records):
    return [record["eventName"] for record in records]


def put(s3, bucket, key="k", body=b"x", **named):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **named)


@covers("PutBucketNotificationConfiguration", "GetBucketNotificationConfiguration")
def test_a_configuration_comes_back_is_replaced_and_goes(s3, bucket):
    assert configuration(s3, bucket) == {}
    rules = [rule("ObjectCreated:*", name="all", prefix="images/", suffix=".jpg"), rule("ObjectRemoved:Delete", name="gone")]
    topic = {"Id": "topic", "TopicArn": "arn:aws:sns:us-east-1:111111111111:hook", "Events": ["s3:ObjectTagging:Put"]}
    function = {"Id": "function", "LambdaFunctionArn": "arn:aws:lambda:us-east-1:111111111111:function:other",
                "Events": ["s3:ObjectAcl:Put"]}
    configure(s3, bucket, *rules, TopicConfigurations=[topic], LambdaFunctionConfigurations=[function],
              EventBridgeConfiguration={})
    found = configuration(s3, bucket)
    assert found["TopicConfigurations"] == [topic] and found["LambdaFunctionConfigurations"] == [function]
    assert found["EventBridgeConfiguration"] == {}
    for one in found["QueueConfigurations"]:
        for part in one.get("Filter", {}).get("Key", {}).get("FilterRules", []):
            part["Name"] = part["Name"].lower()
    assert sorted(found["QueueConfigurations"], key=lambda one: one["Id"]) == rules
    configure(s3, bucket, {name: value for name, value in rules[1].items() if name != "Id"})
    assert configuration(s3, bucket)["QueueConfigurations"][0]["Id"]
    configure(s3, bucket)
    assert configuration(s3, bucket) == {}
    refused("NoSuchBucket", 404, configure, s3, bucket + "-absent")
    refused("NoSuchBucket", 404, configuration, s3, bucket + "-absent")


@covers("PutBucketNotificationConfiguration")
def test_configurations_that_make_no_sense(s3, bucket):
    created = "ObjectCreated:*"
    bad_filter = {**rule(created), "Filter": {"Key": {"FilterRules": [{"Name": "infix", "Value": "a"}]}}}
    twice = {**rule(created),
             "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "a"}, {"Name": "prefix", "Value": "b"}]}}}
    for wrong in [
        [rule(created, arn="arn:sherd:sqs:::NOBODY:webhook")], [rule(created, arn="nonsense")], [rule("ObjectEaten:*")],
        [rule(created, name="same"), rule("ObjectRemoved:*", name="same")], [rule(created, name="i" * 256)],
        [rule(created, name="a"), rule("ObjectCreated:Put", name="b", arn=OTHER)],
        [rule(created, name="a", prefix="a"), rule("ObjectCreated:Put", name="b", prefix="ab")],
        [rule(created, name="a", suffix=".jpg"), rule(created, name="b", suffix="g")], [bad_filter], [twice],
        [rule(created, prefix="p" * 1025)],
    ]:
        refused("InvalidArgument", 400, configure, s3, bucket, *wrong)
    refused(("MalformedXML", "InvalidArgument"), 400, configure, s3, bucket, rule())
    assert configuration(s3, bucket) == {}
    configure(s3, bucket, rule(created, name="a", prefix="a/"), rule(created, name="b", prefix="b/", arn=OTHER))
    assert len(configuration(s3, bucket)["QueueConfigurations"]) == 2


@covers("PutBucketNotificationConfiguration")
def test_a_destination_is_tried_when_it_is_configured(s3, bucket):
    configure(s3, bucket, rule("ObjectCreated:*"))
    sent = [(headers, json.loads(body)) for headers, body in RECEIVER.taken()]
    headers, message = next((headers, one) for headers, one in sent if one.get("Bucket") == bucket)
    assert (message["Service"], message["Event"]) == ("Amazon S3", "s3:TestEvent")
    assert message["RequestId"] and message["HostId"] and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
                                                                       message["Time"])
    RECEIVER.refuse("/other", 1, 500)
    refused("InvalidArgument", 400, configure, s3, bucket, rule("ObjectCreated:*", arn=OTHER))
    assert configuration(s3, bucket)["QueueConfigurations"][0]["QueueArn"] == HOOK
    unchecked = {"QueueConfigurations": [rule("ObjectRemoved:*", arn="arn:sherd:sqs:::NOBODY:webhook")]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=unchecked,
                                             SkipDestinationValidation=True)
    assert configuration(s3, bucket)["QueueConfigurations"][0]["QueueArn"].startswith("arn:sherd:sqs:::NOBODY")


@covers("PutBucketNotificationConfiguration", "PutObject", "CopyObject", "CompleteMultipartUpload", "PostObject")
def test_every_kind_of_write_is_told(s3, bucket):
    configure(s3, bucket, rule("ObjectCreated:*"))
    tag = put(s3, bucket, "put", b"12345")["ETag"]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/put")
    upload = dict(Bucket=bucket, Key="parts", UploadId=s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"])
    parts = [{"PartNumber": 1, "ETag": s3.upload_part(PartNumber=1, Body=content(PART), **upload)["ETag"]}]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    form = client(signature_version="s3v4").generate_presigned_post(bucket, "post")
    part = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    lines = "".join(part.format(name, value) for name, value in form["fields"].items())
    lines += '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--b--\r\n'
    assert fetch("POST", f"/{bucket}", {"Content-Type": "multipart/form-data; boundary=b"}, lines.encode())[0] == 204
    found = {record["s3"]["object"]["key"]: record for record in told(bucket, 4)}
    assert {key: record["eventName"] for key, record in found.items()} == {
        "put": "ObjectCreated:Put", "copy": "ObjectCreated:Copy", "parts": "ObjectCreated:CompleteMultipartUpload",
        "post": "ObjectCreated:Post"}
    assert {key: record["s3"]["object"]["size"] for key, record in found.items()} == {
        "put": 5, "copy": 5, "parts": PART, "post": 1}
    assert found["put"]["s3"]["object"]["eTag"] == tag.strip('"')


@covers("PutObject", "PutBucketNotificationConfiguration")
def test_what_a_record_says(s3, bucket):
    configure(s3, bucket, rule("ObjectCreated:Put", name="of mine"))
    versioned(s3, bucket)
    answer = put(s3, bucket, "a b+ü/1.txt", b"12345")
    [record] = told(bucket, 1)
    assert re.fullmatch(r"2\.\d", record["eventVersion"]) and record["eventSource"] == "aws:s3"
    assert record["awsRegion"] == "us-east-1" and record["eventName"] == "ObjectCreated:Put"
    at = datetime.datetime.strptime(record["eventTime"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    assert abs((datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()) < 120
    assert record["userIdentity"]["principalId"] and record["requestParameters"]["sourceIPAddress"] in ("127.0.0.1", "::1")
    assert record["responseElements"]["x-amz-request-id"] == answer["ResponseMetadata"]["RequestId"]
    assert record["responseElements"]["x-amz-id-2"] == answer["ResponseMetadata"]["HostId"]
    entity = record["s3"]
    assert (entity["s3SchemaVersion"], entity["configurationId"]) == ("1.0", "of mine")
    assert entity["bucket"]["arn"] == f"arn:aws:s3:::{bucket}" and entity["bucket"]["ownerIdentity"]["principalId"]
    assert entity["object"]["key"] == "a+b%2B%C3%BC/1.txt"
    assert urllib.parse.unquote_plus(entity["object"]["key"]) == "a b+ü/1.txt"
    assert entity["object"]["versionId"] == answer["VersionId"] and entity["object"]["size"] == 5
    assert re.fullmatch(r"[0-9A-F]+", entity["object"]["sequencer"])


@covers("DeleteObject", "DeleteObjects", "PutBucketNotificationConfiguration")
def test_every_kind_of_delete_is_told(s3, bucket):
    configure(s3, bucket, rule("ObjectRemoved:*"))
    put(s3, bucket, "plain"), put(s3, bucket, "many/1"), put(s3, bucket, "many/2")
    s3.delete_object(Bucket=bucket, Key="plain")
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "many/1"}, {"Key": "many/2"}]})
    found = told(bucket, 3)
    assert sorted(record["s3"]["object"]["key"] for record in found) == ["many/1", "many/2", "plain"]
    assert set(names(found)) == {"ObjectRemoved:Delete"}
    versioned(s3, bucket)
    version = put(s3, bucket, "kept")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="kept")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="kept", VersionId=version)
    found = [record for record in told(bucket, 5) if record["s3"]["object"]["key"] == "kept"]
    assert [(record["eventName"], record["s3"]["object"]["versionId"]) for record in found] == [
        ("ObjectRemoved:DeleteMarkerCreated", marker), ("ObjectRemoved:Delete", version)]


@covers("PutObjectTagging", "DeleteObjectTagging", "PutObjectAcl", "PutBucketNotificationConfiguration")
def test_changes_of_tags_and_lists_are_told(s3, bucket):
    name = with_acls(s3, bucket)
    configure(s3, name, rule("ObjectTagging:*", "ObjectAcl:Put"))
    put(s3, name)
    s3.put_object_tagging(Bucket=name, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    s3.delete_object_tagging(Bucket=name, Key="k")
    s3.put_object_acl(Bucket=name, Key="k", ACL="public-read")
    assert names(told(name, 3)) == ["ObjectTagging:Put", "ObjectTagging:Delete", "ObjectAcl:Put"]


@covers("PutBucketNotificationConfiguration")
def test_only_what_a_rule_asks_for_is_told(s3, bucket):
    configure(s3, bucket, rule("ObjectCreated:Put", name="images", prefix="images/", suffix=".jpg"),
              rule("ObjectRemoved:*", name="other", arn=OTHER, prefix="über "))
    for key in ["images/1.jpg", "images/1.png", "other/1.jpg", "images/", ".jpg", "images/.jpg"]:
        put(s3, bucket, key)
    s3.copy_object(Bucket=bucket, Key="images/2.jpg", CopySource=f"{bucket}/images/1.jpg")
    put(s3, bucket, "über 1")
    for key in ["images/1.jpg", "über 1"]:
        s3.delete_object(Bucket=bucket, Key=key)
    put(s3, bucket, "images/last.jpg")
    found = sorted(record["s3"]["object"]["key"] for record in told(bucket, 3))
    assert found == ["images/.jpg", "images/1.jpg", "images/last.jpg"]
    [record] = told(bucket, 1, "/other")
    assert (record["s3"]["object"]["key"], record["s3"]["configurationId"]) == ("%C3%BCber+1", "other")
    assert all(record["s3"]["configurationId"] == "images" for record in RECEIVER.records(bucket))


@covers("PutBucketNotificationConfiguration")
def test_writes_that_fail_are_not_told(s3, bucket):
    configure(s3, bucket, rule("ObjectCreated:*", "ObjectRemoved:*"))
    put(s3, bucket, "k")
    refused("PreconditionFailed", 412, put, s3, bucket, "k", IfNoneMatch="*")
    refused("BadDigest", 400, put, s3, bucket, "bad", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
    refused("NoSuchKey", 404, s3.copy_object, Bucket=bucket, Key="to", CopySource=f"{bucket}/absent")
    put(s3, bucket, "last")
    until(lambda: "last" in [record["s3"]["object"]["key"] for record in RECEIVER.records(bucket)], "the last event")
    assert sorted(record["s3"]["object"]["key"] for record in RECEIVER.records(bucket)) == ["k", "last"]


@covers("PutObject", "PutBucketNotificationConfiguration")
def test_the_events_of_a_key_are_told_in_order(s3, bucket):
    configure(s3, bucket, rule("ObjectCreated:*", "ObjectRemoved:*"))
    for number in range(20):
        put(s3, bucket, "k", b"x" * number)
        if number % 5 == 4:
            s3.delete_object(Bucket=bucket, Key="k")
    found = told(bucket, 24)
    assert [record["s3"]["object"]["size"] for record in found if "size" in record["s3"]["object"]] == list(range(20))
    assert [at for at, name in enumerate(names(found)) if name.startswith("ObjectRemoved")] == [5, 11, 17, 23]
    sequencers = [record["s3"]["object"]["sequencer"] for record in found]
    length = max(map(len, sequencers))
    padded = [one.ljust(length, "0") for one in sequencers]
    assert padded == sorted(padded) and len(set(padded)) == 24


@covers("PutBucketNotificationConfiguration")
def test_a_destination_that_is_away_misses_nothing(s3, bucket):
    configure(s3, bucket, rule("ObjectCreated:*"))
    RECEIVER.refuse("/events", 3, 503)
    for number in range(5):
        put(s3, bucket, f"k{number}")
    found = told(bucket, 5)
    assert sorted(record["s3"]["object"]["key"] for record in found) == [f"k{n}" for n in range(5)]
    failed = [headers["x-sherd-event-id"] for headers, body in RECEIVER.taken(answered=503) if bucket.encode() in body]
    taken = [headers["x-sherd-event-id"] for headers, body in RECEIVER.taken() if bucket.encode() in body]
    assert failed and set(failed) <= set(taken)


@covers("PutBucketNotificationConfiguration")
def test_messages_are_signed_by_the_secret(s3, bucket):
    configure(s3, bucket, rule("ObjectCreated:*"))
    put(s3, bucket)
    told(bucket, 1)
    for headers, body in RECEIVER.taken():
        assert headers["content-type"] == "application/json"
        stamp = headers["x-sherd-timestamp"]
        assert abs(int(stamp) - time.time()) < 600
        right = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        assert headers["x-sherd-signature"] == f"sha256={right}"


@covers("PutBucketNotificationConfiguration", "PutBucketLifecycleConfiguration")
def test_what_expires_is_told(s3, bucket):
    configure(s3, bucket, rule("LifecycleExpiration:*"))
    expire = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    put(s3, bucket, "plain")
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [expire]})
    [record] = told(bucket, 1)
    assert (record["eventName"], record["s3"]["object"]["key"]) == ("LifecycleExpiration:Delete", "plain")
    versioned(s3, bucket)
    put(s3, bucket, "kept")
    assert names(told(bucket, 2))[1] == "LifecycleExpiration:DeleteMarkerCreated"


@covers("PutBucketNotificationConfiguration")
def test_a_bucket_without_a_configuration_tells_nothing(s3, bucket):
    configure(s3, bucket, rule("ObjectCreated:*"))
    put(s3, bucket, "before")
    told(bucket, 1)
    configure(s3, bucket)
    put(s3, bucket, "silent")
    configure(s3, bucket, rule("ObjectCreated:*"))
    put(s3, bucket, "after")
    assert [record["s3"]["object"]["key"] for record in told(bucket, 2)] == ["before", "after"]


@covers("PutBucketNotificationConfiguration")
def test_event_bridge_is_told_in_its_own_words(s3, bucket):
    configure(s3, bucket, EventBridgeConfiguration={})
    put(s3, bucket, "a b", b"12345")
    s3.delete_object(Bucket=bucket, Key="a b")
    mine = lambda: [one for one in (json.loads(body) for _, body in RECEIVER.taken("/bridge"))
                    if one.get("detail", {}).get("bucket", {}).get("name") == bucket]
    created, deleted = until(lambda: found if len(found := mine()) >= 2 else None, "two events")[:2]
    assert (created["detail-type"], deleted["detail-type"]) == ("Object Created", "Object Deleted")
    assert created["source"] == "aws.s3" and created["account"] == account_id() and created["region"] == "us-east-1"
    assert created["resources"] == [f"arn:aws:s3:::{bucket}"]
    assert (created["detail"]["object"]["key"], created["detail"]["object"]["size"]) == ("a b", 5)
    assert created["detail"]["reason"] == "PutObject" and deleted["detail"]["reason"] == "DeleteObject"


@covers("PutObject", "RenameObject", "PutBucketNotificationConfiguration")
def test_appends_and_renames_are_told(s3, bucket):
    configure(s3, bucket, rule("ObjectCreated:*", "ObjectRemoved:*"))
    put(s3, bucket, "a", b"12", WriteOffsetBytes=0)
    put(s3, bucket, "a", b"345", WriteOffsetBytes=2)
    for _ in range(2):
        s3.rename_object(Bucket=bucket, Key="b", RenameSource="a", ClientToken="once")
    put(s3, bucket, "last")
    found = [(one["eventName"], one["s3"]["object"]["key"], one["s3"]["object"].get("size")) for one in told(bucket, 5)]
    # Events of one key come in order; those of several need not.
    assert [one for one in found if one[1] == "a"] == [
        ("ObjectCreated:Put", "a", 2), ("ObjectCreated:Put", "a", 5), ("ObjectRemoved:Delete", "a", None)]
    assert [one for one in found if one[1] == "b"] == [("ObjectCreated:Copy", "b", 5)]


run(globals())
