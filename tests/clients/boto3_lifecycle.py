# server: SHERD_LIFECYCLE_DAY=2
# mode: path
"""Lifecycle: what a configuration may say, and what then comes by itself, with days of two seconds."""

import datetime
import email.utils

from _support import (ALT, PART, another, client, content, covers, denied, headers_of, raw, refused, run, soon, status_of,
                      told, until, versioned)

LONG = 100_000


def configure(s3, bucket, *rules):
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def rule(name="r", prefix="", status="Enabled", where=None, **actions):
    return {"ID": name, "Status": status, "Filter": where if where is not None else {"Prefix": prefix}, **actions}


def days(count):
    return {"Expiration": {"Days": count}}


def is_midnight_after(count, date):
    """Answers tell days of the calendar, however short they are here."""
    after = datetime.timedelta(days=count)
    assert (date.hour, date.minute, date.second) == (0, 0, 0) and after <= date - soon(-60) <= after + datetime.timedelta(
        days=1, seconds=120), date


def put(s3, bucket, *keys, body=b"x", **named):
    return [s3.put_object(Bucket=bucket, Key=key, Body=body, **named).get("VersionId") for key in keys]


def keys(s3, bucket):
    return [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def versions(s3, bucket):
    """The ids of versions, and of markers."""
    page = s3.list_object_versions(Bucket=bucket)
    return {one["VersionId"] for one in page.get("Versions", [])}, {one["VersionId"] for one in page.get("DeleteMarkers", [])}


@covers("PutBucketLifecycleConfiguration", "GetBucketLifecycleConfiguration", "DeleteBucketLifecycle")
def test_a_configuration_comes_back_is_replaced_and_goes(s3, bucket):
    refused("NoSuchLifecycleConfiguration", 404, s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    tag = {"Key": "a", "Value": "1"}
    rules = [
        rule("days", "a/", **days(LONG)), rule("off", "b/", "Disabled", **days(1)),
        rule("tag", where={"Tag": tag}, **days(LONG)), rule("size", where={"ObjectSizeGreaterThan": 5}, **days(LONG)),
        rule("and", where={"And": {"Prefix": "c/", "Tags": [tag], "ObjectSizeGreaterThan": 1, "ObjectSizeLessThan": 9}},
             **days(LONG)),
        rule("date", "e/", Expiration={"Date": datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc)}),
        rule("old", "f/", NoncurrentVersionExpiration={"NoncurrentDays": LONG, "NewerNoncurrentVersions": 3}),
        rule("markers", "g/", Expiration={"ExpiredObjectDeleteMarker": True}),
        rule("uploads", "h/", AbortIncompleteMultipartUpload={"DaysAfterInitiation": LONG}),
    ]
    configure(s3, bucket, *rules)
    found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert sorted(found, key=lambda one: one["ID"]) == sorted(rules, key=lambda one: one["ID"])
    configure(s3, bucket, rule("only", **days(LONG)))
    assert [one["ID"] for one in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]] == ["only"]
    nameless = {name: value for name, value in rule("x", **days(LONG)).items() if name != "ID"}
    configure(s3, bucket, nameless)
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]["ID"]
    for _ in range(2):
        assert status_of(s3.delete_bucket_lifecycle(Bucket=bucket)) == 204
        refused("NoSuchLifecycleConfiguration", 404, s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    refused("NoSuchBucket", 404, configure, s3, bucket + "-absent", rule(**days(1)))
    denied(client(ALT).get_bucket_lifecycle_configuration, Bucket=bucket)


@covers("PutBucketLifecycleConfiguration")
def test_configurations_that_make_no_sense(s3, bucket):
    midday = datetime.datetime(2099, 1, 1, 12, tzinfo=datetime.timezone.utc)
    midnight = midday.replace(hour=0)
    tag = {"Key": "a", "Value": "1"}
    argument, xml, either = "InvalidArgument", "MalformedXML", ("InvalidRequest", "MalformedXML", "InvalidArgument")
    for code, wrong in [
        (argument, [rule("same", "a/", **days(1)), rule("same", "b/", **days(1))]), (argument, [rule("i" * 256, **days(1))]),
        (argument, [rule(**days(0))]), (argument, [rule(**days(-1))]), (argument, [rule(Expiration={"Date": midday})]),
        (xml, [rule(status="enabled", **days(1))]), (xml, [rule(status="", **days(1))]), (xml, []),
        (xml, [rule(Expiration={"Days": 1, "Date": midnight})]),
        (xml, [rule(Expiration={"Days": 1, "ExpiredObjectDeleteMarker": True})]),
        (either, [rule()]), (either, [{"ID": "a", "Status": "Enabled", **days(1)}]),
        (either, [{**rule(**days(1)), "Prefix": "a/"}]),
        (("InvalidStorageClass", *either), [rule(Transitions=[{"Days": 1, "StorageClass": "NO_SUCH_CLASS"}])]),
        (either, [rule(where={"Tag": tag}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})]),
        (either, [rule(where={"Tag": tag}, Expiration={"ExpiredObjectDeleteMarker": True})]),
        (either, [rule(NoncurrentVersionExpiration={"NoncurrentDays": 0})]),
        (either, [rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 0})]),
        (either, [rule(where={"And": {"Tags": [tag, tag]}}, **days(1))]),
        (either, [rule(where={"And": {"ObjectSizeGreaterThan": 9, "ObjectSizeLessThan": 5}}, **days(1))]),
        (either, [rule(str(n), f"{n}/", **days(1)) for n in range(1001)]),
    ]:
        refused(code, 400, configure, s3, bucket, *wrong)
    for body in [b"", b"<LifecycleConfiguration>", b"<LifecycleConfiguration/>", b"<Other/>"]:
        status, _, answer = raw("PUT", f"/{bucket}", query="lifecycle=", body=body)
        assert status == 400 and b"<Error><Code>" in answer, (body, status, answer)
    refused("NoSuchLifecycleConfiguration", 404, s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    configure(s3, bucket, *(rule(str(n), f"{n}/", **days(LONG)) for n in range(1000)))
    assert len(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]) == 1000


