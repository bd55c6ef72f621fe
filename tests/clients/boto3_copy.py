"""Copies: what they take along, what they may change, and between whom."""

import datetime
import hashlib
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from _support import (ALT, PART, account_id, another, anonymous, bucket_arn, client, content, covers, denied, objects_of,
                      policy, raw, refused, run, soon, told, versioned, with_acls)

HEADERS = dict(ContentType="text/x-from", CacheControl="no-store", ContentDisposition="inline", ContentLanguage="de",
               ContentEncoding="gzip")


def copy(s3, bucket, source, key="to", **named):
    return s3.copy_object(Bucket=bucket, Key=key, CopySource=source, **named)


def put(s3, bucket, key="from", body=b"x", **named):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **named)


def read(s3, bucket, key="to", **named):
    return s3.get_object(Bucket=bucket, Key=key, **named)["Body"].read()


@covers("CopyObject", "UploadPartCopy")
def test_a_source_names_its_version_and_nothing_else(s3, bucket):
    put(s3, bucket)
    put(s3, bucket, "with?mark")
    for parameters in ("nonsense", "versionId=null&x=y"):
        source = f"/{bucket}/from?{parameters}"
        told(raw("PUT", f"/{bucket}/to", headers={"x-amz-copy-source": source}), 400, "InvalidArgument")
    copy(s3, bucket, {"Bucket": bucket, "Key": "with?mark"})


@covers("CopyObject")
def test_a_copy_takes_everything_along(s3, bucket):
    expires = soon(100_000)
    tag = put(s3, bucket, Metadata={"a": "1", "b-c": "2"}, Expires=expires, Tagging="t=1", **HEADERS)["ETag"]
    answer = copy(s3, bucket, f"{bucket}/from")["CopyObjectResult"]
    assert answer["ETag"] == tag
    found = s3.head_object(Bucket=bucket, Key="to")
    assert {name: found[name] for name in HEADERS} == HEADERS and found["Metadata"] == {"a": "1", "b-c": "2"}
    assert found["ResponseMetadata"]["HTTPHeaders"]["expires"] == expires.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert found["LastModified"] == answer["LastModified"].replace(microsecond=0)
    assert s3.get_object_tagging(Bucket=bucket, Key="to")["TagSet"] == [{"Key": "t", "Value": "1"}]
    s3.delete_object(Bucket=bucket, Key="from")
    assert read(s3, bucket) == b"x"


@covers("CopyObject")
def test_metadata_is_taken_over_or_replaced_as_a_whole(s3, bucket):
    put(s3, bucket, Metadata={"a": "1"}, **HEADERS)
    copy(s3, bucket, f"{bucket}/from", MetadataDirective="REPLACE", Metadata={"b": "2"})
    found = s3.head_object(Bucket=bucket, Key="to")
    assert found["Metadata"] == {"b": "2"} and found["ContentType"] == "binary/octet-stream"
    assert not {"CacheControl", "ContentDisposition", "ContentLanguage", "ContentEncoding"} & set(found)
    copy(s3, bucket, f"{bucket}/from", MetadataDirective="COPY", Metadata={"ignored": "1"}, ContentType="text/ignored")
    found = s3.head_object(Bucket=bucket, Key="to")
    assert found["Metadata"] == {"a": "1"} and found["ContentType"] == "text/x-from"
    copy(s3, bucket, f"{bucket}/from", Metadata={"ignored": "1"})
    assert s3.head_object(Bucket=bucket, Key="to")["Metadata"] == {"a": "1"}
    copy(s3, bucket, f"{bucket}/from", MetadataDirective="REPLACE", ContentType="text/other")
    found = s3.head_object(Bucket=bucket, Key="to")
    assert (found["ContentType"], found["Metadata"]) == ("text/other", {})
    refused("InvalidArgument", 400, copy, s3, bucket, f"{bucket}/from", MetadataDirective="MERGE")


@covers("CopyObject")
def test_a_copy_onto_itself_must_change_something(s3, bucket):
    put(s3, bucket, Metadata={"a": "1"})
    onto = lambda **named: copy(s3, bucket, f"{bucket}/from", "from", **named)
    refused("InvalidRequest", 400, onto)
    refused("InvalidRequest", 400, onto, MetadataDirective="COPY")
    refused("InvalidRequest", 400, onto, TaggingDirective="REPLACE", Tagging="a=1")
    onto(MetadataDirective="REPLACE", Metadata={"b": "2"})
    assert s3.head_object(Bucket=bucket, Key="from")["Metadata"] == {"b": "2"}
    onto(MetadataDirective="REPLACE")
    assert s3.head_object(Bucket=bucket, Key="from")["Metadata"] == {}
    onto(WebsiteRedirectLocation="/elsewhere")
    assert s3.head_object(Bucket=bucket, Key="from")["WebsiteRedirectLocation"] == "/elsewhere"
    onto(ServerSideEncryption="AES256")
    found = s3.get_object(Bucket=bucket, Key="from")
    assert found["ServerSideEncryption"] == "AES256" and found["Body"].read() == b"x"


