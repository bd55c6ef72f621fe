# server: SHERD_SIGV2=urls
"""Buckets, and who may do what."""

import urllib.error
import urllib.request

import botocore
import botocore.config
from _support import (ADDRESSING, ENDPOINT, account_id, another, bucket_arn, client, covers, headers_of, pages, raw,
                      refused, run, told, versioned)
import boto3


@covers("CreateBucket", "HeadBucket", "DeleteBucket")
def test_a_bucket_is_made_once_found_and_deleted_when_empty(s3, bucket):
    name = bucket + "-x"
    assert s3.create_bucket(Bucket=name)["Location"] == f"/{name}"
    assert s3.create_bucket(Bucket=name)["Location"] == f"/{name}"
    refused(("BucketAlreadyExists", "InvalidBucketAclWithObjectOwnership"), (400, 409), s3.create_bucket, Bucket=name,
            ACL="public-read")
    assert s3.head_bucket(Bucket=name)["BucketRegion"] == "us-east-1"
    s3.put_object(Bucket=name, Key="k", Body=b"1")
    refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=name)
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)
    refused("NoSuchBucket", 404, s3.head_bucket, Bucket=name)
    refused("NoSuchBucket", 404, s3.delete_bucket, Bucket=name)
    refused("NoSuchBucket", 404, s3.put_object, Bucket=name, Key="k", Body=b"1")
    refused("NoSuchBucket", 404, s3.list_objects_v2, Bucket=name)


@covers("CreateBucket", "HeadBucket")
def test_a_bucket_is_told_by_its_arn(s3, bucket):
    name = bucket + "-arn"
    for answer in [s3.create_bucket(Bucket=name), s3.head_bucket(Bucket=name)]:
        assert headers_of(answer)["x-amz-bucket-arn"] == bucket_arn(name)
    found = s3.head_bucket(Bucket=name)
    assert found["AccessPointAlias"] is False and headers_of(found)["content-type"] == "application/xml"
    s3.delete_bucket(Bucket=name)


@covers("DeleteBucket")
def test_a_bucket_that_is_not_empty_says_what_is_left(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    error = refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=bucket)["Error"]
    assert (error["BucketName"], error["Message"]) == (bucket, "The bucket you tried to delete is not empty")
    versioned(s3, bucket)
    s3.delete_object(Bucket=bucket, Key="k")
    assert "versions" in refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=bucket)["Error"]["Message"]


@covers("GetBucketLocation", "CreateBucket")
def test_the_default_region_has_no_name_in_locations(s3, bucket):
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    there = {"LocationConstraint": "eu-west-1"}
    # Who believes to be there gets what was asked for.
    european = client(region_name="eu-west-1")
    european.create_bucket(Bucket=bucket + "-eu", CreateBucketConfiguration=there)
    assert european.get_bucket_location(Bucket=bucket + "-eu")["LocationConstraint"] == "eu-west-1"
    assert s3.head_bucket(Bucket=bucket + "-eu")["BucketRegion"] == "eu-west-1"
    refused("BucketAlreadyOwnedByYou", 409, european.create_bucket, Bucket=bucket + "-eu", CreateBucketConfiguration=there)
    european.put_object(Bucket=bucket + "-eu", Key="k", Body=b"x")
    assert s3.get_object(Bucket=bucket + "-eu", Key="k")["Body"].read() == b"x"