@covers("PutObject", "HeadObject", "GetObject")
def test_objects_tell_when_they_expire(s3, bucket):
    configure(s3, bucket, rule("first", "a/", **days(LONG)),
              rule("tagged", where={"Tag": {"Key": "t", "Value": "1"}}, **days(LONG + 1)))
    answer = s3.put_object(Bucket=bucket, Key="a/k", Body=b"x")
    for found in [answer, s3.head_object(Bucket=bucket, Key="a/k"), s3.get_object(Bucket=bucket, Key="a/k")]:
        assert 'rule-id="first"' in found["Expiration"] and 'expiry-date="' in found["Expiration"]
        is_midnight_after(LONG, email.utils.parsedate_to_datetime(found["Expiration"].split('"')[1]))
    assert 'rule-id="tagged"' in s3.put_object(Bucket=bucket, Key="b", Body=b"x", Tagging="t=1")["Expiration"]
    for answer in [s3.put_object(Bucket=bucket, Key="c", Body=b"x"), s3.head_object(Bucket=bucket, Key="c")]:
        assert "x-amz-expiration" not in headers_of(answer)


@covers("PutBucketLifecycleConfiguration")
def test_what_rules_match_expires_and_nothing_else(s3, bucket):
    tag, other = {"Key": "kill", "Value": "yes"}, {"Key": "also", "Value": "1"}
    put(s3, bucket, "a/1", "a/deep/2", "keep", "d/1", "late/1", "ab")
    put(s3, bucket, "t/yes", Tagging="kill=yes"), put(s3, bucket, "t/no", Tagging="kill=no"), put(s3, bucket, "t/none")
    put(s3, bucket, "both/yes", Tagging="kill=both&also=1"), put(s3, bucket, "both/one", Tagging="kill=both")
    for key, size in [("s/small", 100), ("s/middle", 500), ("s/large", 1000)]:
        put(s3, bucket, key, body=b"x" * size)
    put(s3, bucket, "large/1", body=content(PART)), put(s3, bucket, "large/2", body=b"")
    configure(
        s3, bucket, rule("prefix", "a/", **days(1)), rule("tag", where={"Tag": tag}, **days(1)),
        rule("tags", where={"And": {"Prefix": "both/", "Tags": [{"Key": "kill", "Value": "both"}, other]}}, **days(1)),
        rule("size", where={"And": {"Prefix": "s/", "ObjectSizeGreaterThan": 100, "ObjectSizeLessThan": 1000}}, **days(1)),
        rule("large", where={"And": {"Prefix": "large/", "ObjectSizeGreaterThan": 1000}}, **days(1)),
        rule("off", "d/", "Disabled", **days(1)), rule("late", "late/", **days(LONG)))
    survivors = ["ab", "both/one", "d/1", "keep", "large/2", "late/1", "s/large", "s/small", "t/no", "t/none"]
    until(lambda: keys(s3, bucket) == survivors or len(keys(s3, bucket)) < len(survivors), "the expirations")
    # Whatever comes after another pass has come when an object that is newer than all of them has gone.
    put(s3, bucket, "a/new")
    until(lambda: "a/new" not in keys(s3, bucket), "the expiration of a new object")
    assert keys(s3, bucket) == survivors
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="a/1")