@covers("CopyObject")
def test_a_copy_onto_itself_may_change_nothing_where_the_bucket_encrypts(s3, bucket):
    put(s3, bucket)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    for _ in range(2):
        copy(s3, bucket, f"{bucket}/from", "from")
        found = s3.get_object(Bucket=bucket, Key="from")
        assert found["ServerSideEncryption"] == "AES256" and found["Body"].read() == b"x"
    s3.delete_bucket_encryption(Bucket=bucket)
    refused("InvalidRequest", 400, copy, s3, bucket, f"{bucket}/from", "from")


@covers("CopyObject", "UploadPartCopy")
def test_names_of_sources_in_every_form(s3, bucket):
    keys = ["plain", "a b+c%20", "ü/☃", "q?versionId=x", "a//b", "trail/", "#&=;"]
    upload = dict(Bucket=bucket, Key="parts", UploadId=s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"])
    for number, key in enumerate(keys, 1):
        put(s3, bucket, key, key.encode())
        quoted = urllib.parse.quote(key, safe="")
        for source in [f"{bucket}/{quoted}", f"/{bucket}/{quoted}", f"{bucket}%2F{quoted}"]:
            status, _, body = raw("PUT", f"/{bucket}/to", headers={"x-amz-copy-source": source})
            assert status == 200 and b"<CopyObjectResult" in body, (source, status, body)
            assert read(s3, bucket) == key.encode(), source
        assert s3.upload_part_copy(PartNumber=number, CopySource={"Bucket": bucket, "Key": key},
                                   **upload)["CopyPartResult"]["ETag"]
    parts = [{"PartNumber": 1, "ETag": s3.list_parts(**upload)["Parts"][0]["ETag"]}]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    assert read(s3, bucket, "parts") == b"plain"


@covers("CopyObject")
def test_sources_that_are_none(s3, bucket):
    for source in ["nonsense", "/", f"{bucket}/", "/k", "//k"]:
        status, _, body = raw("PUT", f"/{bucket}/to", headers={"x-amz-copy-source": source})
        assert status in (400, 404) and b"<Error><Code>" in body, (source, status, body)
    for source in [f"{bucket}/%ZZ", f"{bucket}/100%", "%/k", f"{bucket}/%C3%", "192.168.1.1/k", "b@cket/k", bucket,
                   f"{bucket}/"]:
        for query in ["", "partNumber=1&uploadId=nonsense"]:
            answer = raw("PUT", f"/{bucket}/to", query=query, headers={"x-amz-copy-source": source})
            told(answer, 400, "InvalidArgument")
    told(raw("PUT", f"/{bucket}/to", headers={"x-amz-copy-source": f"{bucket}/k?versionId="}), 400, "InvalidArgument")
    absent = raw("PUT", f"/{bucket}-absent/to", query="partNumber=1&uploadId=x", headers={"x-amz-copy-source": "nonsense"})
    told(absent, 404, "NoSuchBucket")
    absent = raw("PUT", f"/{bucket}/to", headers={"x-amz-copy-source": f"{bucket}/absent"})
    told(absent, 404, "NoSuchKey")
    assert absent[2].count(b"<Key>") == 1 and b"<Key>absent</Key>" in absent[2], absent
    told(raw("PUT", f"/{bucket}/to", headers={"x-amz-copy-source": f"{bucket}-absent/k"}), 404, "NoSuchBucket")
    refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key="to")


@covers("CopyObject")
def test_conditions_on_the_source_in_all_combinations(s3, bucket):
    tag = put(s3, bucket)["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="from")["LastModified"]
    before, after = modified - datetime.timedelta(hours=1), modified + datetime.timedelta(hours=1)
    for named, held in [
        (dict(CopySourceIfMatch=tag), True), (dict(CopySourceIfMatch=tag.strip('"')), True),
        (dict(CopySourceIfMatch='"other"'), False), (dict(CopySourceIfMatch="no_such_tag"), False),
        (dict(CopySourceIfNoneMatch="no_such_tag"), True),
        (dict(CopySourceIfNoneMatch='"other"'), True), (dict(CopySourceIfNoneMatch=tag), False),
        (dict(CopySourceIfModifiedSince=before), True), (dict(CopySourceIfModifiedSince=modified), False),
        (dict(CopySourceIfUnmodifiedSince=after), True), (dict(CopySourceIfUnmodifiedSince=before), False),
        (dict(CopySourceIfMatch=tag, CopySourceIfUnmodifiedSince=before), True),
        (dict(CopySourceIfMatch='"other"', CopySourceIfUnmodifiedSince=after), False),
        (dict(CopySourceIfNoneMatch=tag, CopySourceIfModifiedSince=before), False),
        (dict(CopySourceIfNoneMatch='"other"', CopySourceIfModifiedSince=before), True),
    ]:
        if held:
            copy(s3, bucket, f"{bucket}/from", **named)
            assert s3.delete_object(Bucket=bucket, Key="to")
        else:
            refused("PreconditionFailed", 412, copy, s3, bucket, f"{bucket}/from", **named)
            refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key="to")


