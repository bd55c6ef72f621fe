"""What S3 has for directory buckets and this store for all: appending to objects, and renaming them."""

import base64
import datetime
import hashlib
import urllib.parse
import zlib
from concurrent.futures import ThreadPoolExecutor

from _support import (ALT, PART, bucket_arn, client, content, covers, denied, follow, objects_of, policy, raw, refused,
                      run, status_of, told)
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest


def append(s3, bucket, at, body, key="k", **named):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, WriteOffsetBytes=at, **named)


def put(s3, bucket, key="k", body=b"x", **named):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **named)


def read(s3, bucket, key="k", **named):
    return s3.get_object(Bucket=bucket, Key=key, **named)["Body"].read()


def rename(s3, bucket, source, key, **named):
    return s3.rename_object(Bucket=bucket, Key=key, RenameSource=urllib.parse.quote(source, safe="/"), **named)


def keys(s3, bucket):
    return [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


@covers("PutObject")
def test_an_object_grows_by_what_is_appended(s3, bucket):
    whole, tags = b"", set()
    for number, length in enumerate([0, 1, 100, 16 << 10, (256 << 10) + 1, 1 << 20, 7]):
        piece = content(length, number)
        answer = append(s3, bucket, len(whole), piece)
        whole += piece
        assert answer["Size"] == len(whole)
        found = s3.get_object(Bucket=bucket, Key="k")
        assert found["Body"].read() == whole and found["ETag"] == answer["ETag"]
        listed = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
        assert (listed["Size"], listed["ETag"]) == (len(whole), answer["ETag"])
        tags.add(answer["ETag"])
    assert len(tags) >= 6
    for start, end in [(0, 2), (100, 102), (16_000, 17_000), (len(whole) - 9, len(whole)), (1, len(whole))]:
        assert read(s3, bucket, Range=f"bytes={start}-{end - 1}") == whole[start:end], (start, end)


@covers("PutObject")
def test_an_append_must_meet_the_end(s3, bucket):
    refused("InvalidWriteOffset", 400, append, s3, bucket, 1, b"x")
    refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key="k")
    append(s3, bucket, 0, b"12345")
    for at in [0, 4, 6, 1 << 40]:
        refused("InvalidWriteOffset", 400, append, s3, bucket, at, b"x")
    for text in ["-1", "abc", "", "5.0"]:
        status, _, body = raw("PUT", f"/{bucket}/k", headers={"x-amz-write-offset-bytes": text}, body=b"x")
        assert status == 400 and b"<Error><Code>" in body, (text, status, body)
    assert read(s3, bucket) == b"12345"
    append(s3, bucket, 5, b"6")
    assert read(s3, bucket) == b"123456"
    refused("NoSuchBucket", 404, append, s3, bucket + "-absent", 0, b"x")


@covers("PutObject")
def test_headers_are_those_that_the_object_was_made_with(s3, bucket):
    put(s3, bucket, body=b"1", ContentType="text/plain", Metadata={"a": "1"}, CacheControl="no-store")
    append(s3, bucket, 1, b"2")
    found = s3.get_object(Bucket=bucket, Key="k")
    assert (found["ContentType"], found["Metadata"], found["CacheControl"], found["Body"].read()) == (
        "text/plain", {"a": "1"}, "no-store", b"12")


