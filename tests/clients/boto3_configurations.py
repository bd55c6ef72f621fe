"""Configurations of buckets that are kept and told: acceleration, payment, inventories, analytics, metrics, tiering."""

import csv
import gzip
import hashlib
import io
import json

from _support import ALT, another, bucket_arn, client, covers, denied, pages, raw, refused, run, status_of, told, until


def without_metadata(answer):
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


@covers("PutBucketAccelerateConfiguration", "GetBucketAccelerateConfiguration")
def test_acceleration_is_kept(s3, bucket):
    ask = lambda: s3.get_bucket_accelerate_configuration(Bucket=bucket).get("Status")
    assert ask() is None
    for status in ["Enabled", "Suspended"]:
        s3.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": status})
        assert ask() == status
    refused("MalformedXML", 400, s3.put_bucket_accelerate_configuration, Bucket=bucket,
            AccelerateConfiguration={"Status": "On"})
    assert ask() == "Suspended"
    refused("NoSuchBucket", 404, s3.get_bucket_accelerate_configuration, Bucket=bucket + "-absent")


@covers("PutBucketRequestPayment", "GetBucketRequestPayment")
def test_who_pays_is_kept(s3, bucket):
    ask = lambda: s3.get_bucket_request_payment(Bucket=bucket)["Payer"]
    assert ask() == "BucketOwner"
    for payer in ["Requester", "BucketOwner"]:
        s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": payer})
        assert ask() == payer
    refused("MalformedXML", 400, s3.put_bucket_request_payment, Bucket=bucket,
            RequestPaymentConfiguration={"Payer": "Nobody"})
    refused("NoSuchBucket", 404, s3.get_bucket_request_payment, Bucket=bucket + "-absent")


def kinds(bucket):
    """For each kind of configuration with ids: its name in calls, its argument, one of it, the key of its list."""
    destination = {"S3BucketDestination": {"Bucket": bucket_arn(bucket), "Format": "CSV", "Prefix": "reports"}}
    return {
        "inventory": ("bucket_inventory_configuration", "InventoryConfiguration", lambda name: {
            "Id": name, "IsEnabled": False, "Destination": destination, "IncludedObjectVersions": "Current",
            "OptionalFields": ["Size", "ETag"], "Schedule": {"Frequency": "Daily"}}, "InventoryConfigurationList"),
        "analytics": ("bucket_analytics_configuration", "AnalyticsConfiguration", lambda name: {
            "Id": name, "Filter": {"Prefix": "a/"}, "StorageClassAnalysis": {"DataExport": {
                "OutputSchemaVersion": "V_1",
                "Destination": {"S3BucketDestination": {"Bucket": bucket_arn(bucket), "Format": "CSV"}}}}},
            "AnalyticsConfigurationList"),
        "metrics": ("bucket_metrics_configuration", "MetricsConfiguration", lambda name: {
            "Id": name, "Filter": {"Tag": {"Key": "a", "Value": "1"}}}, "MetricsConfigurationList"),
        "tiering": ("bucket_intelligent_tiering_configuration", "IntelligentTieringConfiguration", lambda name: {
            "Id": name, "Status": "Enabled", "Tierings": [{"Days": 90, "AccessTier": "ARCHIVE_ACCESS"}]},
            "IntelligentTieringConfigurationList"),
    }


def check(s3, bucket, kind, empty_code="NoSuchConfiguration"):
    name, argument, make, listed = kinds(bucket)[kind]
    get, put, delete = (getattr(s3, f"{verb}_{name}") for verb in ["get", "put", "delete"])
    list_all = getattr(s3, f"list_{name}s")
    refused(empty_code, 404, get, Bucket=bucket, Id="a")
    refused(empty_code, 404, delete, Bucket=bucket, Id="a")
    assert listed not in list_all(Bucket=bucket) and list_all(Bucket=bucket)["IsTruncated"] is False
    for one in ["a", "b"]:
        put(Bucket=bucket, Id=one, **{argument: make(one)})
        assert get(Bucket=bucket, Id=one)[argument] == make(one)
    assert [one["Id"] for one in list_all(Bucket=bucket)[listed]] == ["a", "b"]
    put(Bucket=bucket, Id="a", **{argument: make("a")})
    assert len(list_all(Bucket=bucket)[listed]) == 2
    assert status_of(delete(Bucket=bucket, Id="a")) == 204
    assert [one["Id"] for one in list_all(Bucket=bucket)[listed]] == ["b"]
    refused(empty_code, 404, get, Bucket=bucket, Id="a")
    refused("NoSuchBucket", 404, get, Bucket=bucket + "-absent", Id="a")
    other = client(ALT)
    denied(getattr(other, f"get_{name}"), Bucket=bucket, Id="b")
    denied(getattr(other, f"put_{name}"), Bucket=bucket, Id="b", **{argument: make("b")})
    delete(Bucket=bucket, Id="b")


@covers("PutBucketInventoryConfiguration", "GetBucketInventoryConfiguration", "ListBucketInventoryConfigurations",
        "DeleteBucketInventoryConfiguration")
def test_inventories_are_configured_by_id(s3, bucket):
    check(s3, bucket, "inventory")


@covers("PutBucketAnalyticsConfiguration", "GetBucketAnalyticsConfiguration", "ListBucketAnalyticsConfigurations",
        "DeleteBucketAnalyticsConfiguration")
def test_analytics_are_configured_by_id(s3, bucket):
    check(s3, bucket, "analytics")