@covers("CreateBucket", "GetBucketLocation", "HeadBucket")
def test_a_bucket_is_where_its_constraint_says_if_that_can_be_from_there(s3, bucket):
    at = lambda region: {"CreateBucketConfiguration": {"LocationConstraint": region}}
    for region in ["us-east-2", "us-gov-east-2"]:
        name = another(s3, bucket, region, **at(region))
        assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == region
        assert s3.head_bucket(Bucket=name)["BucketRegion"] == region
    assert s3.head_bucket(Bucket=another(s3, bucket, "eu", **at("EU")))["BucketRegion"] == "eu-west-1"
    european = client(region_name="eu-west-1")
    name = bucket + "-nowhere"
    error = refused("IllegalLocationConstraintException", 400, european.create_bucket, Bucket=name, **at("us-east-2"))["Error"]
    assert error["Message"] == ("The us-east-2 location constraint is incompatible for the region specific endpoint "
                                "this request was sent to.")
    for caller in [s3, european]:
        error = refused("InvalidLocationConstraint", 400, caller.create_bucket, Bucket=name, **at("nonsense"))["Error"]
        assert error["LocationConstraint"] == "nonsense"
    refused("NoSuchBucket", 404, s3.head_bucket, Bucket=name)
    # AWS takes neither.
    for suffix, settings in [("named", at("us-east-1")), ("unsaid", {})]:
        name = another(european, bucket, suffix, **settings)
        assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] is None


@covers("CreateBucket")
def test_an_account_has_no_namespace_of_its_own(s3, bucket):
    create = lambda namespace: raw("PUT", f"/{bucket}-space", headers={"x-amz-bucket-namespace": namespace})
    told(create("account-regional"), 501, "NotImplemented")
    assert create("global")[0] == 200
    s3.delete_bucket(Bucket=f"{bucket}-space")


@covers("CreateBucket")
def test_names_that_no_bucket_can_have_are_refused(s3, bucket):
    for name in ["a", "ab", "UPPER", "under_score", "bang!", "a" * 64, "a" * 3000, "192.168.0.1", "-dash", "dash-",
                 "dot..dot", "dot.-dash", "dash-.dot", "sthree-name", "name-s3alias", "name--ol-s3", "name.mrap",
                 "name--x-s3"]:
        answer = raw("PUT", f"/{name}")
        told(answer, 400, "InvalidBucketName")
        assert f"<BucketName>{name}</BucketName>".encode() in answer[2], answer
    for method in ["PUT", "DELETE"]:
        told(raw(method, "/"), 405, "MethodNotAllowed")


@covers("ListBuckets")
def test_buckets_are_listed_in_pages_and_by_prefix(s3, bucket):
    names = [f"{bucket}-p{n}" for n in range(5)]
    for name in names:
        s3.create_bucket(Bucket=name)
    first = s3.list_buckets(Prefix=f"{bucket}-p", MaxBuckets=2)
    assert [one["Name"] for one in first["Buckets"]] == names[:2]
    assert first["Prefix"] == f"{bucket}-p" and first["Owner"]["ID"]
    found, token = [], None
    for _ in pages():
        named = {"ContinuationToken": token} if token else {}
        page = s3.list_buckets(Prefix=f"{bucket}-p", MaxBuckets=2, **named)
        found += [one["Name"] for one in page["Buckets"]]
        token = page.get("ContinuationToken")
        if not token:
            break
    assert found == names
    assert s3.list_buckets(Prefix=f"{bucket}-p", BucketRegion="mars-1")["Buckets"] == []
    refused("InvalidArgument", 400, s3.list_buckets, ContinuationToken="nonsense")
    for number in [-1, 0, 10_001]:
        told(raw("GET", "/", query=f"max-buckets={number}"), 400, "InvalidArgument")
    for name in names:
        s3.delete_bucket(Bucket=name)


@covers("ListBuckets", "ListObjectsV2", "PutObject")
def test_the_anonymous_and_the_unknown_are_refused(s3, bucket):
    try:
        urllib.request.urlopen(f"{ENDPOINT}/{bucket}?list-type=2")
        raise AssertionError("anonymous")
    except urllib.error.HTTPError as error:
        assert error.code == 403 and b"<Code>AccessDenied</Code>" in error.read()
        assert error.headers["x-amz-request-id"] and error.headers["Server"] == "Sherd"
    config = botocore.config.Config(s3={"addressing_style": ADDRESSING}, retries={"max_attempts": 0})
    stranger = dict(endpoint_url=ENDPOINT, region_name="us-east-1", config=config)
    unknown = boto3.client("s3", aws_access_key_id="nobody", aws_secret_access_key="x" * 20, **stranger)
    refused("InvalidAccessKeyId", 403, unknown.list_buckets)
    import os
    wrong = boto3.client("s3", aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="x" * 20, **stranger)
    refused("SignatureDoesNotMatch", 403, wrong.list_buckets)
    refused("SignatureDoesNotMatch", 403, wrong.put_object, Bucket=bucket, Key="k", Body=b"x" * 100_000)