@covers("PutObject", "CompleteMultipartUpload")
def test_objects_of_parts_grow_too(s3, bucket):
    upload = dict(Bucket=bucket, Key="k", UploadId=s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"])
    bodies = [content(PART, 1), content(1000, 2)]
    parts = [{"PartNumber": n, "ETag": s3.upload_part(PartNumber=n, Body=body, **upload)["ETag"]}
             for n, body in enumerate(bodies, 1)]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    answer = append(s3, bucket, PART + 1000, content(300_000, 3))
    assert answer["Size"] == PART + 301_000
    assert read(s3, bucket) == b"".join(bodies) + content(300_000, 3)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    assert read(s3, bucket, "copy") == b"".join(bodies) + content(300_000, 3)


@covers("PutObject", "GetObject", "GetObjectAttributes")
def test_what_is_appended_is_the_last_part(s3, bucket):
    upload = dict(Bucket=bucket, Key="k", UploadId=s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"])
    numbers = {5: content(PART, 1), 9: content(1000, 2)}
    parts = [{"PartNumber": n, "ETag": s3.upload_part(PartNumber=n, Body=body, **upload)["ETag"]}
             for n, body in numbers.items()]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    append(s3, bucket, PART + 1000, b"ten")
    append(s3, bucket, PART + 1003, b"eleven")
    for number, body in enumerate([*numbers.values(), b"ten", b"eleven"], 1):
        found = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert found["Body"].read() == body and found["PartsCount"] == 4, number
    listed = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts", "ObjectSize"])
    assert (listed["ObjectParts"]["TotalPartsCount"], listed["ObjectSize"]) == (4, PART + 1009)


@covers("RenameObject")
def test_an_object_whose_key_the_client_has_is_renamed_with_it(s3, bucket):
    key = dict(SSECustomerAlgorithm="AES256", SSECustomerKey=b"k" * 32)
    put(s3, bucket, "a", content(100_000), **key)
    encode = lambda data: base64.b64encode(data).decode()
    prefix = "x-amz-server-side-encryption-customer"
    for secret, expected in [(b"o" * 32, [400, 403]), (b"k" * 32, [200])]:
        headers = {"x-amz-rename-source": "a", f"{prefix}-algorithm": "AES256", f"{prefix}-key": encode(secret),
                   f"{prefix}-key-md5": encode(hashlib.md5(secret).digest())}
        status, _, body = raw("PUT", f"/{bucket}/b", query="renameObject=", headers=headers)
        assert status in expected, (status, body)
    assert keys(s3, bucket) == ["b"] and read(s3, bucket, "b", **key) == content(100_000)


@covers("PutObject")
def test_what_is_appended_is_verified(s3, bucket):
    crc = lambda data: base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    digest = lambda data: base64.b64encode(hashlib.md5(data).digest()).decode()
    append(s3, bucket, 0, b"12345")
    refused("BadDigest", 400, append, s3, bucket, 5, b"67890", ChecksumCRC32=crc(b"other"))
    refused("BadDigest", 400, append, s3, bucket, 5, b"67890", ContentMD5=digest(b"other"))
    assert read(s3, bucket) == b"12345"
    append(s3, bucket, 5, b"67", ChecksumCRC32=crc(b"67"))
    append(s3, bucket, 7, b"890", ContentMD5=digest(b"890"))
    assert read(s3, bucket) == b"1234567890"


@covers("PutObject")
def test_of_appends_at_the_same_end_one_wins(s3, bucket):
    append(s3, bucket, 0, b"0" * 10)

    def attempt(number):
        try:
            return append(s3, bucket, 10, str(number).zfill(10).encode())["Size"]
        except s3.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] in ("InvalidWriteOffset", "ConditionalRequestConflict"), error
    with ThreadPoolExecutor(10) as pool:
        sizes = [size for size in pool.map(attempt, range(40)) if size]
    assert sizes == [20]
    assert len(read(s3, bucket)) == 20


@covers("PutObject")
def test_many_small_appends(s3, bucket):
    whole = b""
    for number in range(300):
        line = f"line {number}\n".encode()
        assert append(s3, bucket, len(whole), line)["Size"] == len(whole) + len(line)
        whole += line
    assert read(s3, bucket) == whole
    put(s3, bucket, body=b"new")
    append(s3, bucket, 3, b"er")
    assert read(s3, bucket) == b"newer"


@covers("PutObject")
def test_a_reader_sees_the_object_before_or_after_an_append(s3, bucket):
    append(s3, bucket, 0, content(1 << 20, 1))
    body = s3.get_object(Bucket=bucket, Key="k")["Body"]
    head = body.read(10_000)
    append(s3, bucket, 1 << 20, content(1 << 20, 2))
    assert head + body.read() == content(1 << 20, 1)
    assert read(s3, bucket) == content(1 << 20, 1) + content(1 << 20, 2)


@covers("PutObject", "CopyObject")
def test_a_copy_stays_as_it_is_when_its_source_grows(s3, bucket):
    append(s3, bucket, 0, content(100_000, 1))
    append(s3, bucket, 100_000, content(1000, 2))
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    append(s3, bucket, 101_000, b"of k")
    append(s3, bucket, 101_000, b"of the copy", key="copy")
    both = content(100_000, 1) + content(1000, 2)
    assert read(s3, bucket) == both + b"of k" and read(s3, bucket, "copy") == both + b"of the copy"
    s3.delete_object(Bucket=bucket, Key="k")
    assert read(s3, bucket, "copy") == both + b"of the copy"


@covers("PutObject", "HeadObject")
def test_the_checksum_of_what_grew_is_of_the_whole(s3, bucket):
    whole = b""
    for number, length in enumerate([10, 20_000, 300_000]):
        whole += content(length, number)
        append(s3, bucket, len(whole) - length, content(length, number), ChecksumAlgorithm="CRC32")
        found = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        expected = base64.b64encode(zlib.crc32(whole).to_bytes(4, "big")).decode()
        assert (found["ChecksumCRC32"], found["ChecksumType"]) == (expected, "FULL_OBJECT")
    append(s3, bucket, len(whole), b"x", ChecksumAlgorithm="SHA256")
    found = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert "ChecksumCRC32" not in found and "ChecksumSHA256" not in found and found["ContentLength"] == len(whole) + 1


@covers("PutObject")
def test_an_append_keeps_to_its_conditions(s3, bucket):
    tag = append(s3, bucket, 0, b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", 412, append, s3, bucket, 1, b"2", IfNoneMatch="*")
    refused("PreconditionFailed", 412, append, s3, bucket, 1, b"2", IfNoneMatch=tag)
    later = append(s3, bucket, 1, b"2", IfMatch=tag)["ETag"]
    refused("PreconditionFailed", 412, append, s3, bucket, 2, b"3", IfMatch=tag)
    append(s3, bucket, 2, b"3", IfMatch=later)
    refused("InvalidRequest", 400, append, s3, bucket, 3, b"4", Tagging="a=b")
    assert read(s3, bucket) == b"123" and append(s3, bucket, 3, b"")["Size"] == 3


@covers("PutObject", "RenameObject")
def test_encrypted_objects_grow_and_are_renamed(s3, bucket):
    key = dict(SSECustomerAlgorithm="AES256", SSECustomerKey=b"k" * 32)
    for name, sealed, asked in [("s3", dict(ServerSideEncryption="AES256"), {}),
                                ("kms", dict(ServerSideEncryption="aws:kms"), {}), ("own", key, key)]:
        for length in [10, 100_000]:
            whole = content(length, 1)
            put(s3, bucket, name, whole, **sealed)
            for number, more in enumerate([1, 30_000, 200_000]):
                answer = append(s3, bucket, len(whole), content(more, number), key=name, **asked)
                whole += content(more, number)
                assert answer["Size"] == len(whole)
                assert answer.get("ServerSideEncryption") == sealed.get("ServerSideEncryption")
                assert read(s3, bucket, name, **asked) == whole
            refused("EncryptionTypeMismatch", 400, append, s3, bucket, len(whole), b"x", key=name,
                    **(dict(ServerSideEncryption="aws:kms:dsse") if name != "own" else {}))
            if name == "own":
                refused("InvalidRequest", 400, rename, s3, bucket, name, "other")
            else:
                rename(s3, bucket, name, "other")
                found = s3.get_object(Bucket=bucket, Key="other")
                assert found["Body"].read() == whole and found["ServerSideEncryption"] == sealed["ServerSideEncryption"]
                append(s3, bucket, len(whole), b"end", key="other")
                assert read(s3, bucket, "other") == whole + b"end"


@covers("PutObject", "RenameObject")
def test_where_versions_are_kept_nothing_is_appended_or_renamed(s3, bucket):
    put(s3, bucket)
    for status in ["Enabled", "Suspended"]:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        refused("InvalidRequest", 400, append, s3, bucket, 1, b"y")
        refused("InvalidRequest", 400, append, s3, bucket, 0, b"y", key="new")
        refused("InvalidRequest", 400, rename, s3, bucket, "k", "other")
    assert keys(s3, bucket) == ["k"] and read(s3, bucket) == b"x"


@covers("RenameObject")
def test_a_renamed_object_keeps_everything_but_its_name(s3, bucket):
    for key, body in [("small", content(100)), ("large", content(3_000_000))]:
        put(s3, bucket, key, body, Metadata={"a": "1"}, ContentType="text/x", ChecksumAlgorithm="SHA256", Tagging="t=1")
        before = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert status_of(rename(s3, bucket, key, f"dir/new {key} ü")) == 200
        after = s3.get_object(Bucket=bucket, Key=f"dir/new {key} ü", ChecksumMode="ENABLED")
        assert after["Body"].read() == body
        for field in ["ETag", "Metadata", "ContentType", "LastModified", "ChecksumSHA256"]:
            assert before[field] == after[field], field
        assert s3.get_object_tagging(Bucket=bucket, Key=f"dir/new {key} ü")["TagSet"] == [{"Key": "t", "Value": "1"}]
        refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key=key)
    assert keys(s3, bucket) == ["dir/new large ü", "dir/new small ü"]


@covers("RenameObject")
def test_renames_that_cannot_be(s3, bucket):
    put(s3, bucket, "a"), put(s3, bucket, "dir/")
    refused("NoSuchKey", 404, rename, s3, bucket, "absent", "b")
    refused("NoSuchBucket", 404, rename, s3, bucket + "-absent", "a", "b")
    refused("KeyTooLongError", 400, rename, s3, bucket, "a", "k" * 1025)
    refused(("InvalidRequest", "InvalidArgument"), 400, rename, s3, bucket, "dir/", "other")
    refused(("InvalidRequest", "InvalidArgument"), 400, rename, s3, bucket, "a", "other/")
    status, _, body = raw("PUT", f"/{bucket}/b", query="renameObject=")
    assert status == 400 and b"<Error><Code>" in body, (status, body)
    assert keys(s3, bucket) == ["a", "dir/"]


@covers("RenameObject")
def test_a_rename_has_no_options_of_new_objects(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    source = {"x-amz-rename-source": "a"}
    for name, value in [("x-amz-tagging", "reviewed=yes"), ("x-amz-acl", "public-read"), ("x-amz-storage-class", "STANDARD"),
                        ("x-amz-grant-read", "id=1"), ("x-amz-object-lock-legal-hold", "ON")]:
        status, _, body = raw("PUT", f"/{bucket}/b", query="renameObject=", headers={**source, name: value})
        assert status == 400 and b"<Code>InvalidRequest</Code>" in body, (name, body)
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a"]


@covers("RenameObject")
def test_a_rename_replaces_what_has_the_name_unless_forbidden(s3, bucket):
    put(s3, bucket, "a", b"a"), put(s3, bucket, "b", b"b")
    refused("PreconditionFailed", 412, rename, s3, bucket, "a", "b", DestinationIfNoneMatch="*")
    assert keys(s3, bucket) == ["a", "b"] and read(s3, bucket, "b") == b"b"
    rename(s3, bucket, "a", "b")
    assert keys(s3, bucket) == ["b"] and read(s3, bucket, "b") == b"a"
    rename(s3, bucket, "b", "c", DestinationIfNoneMatch="*")
    assert keys(s3, bucket) == ["c"]


@covers("RenameObject")
def test_conditions_on_both_names(s3, bucket):
    tags = {key: put(s3, bucket, key, key.encode())["ETag"] for key in ["a", "b"]}
    modified = s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    hour = datetime.timedelta(hours=1)
    for named in [dict(SourceIfMatch=tags["b"]), dict(SourceIfNoneMatch=tags["a"]),
                  dict(SourceIfUnmodifiedSince=modified - hour),
                  dict(SourceIfModifiedSince=modified), dict(DestinationIfMatch=tags["a"]),
                  dict(DestinationIfNoneMatch="*"), dict(DestinationIfUnmodifiedSince=modified - hour)]:
        refused("PreconditionFailed", 412, rename, s3, bucket, "a", "b", **named)
        assert keys(s3, bucket) == ["a", "b"], named
    for named in [dict(SourceIfMatch=tags["a"]), dict(SourceIfNoneMatch=tags["b"]),
                  dict(SourceIfUnmodifiedSince=modified + hour),
                  dict(SourceIfModifiedSince=modified - hour), dict(DestinationIfMatch=tags["b"]),
                  dict(DestinationIfUnmodifiedSince=modified + hour)]:
        rename(s3, bucket, "a", "b", **named)
        assert keys(s3, bucket) == ["b"] and read(s3, bucket, "b") == b"a", named
        put(s3, bucket, "a", b"a"), put(s3, bucket, "b", b"b")


@covers("RenameObject")
def test_a_rename_that_is_repeated_with_its_token_happened_once(s3, bucket):
    put(s3, bucket, "a", b"a")
    for _ in range(3):
        rename(s3, bucket, "a", "b", ClientToken="once")
    assert keys(s3, bucket) == ["b"]
    put(s3, bucket, "a", b"new")
    rename(s3, bucket, "a", "b", ClientToken="once")
    assert keys(s3, bucket) == ["a", "b"] and read(s3, bucket, "b") == b"a"
    refused(("IdempotentParameterMismatch", "IdempotencyParameterMismatch"), 400, rename, s3, bucket, "a", "c",
            ClientToken="once")
    rename(s3, bucket, "a", "c", ClientToken="another")
    assert keys(s3, bucket) == ["b", "c"]


@covers("RenameObject")
def test_of_racing_renames_one_finds_the_object(s3, bucket):
    put(s3, bucket, "a", b"a")

    def attempt(number):
        try:
            return rename(s3, bucket, "a", f"b{number}")
        except s3.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "NoSuchKey", error
    with ThreadPoolExecutor(10) as pool:
        assert sum(bool(one) for one in pool.map(attempt, range(20))) == 1
    assert len(keys(s3, bucket)) == 1 and read(s3, bucket, keys(s3, bucket)[0]) == b"a"


@covers("RenameObject")
def test_others_rename_what_they_may_read_write_and_delete(s3, bucket):
    put(s3, bucket, "a", b"a")
    other = client(ALT)
    allow = lambda *actions: s3.put_bucket_policy(Bucket=bucket, Policy=policy(
        {"Principal": {"AWS": ALT.arn}, "Action": [*actions, "s3:ListBucket"],
         "Resource": [objects_of(bucket), bucket_arn(bucket)]}))
    denied(rename, other, bucket, "a", "b")
    allow("s3:PutObject")
    denied(rename, other, bucket, "a", "b")
    allow("s3:PutObject", "s3:GetObject", "s3:DeleteObject")
    rename(other, bucket, "a", "b")
    assert keys(s3, bucket) == ["b"]


@covers("PutObject")
def test_who_may_not_read_does_not_append(s3, bucket):
    """The answer has the entity tag and checksum of the whole."""
    put(s3, bucket, body=b"secret")
    other = client(ALT)
    allow = lambda *actions: s3.put_bucket_policy(Bucket=bucket, Policy=policy(
        {"Principal": {"AWS": ALT.arn}, "Action": [*actions], "Resource": objects_of(bucket)}))
    allow("s3:PutObject")
    denied(append, other, bucket, 6, b"")
    allow("s3:PutObject", "s3:GetObject")
    append(other, bucket, 6, b"!")
    assert read(s3, bucket) == b"secret!"


@covers("PutObject", "DeleteObject")
def test_headers_in_a_presigned_url_apply_or_are_refused(s3, bucket):
    """As presigners put them there that move all `x-amz-` headers into the query."""
    def url(method, **headers):
        request = AWSRequest(method, f"{s3.meta.endpoint_url}/{bucket}/k", params=headers)
        if s3.meta.config.s3["addressing_style"] == "virtual":
            where = urllib.parse.urlsplit(s3.meta.endpoint_url)
            request.url = f"{where.scheme}://{bucket}.{where.netloc}/k"
        S3SigV4QueryAuth(s3._request_signer._credentials, "s3", "us-east-1", expires=60).add_auth(request)
        return request.prepare().url

    put(s3, bucket, body=b"12345")
    at = lambda offset: url("PUT", **{"x-amz-write-offset-bytes": offset})
    assert follow(at("3"), "PUT", body=b"67")[0] == 400 and read(s3, bucket) == b"12345"
    assert follow(at("5"), "PUT", body=b"67")[0] == 200 and read(s3, bucket) == b"1234567"
    told(follow(url("DELETE", **{"x-amz-if-match-size": "5"}), "DELETE"), 412, "PreconditionFailed")
    copy = url("PUT", **{"x-amz-copy-source": f"{bucket}/k"})
    told(follow(copy, "PUT"), 501, "NotImplemented")
    assert read(s3, bucket) == b"1234567"


run(globals())