@covers("PutBucketMetricsConfiguration", "GetBucketMetricsConfiguration", "ListBucketMetricsConfigurations",
        "DeleteBucketMetricsConfiguration")
def test_metrics_are_configured_by_id(s3, bucket):
    check(s3, bucket, "metrics")


@covers("PutBucketIntelligentTieringConfiguration", "GetBucketIntelligentTieringConfiguration",
        "ListBucketIntelligentTieringConfigurations", "DeleteBucketIntelligentTieringConfiguration")
def test_tierings_are_configured_by_id(s3, bucket):
    check(s3, bucket, "tiering")


@covers("ListBucketMetricsConfigurations")
def test_configurations_are_listed_in_pages_of_a_hundred(s3, bucket):
    _, argument, make, listed = kinds(bucket)["metrics"]
    names = sorted(f"id-{n:03}" for n in range(120))
    for name in names:
        s3.put_bucket_metrics_configuration(Bucket=bucket, Id=name, **{argument: make(name)})
    found, token = [], {}
    for before in pages():
        page = s3.list_bucket_metrics_configurations(Bucket=bucket, **token)
        found += [one["Id"] for one in page[listed]]
        assert len(page[listed]) <= 100
        if not page["IsTruncated"]:
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    assert found == names and before == 1


@covers("PutBucketInventoryConfiguration")
def test_inventories_that_make_no_sense(s3, bucket):
    name, argument, make, _ = kinds(bucket)["inventory"]
    put = lambda one, id_="a": getattr(s3, f"put_{name}")(Bucket=bucket, Id=id_, **{argument: one})
    good = make("a")
    for wrong in [{**good, "Id": "other"}, {**good, "Schedule": {"Frequency": "Hourly"}},
                  {**good, "IncludedObjectVersions": "Some"},
                  {**good, "OptionalFields": ["Colour"]}]:
        refused(("MalformedXML", "InvalidArgument", "InvalidConfigurationId", "IdMismatch"), 400, put, wrong)
    refused(("MalformedXML", "InvalidArgument", "InvalidConfigurationId", "IdMismatch"), 400, put, make("a b"), "a b")
    told(raw("PUT", f"/{bucket}", query="id=a&inventory=", body=b"<InventoryConfiguration>"), 400, "MalformedXML")
    assert "InventoryConfigurationList" not in s3.list_bucket_inventory_configurations(Bucket=bucket)


@covers("PutBucketInventoryConfiguration")
def test_an_inventory_is_written_and_says_what_is_there(s3, bucket):
    reports = another(s3, bucket, "reports")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="in/a b", Body=b"one")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="in/a b", Body=b"three")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="in/c")["VersionId"]
    s3.put_object(Bucket=bucket, Key="out", Body=b"")
    s3.put_bucket_inventory_configuration(Bucket=bucket, Id="all", InventoryConfiguration={
        "Id": "all", "IsEnabled": True, "IncludedObjectVersions": "All", "Filter": {"Prefix": "in/"},
        "Destination": {"S3BucketDestination": {"Bucket": bucket_arn(reports), "Format": "CSV", "Prefix": "p"}},
        "OptionalFields": ["Size", "ETag"], "Schedule": {"Frequency": "Daily"}})
    manifest = until(lambda: written(s3, reports, f"p/{bucket}/all/", "manifest.checksum"), "a report is written")
    body = s3.get_object(Bucket=reports, Key=manifest.replace(".checksum", ".json"))["Body"].read()
    assert s3.get_object(Bucket=reports, Key=manifest)["Body"].read().decode() == hashlib.md5(body).hexdigest()
    told_of = json.loads(body)
    assert (told_of["sourceBucket"], told_of["destinationBucket"]) == (bucket, bucket_arn(reports))
    assert told_of["fileSchema"] == "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag"
    (file,) = told_of["files"]
    data = s3.get_object(Bucket=reports, Key=file["key"])["Body"].read()
    assert (len(data), hashlib.md5(data).hexdigest()) == (file["size"], file["MD5checksum"])
    rows = list(csv.reader(io.StringIO(gzip.decompress(data).decode())))
    assert rows == [
        [bucket, "in/a%20b", second, "true", "false", "5", hashlib.md5(b"three").hexdigest()],
        [bucket, "in/a%20b", first, "false", "false", "3", hashlib.md5(b"one").hexdigest()],
        [bucket, "in/c", marker, "true", "true", "", ""]]
    s3.delete_bucket_inventory_configuration(Bucket=bucket, Id="all")


def written(s3, bucket, prefix, ending):
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]
    return next((key for key in keys if key.endswith(ending)), None)


@covers("DeleteBucket", "CreateBucket")
def test_configurations_go_with_their_bucket(s3, bucket):
    name = another(s3, bucket, "x")
    s3.put_bucket_request_payment(Bucket=name, RequestPaymentConfiguration={"Payer": "Requester"})
    s3.put_bucket_accelerate_configuration(Bucket=name, AccelerateConfiguration={"Status": "Enabled"})
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    s3.delete_bucket(Bucket=name)
    s3.create_bucket(Bucket=name)
    assert s3.get_bucket_request_payment(Bucket=name)["Payer"] == "BucketOwner"
    assert without_metadata(s3.get_bucket_accelerate_configuration(Bucket=name)) == {}
    refused("NoSuchTagSet", 404, s3.get_bucket_tagging, Bucket=name)


run(globals())