@covers("PutBucketLifecycleConfiguration")
def test_what_is_overwritten_is_young_again(s3, bucket):
    configure(s3, bucket, rule(prefix="a/", **days(4)))
    put(s3, bucket, "a/old")
    end = soon(14)

    def written_again():
        put(s3, bucket, "a/young")
        assert keys(s3, bucket)[-1:] == ["a/young"]
        return soon(0) >= end
    until(written_again, "the end of the writes")
    until(lambda: keys(s3, bucket) in (["a/young"], []), "the expiration of the old object")


@covers("PutBucketLifecycleConfiguration")
def test_a_date_that_has_passed_expires_everything(s3, bucket):
    put(s3, bucket, "a/1", "b/1")
    midnight = soon(0).replace(hour=0, minute=0, second=0)
    configure(s3, bucket, rule("past", "a/", Expiration={"Date": midnight - datetime.timedelta(days=1)}),
              rule("future", "b/", Expiration={"Date": midnight + datetime.timedelta(days=30)}))
    until(lambda: keys(s3, bucket) == ["b/1"], "the expirations")


@covers("PutBucketLifecycleConfiguration", "ListObjectVersions")
def test_where_versions_are_kept_an_expiration_is_a_marker(s3, bucket):
    versioned(s3, bucket)
    old, new = put(s3, bucket, "k", "k")
    configure(s3, bucket, rule(**days(1)))
    until(lambda: keys(s3, bucket) == [], "the expiration")
    kept, markers = versions(s3, bucket)
    assert kept == {old, new} and len(markers) == 1
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=new)["Body"].read() == b"x"
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="k")


@covers("PutBucketLifecycleConfiguration", "ListObjectVersions")
def test_while_suspended_an_expiration_replaces_the_null_version(s3, bucket):
    versioned(s3, bucket)
    [kept] = put(s3, bucket, "k")
    versioned(s3, bucket, "Suspended")
    put(s3, bucket, "k")
    configure(s3, bucket, rule(**days(1)))
    until(lambda: keys(s3, bucket) == [], "the expiration")
    assert versions(s3, bucket) == ({kept}, {"null"})


