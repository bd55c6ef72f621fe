# server: SHERD_SIGV2=on
"""Signature version 2 where all of it is taken: in the headers of requests for the store, buckets and objects."""

import hashlib

from _support import ENDPOINT, SECRET_KEY, client, covers, fetch, refused, run, told


def old():
    return client(signature_version="s3")


def with_headers(operation, **headers):
    """A client that adds headers before it signs."""
    made = old()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    made.meta.events.register(f"before-call.s3.{operation}", lambda params, **_: params["headers"].update(named))
    return made


@covers("ListBuckets", "CreateBucket", "DeleteBucket", "PutObject", "GetObject", "ListObjects")
def test_every_level_is_reached(s3, bucket):
    two = old()
    assert bucket in [one["Name"] for one in two.list_buckets()["Buckets"]]
    two.put_object(Bucket=bucket, Key="a b", Body=b"by header", Metadata={"a": "1"})
    assert two.get_object(Bucket=bucket, Key="a b")["Body"].read() == b"by header"
    assert [one["Key"] for one in two.list_objects(Bucket=bucket, Prefix="a")["Contents"]] == ["a b"]
    two.create_bucket(Bucket=f"{bucket}-two")
    two.put_bucket_versioning(Bucket=f"{bucket}-two", VersioningConfiguration={"Status": "Enabled"})
    assert two.get_bucket_versioning(Bucket=f"{bucket}-two")["Status"] == "Enabled"
    two.head_bucket(Bucket=f"{bucket}-two")
    two.delete_bucket(Bucket=f"{bucket}-two")
    url = two.generate_presigned_url("list_objects", Params={"Bucket": bucket, "Prefix": "a"})
    status, _, body = fetch("GET", url.removeprefix(ENDPOINT))
    assert status == 200 and b"<Key>a" in body, (status, body)


@covers("PutObject", "CreateBucket")
def test_a_signature_is_of_now(s3, bucket):
    for date, code in [("Bad Date", "AccessDenied"), ("", "AccessDenied"),
                       ("Tue, 07 Jul 1950 21:53:04 GMT", "AccessDenied"),
                       ("Tue, 06 Jul 2010 21:53:04 GMT", "RequestTimeTooSkewed"),
                       ("Wed, 07 Jul 9999 21:53:04 GMT", "RequestTimeTooSkewed")]:
        refused(code, 403, with_headers("PutObject", x_amz_date=date).put_object, Bucket=bucket, Key="k", Body=b"x")
        refused(code, 403, with_headers("CreateBucket", x_amz_date=date).create_bucket, Bucket=f"{bucket}-never")
    refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key="k")
    refused("NoSuchBucket", 404, s3.head_bucket, Bucket=f"{bucket}-never")


@covers("PutObject")
def test_a_signature_that_is_none_or_wrong(s3, bucket):
    told(fetch("PUT", f"/{bucket}/k", {"Authorization": "AWS nonsense"}), 400, "InvalidArgument")
    date = {"Date": "Tue, 06 Jul 2010 21:53:04 GMT"}
    late = fetch("PUT", f"/{bucket}/k", {"Authorization": "AWS nobody:c2lnbmF0dXJl", **date})
    told(late, 403, "RequestTimeTooSkewed")
    wrong = client(("nobody", SECRET_KEY), signature_version="s3")
    refused("InvalidAccessKeyId", 403, wrong.put_object, Bucket=bucket, Key="k", Body=b"x")
    refused("InvalidDigest", 400, with_headers("PutObject", Content_MD5="nonsense").put_object, Bucket=bucket, Key="k",
            Body=b"x")


@covers("PutObject")
def test_a_payload_is_the_one_that_is_named(s3, bucket):
    put = lambda body, named: with_headers("PutObject", x_amz_content_sha256=named).put_object(
        Bucket=bucket, Key="k", Body=body)
    for body in [b"x", b"", b"x" * 100_000]:
        right = hashlib.sha256(body).hexdigest()
        for wrong in ["0" * 64, "invalid", "unsigned-payload"]:
            found = refused("XAmzContentSHA256Mismatch", 400, put, body, wrong)["Error"]
            assert (found["ClientComputedContentSHA256"], found["S3ComputedContentSHA256"]) == (wrong, right), found
        refused("404", 404, s3.head_object, Bucket=bucket, Key="k")
        for named in [right, right.upper(), "UNSIGNED-PAYLOAD"]:
            put(body, named)
        s3.delete_object(Bucket=bucket, Key="k")


run(globals())