@covers("CopyObject")
def test_conditions_on_the_destination(s3, bucket):
    put(s3, bucket)
    copy(s3, bucket, f"{bucket}/from", IfNoneMatch="*")
    refused("PreconditionFailed", 412, copy, s3, bucket, f"{bucket}/from", IfNoneMatch="*")
    tag = put(s3, bucket, "to", b"other")["ETag"]
    refused("PreconditionFailed", 412, copy, s3, bucket, f"{bucket}/from", IfMatch='"0123456789abcdef0123456789abcdef"')
    refused("PreconditionFailed", 412, copy, s3, bucket, f"{bucket}/from", IfNoneMatch=tag)
    assert read(s3, bucket) == b"other"
    copy(s3, bucket, f"{bucket}/from", IfMatch=tag)
    copy(s3, bucket, f"{bucket}/from", IfNoneMatch=tag)
    assert read(s3, bucket) == b"x"
    refused("NoSuchKey", 404, copy, s3, bucket, f"{bucket}/from", "absent", IfMatch=tag)


@covers("CopyObject", "GetObjectAttributes")
def test_checksums_of_copies(s3, bucket):
    put(s3, bucket, body=b"123456789", ChecksumAlgorithm="SHA256")
    kept = copy(s3, bucket, f"{bucket}/from")["CopyObjectResult"]["ChecksumSHA256"]
    assert kept == s3.head_object(Bucket=bucket, Key="from", ChecksumMode="ENABLED")["ChecksumSHA256"]
    changed = copy(s3, bucket, f"{bucket}/from", ChecksumAlgorithm="CRC32")["CopyObjectResult"]
    assert changed["ChecksumCRC32"] == "y/Q5Jg==" and "ChecksumSHA256" not in changed
    attributes = s3.get_object_attributes(Bucket=bucket, Key="to", ObjectAttributes=["Checksum"])
    assert attributes["Checksum"]["ChecksumCRC32"] == "y/Q5Jg=="


@covers("CopyObject")
def test_copies_between_buckets_of_every_kind(s3, bucket):
    kept = another(s3, bucket, "versioned")
    versioned(s3, kept)
    put(s3, bucket, body=b"1")
    first = copy(s3, kept, f"{bucket}/from")["VersionId"]
    put(s3, bucket, body=b"2")
    second = copy(s3, kept, f"{bucket}/from")["VersionId"]
    assert first != second and read(s3, kept, VersionId=first) == b"1" and read(s3, kept) == b"2"
    answer = copy(s3, bucket, {"Bucket": kept, "Key": "to", "VersionId": first}, "back")
    assert answer["CopySourceVersionId"] == first and "VersionId" not in answer
    assert read(s3, bucket, "back") == b"1"
    with_lock = another(s3, bucket, "lock", ObjectLockEnabledForBucket=True)
    copy(s3, with_lock, f"{bucket}/from", ObjectLockLegalHoldStatus="ON")
    assert s3.head_object(Bucket=with_lock, Key="to")["ObjectLockLegalHoldStatus"] == "ON"
    copy(s3, bucket, f"{with_lock}/to", "free")
    assert "ObjectLockLegalHoldStatus" not in s3.head_object(Bucket=bucket, Key="free")


@covers("CopyObject")
def test_copies_between_accounts(s3, bucket):
    other, name = client(ALT), f"{bucket}-alt"
    other.create_bucket(Bucket=name)
    try:
        put(s3, bucket)
        denied(copy, other, name, f"{bucket}/from")
        denied(copy, s3, name, f"{bucket}/from")
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(
            {"Principal": {"AWS": ALT.arn}, "Action": ["s3:GetObject", "s3:GetObjectTagging"],
             "Resource": objects_of(bucket)},
            {"Principal": {"AWS": ALT.arn}, "Action": "s3:ListBucket", "Resource": bucket_arn(bucket)}))
        copy(other, name, f"{bucket}/from")
        assert read(other, name) == b"x"
        refused("NoSuchKey", 404, copy, other, name, f"{bucket}/absent")
        assert other.list_objects_v2(Bucket=name, FetchOwner=True)["Contents"][0]["Owner"]["ID"] == ALT.canonical_id
        copy(other, name, f"{bucket}/from", ExpectedSourceBucketOwner=account_id(), ExpectedBucketOwner=ALT.id)
        denied(copy, other, name, f"{bucket}/from", ExpectedSourceBucketOwner=ALT.id)
        denied(copy, other, name, f"{bucket}/from", ExpectedBucketOwner=account_id())
    finally:
        other.delete_object(Bucket=name, Key="to")
        other.delete_bucket(Bucket=name)