@covers("PutBucketLifecycleConfiguration", "ListObjectVersions")
def test_old_versions_expire_and_the_current_one_stays(s3, bucket):
    versioned(s3, bucket)
    ids = put(s3, bucket, *["k"] * 4)
    configure(s3, bucket, rule(NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    until(lambda: versions(s3, bucket)[0] == {ids[-1]}, "the expiration of old versions")
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    until(lambda: versions(s3, bucket) == (set(), {marker}), "the expiration of what was deleted")


@covers("PutBucketLifecycleConfiguration", "ListObjectVersions")
def test_some_newer_old_versions_are_kept(s3, bucket):
    versioned(s3, bucket)
    ids = put(s3, bucket, *["k"] * 6)
    configure(s3, bucket, rule(NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}))
    until(lambda: len(versions(s3, bucket)[0]) <= 3, "the expiration of old versions")
    [another_id] = put(s3, bucket, "k")
    until(lambda: versions(s3, bucket)[0] == {*ids[-2:], another_id}, "the expiration of one more")


@covers("PutBucketLifecycleConfiguration", "ListObjectVersions")
def test_markers_of_nothing_are_removed(s3, bucket):
    versioned(s3, bucket)
    lone = s3.delete_object(Bucket=bucket, Key="lone")["VersionId"]
    [kept] = put(s3, bucket, "kept")
    needed = s3.delete_object(Bucket=bucket, Key="kept")["VersionId"]
    outside = s3.delete_object(Bucket=bucket, Key="outside")["VersionId"]
    assert versions(s3, bucket) == ({kept}, {lone, needed, outside})
    configure(s3, bucket, rule("lone", "lone", Expiration={"ExpiredObjectDeleteMarker": True}),
              rule("kept", "kept", Expiration={"ExpiredObjectDeleteMarker": True}))
    until(lambda: lone not in versions(s3, bucket)[1], "the removal of a marker")
    assert versions(s3, bucket) == ({kept}, {needed, outside})
    s3.delete_object(Bucket=bucket, Key="kept", VersionId=kept)
    until(lambda: versions(s3, bucket) == (set(), {outside}), "the removal of the other marker")


@covers("PutBucketLifecycleConfiguration")
def test_versions_markers_and_all_are_gone_in_the_end(s3, bucket):
    versioned(s3, bucket)
    put(s3, bucket, "k", "k", "l")
    s3.delete_object(Bucket=bucket, Key="l")
    configure(s3, bucket, rule("current", **days(1)), rule("old", NoncurrentVersionExpiration={"NoncurrentDays": 1}),
              rule("markers", Expiration={"ExpiredObjectDeleteMarker": True}))
    until(lambda: versions(s3, bucket) == (set(), set()), "the end of everything")


@covers("PutBucketLifecycleConfiguration", "ListMultipartUploads")
def test_uploads_that_nobody_completes_are_aborted(s3, bucket):
    uploads = {}
    for key in ["a/1", "b/1"]:
        uploads[key] = dict(Bucket=bucket, Key=key, UploadId=s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"])
        s3.upload_part(PartNumber=1, Body=content(PART), **uploads[key])
    configure(s3, bucket, rule(prefix="a/", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}))
    shown = lambda: [one["Key"] for one in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
    until(lambda: shown() == ["b/1"], "the end of an upload")
    refused("NoSuchUpload", 404, s3.list_parts, **uploads["a/1"])
    assert len(s3.list_parts(**uploads["b/1"])["Parts"]) == 1
    answer = s3.create_multipart_upload(Bucket=bucket, Key="a/2")
    assert answer["AbortRuleId"] == "r"
    is_midnight_after(1, answer["AbortDate"])


@covers("PutBucketLifecycleConfiguration", "PutObjectLegalHold", "PutObjectRetention")
def test_what_is_locked_does_not_expire(s3, bucket):
    name = another(s3, bucket, "lock", ObjectLockEnabledForBucket=True)
    free, held, kept, last = put(s3, name, *["k"] * 4)
    s3.put_object_legal_hold(Bucket=name, Key="k", VersionId=held, LegalHold={"Status": "ON"})
    s3.put_object_retention(Bucket=name, Key="k", VersionId=kept,
                            Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon(3600)})
    configure(s3, name, rule(NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    until(lambda: free not in versions(s3, name)[0], "the expiration of what is free")
    [newest] = put(s3, name, "k")
    until(lambda: last not in versions(s3, name)[0], "the expiration of what became old")
    assert versions(s3, name)[0] == {held, kept, newest}
    s3.put_object_legal_hold(Bucket=name, Key="k", VersionId=held, LegalHold={"Status": "OFF"})
    until(lambda: versions(s3, name)[0] == {kept, newest}, "the expiration of what was held")


@covers("DeleteBucketLifecycle")
def test_without_its_rule_nothing_expires(s3, bucket):
    put(s3, bucket, "kept")
    witness = another(s3, bucket, "witness")
    configure(s3, bucket, rule(**days(5)))
    s3.delete_bucket_lifecycle(Bucket=bucket)
    configure(s3, witness, rule(**days(6)))
    put(s3, witness, "k")
    until(lambda: keys(s3, witness) == [], "the expiration beside it")
    assert keys(s3, bucket) == ["kept"]
    told(raw("GET", f"/{bucket}", query="lifecycle="), 404, "NoSuchLifecycleConfiguration")


run(globals())