@covers("GetObject", "PutObject")
def test_a_presigned_url_reads_and_writes_until_it_expires(s3, bucket):
    s3 = client(signature_version="s3v4")
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a b"}, ExpiresIn=60)
    with urllib.request.urlopen(urllib.request.Request(put, data=b"by url", method="PUT")) as answer:
        assert answer.status == 200
    get = s3.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "a b", "ResponseContentType": "text/x-mine"}, ExpiresIn=60)
    with urllib.request.urlopen(get) as answer:
        assert answer.read() == b"by url" and answer.headers["Content-Type"] == "text/x-mine"
    for spoiled, code in [(get.replace("text%2Fx-mine", "text%2Fx-other"), b"SignatureDoesNotMatch"),
                          (get.replace("X-Amz-Expires=60", "X-Amz-Expires=999999"), b"AuthorizationQueryParametersError")]:
        try:
            urllib.request.urlopen(spoiled)
            raise AssertionError(spoiled)
        except urllib.error.HTTPError as error:
            assert code in error.read()


@covers("GetObject", "PutObject")
def test_a_url_of_signature_version_2_reads_or_writes_one_object(s3, bucket):
    import time
    old = client(signature_version="s3")
    url = lambda call, **named: old.generate_presigned_url(call, Params={"Bucket": bucket, **named}, ExpiresIn=60)
    put = url("put_object", Key="a b")
    assert "Signature=" in put and "X-Amz" not in put
    with urllib.request.urlopen(urllib.request.Request(put, data=b"by url", method="PUT",
                                                       headers={"Content-Type": ""})) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(url("get_object", Key="a b")) as answer:
        assert answer.read() == b"by url"
    spoiled = [url("get_object", Key="a b").replace("Expires=", f"Expires={int(time.time()) + 9}&Ignored="),
               url("get_object", Key="a b").replace("a%20b", "other"), url("list_objects", Prefix="a"),
               url("get_object", Key="a b") + "&acl&acl"]
    for one in spoiled:
        try:
            urllib.request.urlopen(one)
            raise AssertionError(one)
        except urllib.error.HTTPError as error:
            assert error.code == 403, error.read()


@covers("GetBucketVersioning")
def test_versioning_was_never_enabled(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    refused("NoSuchBucket", 404, s3.get_bucket_versioning, Bucket="no-such-bucket")


@covers("ListObjectsV2")
def test_other_owners_buckets_are_not_here(s3, bucket):
    refused("AccessDenied", 403, s3.list_objects_v2, Bucket=bucket, ExpectedBucketOwner="123456789012")
    assert s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner=account_id())["KeyCount"] == 0


@covers("PutObject")
def test_what_does_not_exist_says_so(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    select = dict(Expression="SELECT * FROM S3Object", ExpressionType="SQL", InputSerialization={"CSV": {}},
                  OutputSerialization={"CSV": {}})
    for call, named in [(s3.get_object_torrent, {}), (s3.select_object_content, select)]:
        refused(("NotImplemented", "MethodNotAllowed"), (501, 405), call, Bucket=bucket, Key="k", **named)
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"1"


@covers("ListObjects", "ListObjectsV2")
def test_any_signing_region_will_do(s3, bucket):
    other = client(region_name="eu-north-1")
    assert other.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert client(signature_version="s3v4").list_objects(Bucket=bucket)["IsTruncated"] is False


run(globals())