@covers("CopyObject")
def test_what_the_public_may_read_others_may_copy(s3, bucket):
    name = with_acls(s3, bucket)
    put(s3, name, ACL="public-read"), put(s3, name, "private")
    denied(copy, anonymous(), name, f"{name}/from")
    other = client(ALT)
    own = f"{bucket}-alt"
    other.create_bucket(Bucket=own)
    try:
        copy(other, own, f"{name}/from")
        denied(copy, other, own, f"{name}/private")
        assert read(other, own) == b"x"
    finally:
        other.delete_object(Bucket=own, Key="to")
        other.delete_bucket(Bucket=own)


@covers("CopyObject", "UploadPartCopy")
def test_large_objects_are_copied_whole_and_by_parts(s3, bucket):
    data = content(3 * PART + 17)
    upload = dict(Bucket=bucket, Key="from", UploadId=s3.create_multipart_upload(
        Bucket=bucket, Key="from", Metadata={"a": "1"})["UploadId"])
    parts = [{"PartNumber": n + 1, "ETag": s3.upload_part(
        PartNumber=n + 1, Body=data[n * PART:(n + 1) * PART], **upload)["ETag"]} for n in range(4)]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    answer = copy(s3, bucket, f"{bucket}/from")
    assert read(s3, bucket) == data and s3.head_object(Bucket=bucket, Key="to")["Metadata"] == {"a": "1"}
    # The copy is of the very same parts, and so is its tag.
    assert answer["CopyObjectResult"]["ETag"] == s3.head_object(Bucket=bucket, Key="from")["ETag"]
    upload = dict(Bucket=bucket, Key="by parts",
                  UploadId=s3.create_multipart_upload(Bucket=bucket, Key="by parts")["UploadId"])
    ranges = [(0, PART), (PART, 2 * PART), (2 * PART, len(data))]
    send = lambda number: {"PartNumber": number, "ETag": s3.upload_part_copy(
        PartNumber=number, CopySource=f"{bucket}/from",
        CopySourceRange=f"bytes={ranges[number - 1][0]}-{ranges[number - 1][1] - 1}", **upload)["CopyPartResult"]["ETag"]}
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(send, range(1, 4)))
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    assert read(s3, bucket, "by parts") == data


@covers("UploadPartCopy")
def test_parts_that_are_copied_wrongly(s3, bucket):
    put(s3, bucket, body=content(1000))
    upload = dict(Bucket=bucket, Key="k", UploadId=s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"])
    part = lambda **named: s3.upload_part_copy(**{"PartNumber": 1, "CopySource": f"{bucket}/from", **upload, **named})
    refused("InvalidRequest", 400, part, CopySourceRange="bytes=1000-1001")
    for text in ["bytes=0-1000", "bytes=5-4", "bytes=-5", "bytes=0-", "0-5", "bytes=0-1,3-4", "bytes=a-b"]:
        refused(("InvalidArgument", "InvalidRange"), (400, 416), part, CopySourceRange=text)
    refused("NoSuchUpload", 404, part, UploadId="0" * 32)
    refused("InvalidArgument", 400, part, PartNumber=0)
    refused("NoSuchBucket", 404, part, CopySource=f"{bucket}-absent/from")
    assert "Parts" not in s3.list_parts(**upload)
    part(CopySourceRange="bytes=999-999")
    assert s3.list_parts(**upload)["Parts"][0]["Size"] == 1


@covers("CopyObject")
def test_a_copy_of_what_is_being_overwritten_is_one_or_the_other(s3, bucket):
    bodies = [content(700_000, n) for n in range(2)]
    put(s3, bucket, body=bodies[0])
    with ThreadPoolExecutor(8) as pool:
        writes = [pool.submit(put, s3, bucket, "from", bodies[n % 2]) for n in range(12)]
        copies = [pool.submit(copy, s3, bucket, f"{bucket}/from", f"to {n}") for n in range(12)]
        for one in writes + copies:
            one.result()
    for n in range(12):
        assert read(s3, bucket, f"to {n}") in bodies, n


run(globals())
