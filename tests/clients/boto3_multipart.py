"""Uploads in parts."""

import base64
import datetime
import hashlib
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from _support import ADDRESSING, PART, content, covers, pages, raw, refused, run, status_of


def tag_of(parts):
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'


def begin(s3, bucket, key="k", **named):
    return dict(Bucket=bucket, Key=key, UploadId=s3.create_multipart_upload(Bucket=bucket, Key=key, **named)["UploadId"])


def send(s3, upload, bodies, numbers=None):
    numbers = numbers or range(1, len(bodies) + 1)
    return [{"PartNumber": number, "ETag": s3.upload_part(PartNumber=number, Body=body, **upload)["ETag"]}
            for number, body in zip(numbers, bodies)]


def complete(s3, upload, parts, **named):
    return s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload, **named)


@covers("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
def test_m3_the_tag_is_the_same_everywhere(s3, bucket):
    bodies = [content(PART, 1), content(PART + 1, 2), content(99, 3)]
    upload = begin(s3, bucket, ContentType="text/x", Metadata={"a": "1"}, CacheControl="no-store")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    answer = complete(s3, upload, send(s3, upload, bodies, [2, 5, 7]))
    assert answer["ETag"] == tag_of(bodies) and answer["Bucket"] == bucket and answer["Key"] == "k"
    assert urllib.parse.urlsplit(answer["Location"]).path == (f"/{bucket}/k" if ADDRESSING == "path" else "/k")
    found = s3.get_object(Bucket=bucket, Key="k")
    assert found["Body"].read() == b"".join(bodies)
    assert (found["ContentType"], found["Metadata"], found["CacheControl"]) == ("text/x", {"a": "1"}, "no-store")
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    for tag in [found["ETag"], s3.head_object(Bucket=bucket, Key="k")["ETag"], listed["ETag"]]:
        assert tag == answer["ETag"]
    assert listed["Size"] == sum(map(len, bodies))


@covers("GetObject", "HeadObject")
def test_readers_count_parts_from_one(s3, bucket):
    upload = begin(s3, bucket)
    complete(s3, upload, send(s3, upload, [content(PART, 1), b"the end"], [7, 30]))
    assert s3.get_object(Bucket=bucket, Key="k", PartNumber=2)["Body"].read() == b"the end"
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=1)["ContentLength"] == PART
    refused("InvalidPartNumber", 416, s3.get_object, Bucket=bucket, Key="k", PartNumber=7)


@covers("GetObject", "HeadObject")
def test_a_part_without_bytes_counts(s3, bucket):
    upload = begin(s3, bucket)
    complete(s3, upload, send(s3, upload, [content(PART, 1), b""], [2, 3]))
    first = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert status_of(first) == 206 and first["PartsCount"] == 2 and first["Body"].read() == content(PART, 1)
    for ask in [s3.get_object, s3.head_object]:
        assert ask(Bucket=bucket, Key="k", PartNumber=2)["ContentLength"] == 0
    refused("InvalidPartNumber", 416, s3.get_object, Bucket=bucket, Key="k", PartNumber=3)
    upload = begin(s3, bucket)
    complete(s3, upload, send(s3, upload, [b""], [5]))
    assert s3.get_object(Bucket=bucket, Key="k", PartNumber=1)["Body"].read() == b""
    refused("InvalidPartNumber", 416, s3.get_object, Bucket=bucket, Key="k", PartNumber=5)


@covers("GetObject", "HeadObject")
def test_ranges_and_parts_of_an_object_of_parts(s3, bucket):
    bodies = [content(PART, 1), content(PART, 2), content(1234, 3)]
    whole = b"".join(bodies)
    upload = begin(s3, bucket)
    complete(s3, upload, send(s3, upload, bodies))
    for start, end in [(0, 1), (PART - 1, PART + 1), (PART - 100, 2 * PART + 100), (2 * PART, len(whole)), (7, 8)]:
        found = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={start}-{end - 1}")["Body"].read()
        assert found == whole[start:end], (start, end)
    assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=-2000")["Body"].read() == whole[-2000:]
    at = 0
    for number, body in enumerate(bodies, 1):
        found = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert found["Body"].read() == body and found["PartsCount"] == 3
        assert found["ContentRange"] == f"bytes {at}-{at + len(body) - 1}/{len(whole)}"
        head = s3.head_object(Bucket=bucket, Key="k", PartNumber=number)
        assert (head["ContentLength"], head["PartsCount"]) == (len(body), 3)
        assert head["ResponseMetadata"]["HTTPStatusCode"] == 206
        at += len(body)
    refused("InvalidPartNumber", 416, s3.get_object, Bucket=bucket, Key="k", PartNumber=4)
    refused("InvalidArgument", 400, s3.get_object, Bucket=bucket, Key="k", PartNumber=0)
    refused("InvalidArgument", 400, s3.get_object, Bucket=bucket, Key="k", PartNumber=10_001)


@covers("UploadPart", "ListParts")
def test_a_part_replaced_counts_once(s3, bucket):
    upload = begin(s3, bucket)
    send(s3, upload, [content(PART, 1)])
    parts = send(s3, upload, [content(PART, 2), b"end"])
    assert len(s3.list_parts(**upload)["Parts"]) == 2
    complete(s3, upload, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == content(PART, 2) + b"end"


@covers("CompleteMultipartUpload")
def test_parts_unlisted_at_completion_are_gone(s3, bucket):
    upload = begin(s3, bucket)
    parts = send(s3, upload, [content(PART, 1), content(PART, 2), b"x"])
    complete(s3, upload, [parts[0], parts[2]])
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == PART + 1
    refused("NoSuchUpload", 404, s3.list_parts, **upload)


@covers("CompleteMultipartUpload")
def test_what_completion_refuses(s3, bucket):
    upload = begin(s3, bucket)
    parts = send(s3, upload, [content(PART, 1), b"small", b"last"])
    wrong = {"PartNumber": 2, "ETag": '"0123456789abcdef0123456789abcdef"'}
    told = lambda error: (error["Error"]["UploadId"], error["Error"]["PartNumber"], error["Error"]["ETag"])
    bare = lambda part: part["ETag"].strip('"')
    found = refused("InvalidPart", 400, complete, s3, upload, [parts[0], wrong])
    assert told(found) == (upload["UploadId"], "2", bare(wrong))
    found = refused("InvalidPart", 400, complete, s3, upload, [parts[0], {"PartNumber": 9, "ETag": parts[0]["ETag"]}])
    assert told(found) == (upload["UploadId"], "9", bare(parts[0]))
    found = refused("InvalidPart", 400, complete, s3, upload, [parts[0], {"PartNumber": 2, "ETag": "none"}])["Error"]
    assert (found["UploadId"], found["PartNumber"], found["ETag"]) == (upload["UploadId"], "2", "none")
    found = refused("InvalidPartOrder", 400, complete, s3, upload, [parts[2], parts[0]])
    assert found["Error"]["UploadId"] == upload["UploadId"]
    refused("InvalidPartOrder", 400, complete, s3, upload, [parts[0], parts[0]])
    found = refused("EntityTooSmall", 400, complete, s3, upload, parts)["Error"]
    assert (found["ProposedSize"], found["MinSizeAllowed"]) == ("5", str(PART))
    assert (found["PartNumber"], found["ETag"]) == ("2", bare(parts[1]))
    refused("MalformedXML", 400, complete, s3, upload, [])
    for number in [-1, 0, 10_001]:
        refused("InvalidArgument", 400, complete, s3, upload, [{"PartNumber": number, "ETag": parts[0]["ETag"]}])
    refused("InvalidRequest", 400, complete, s3, upload, [parts[0], parts[2]], MpuObjectSize=-1)
    refused("NoSuchUpload", 404, complete, s3, dict(upload, UploadId="0" * 32), [parts[0]])
    found = refused("NoSuchUpload", 404, complete, s3, dict(upload, UploadId="nonsense"), [parts[0]])["Error"]
    assert found["UploadId"] == "nonsense" and found["Message"] == (
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
        "completed.")
    found = refused("InvalidRequest", 400, complete, s3, upload, [parts[0], parts[2]], MpuObjectSize=7)["Error"]
    assert found["Message"] == (
        f"The provided 'x-amz-mp-object-size' header value 7 does not match what was computed: {PART + 4}")
    complete(s3, upload, [parts[0], parts[2]], MpuObjectSize=PART + 4)


@covers("CompleteMultipartUpload")
def test_completion_may_be_repeated(s3, bucket):
    upload = begin(s3, bucket)
    parts = send(s3, upload, [content(PART, 1), b"x"])
    first = complete(s3, upload, parts)["ETag"]
    assert complete(s3, upload, parts)["ETag"] == first


@covers("CompleteMultipartUpload")
def test_conditions_on_completion(s3, bucket):
    tag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    upload = begin(s3, bucket)
    parts = send(s3, upload, [b"by parts"])
    found = refused("PreconditionFailed", 412, complete, s3, upload, parts, IfNoneMatch="*")
    assert found["Error"]["Condition"] == "If-None-Match"
    refused("PreconditionFailed", 412, complete, s3, upload, parts, IfMatch='"0123456789abcdef0123456789abcdef"')
    refused("PreconditionFailed", 412, complete, s3, upload, parts, IfNoneMatch=tag)
    complete(s3, upload, parts, IfMatch=tag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"by parts"
    upload = begin(s3, bucket)
    complete(s3, upload, send(s3, upload, [b"again"]), IfNoneMatch=tag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"again"


@covers("AbortMultipartUpload")
def test_aborted_uploads_are_gone(s3, bucket):
    upload = begin(s3, bucket)
    parts = send(s3, upload, [content(PART, 1)])
    s3.abort_multipart_upload(**upload)
    refused("NoSuchUpload", 404, s3.abort_multipart_upload, **upload)
    refused("NoSuchUpload", 404, s3.upload_part, PartNumber=1, Body=b"x", **upload)
    refused("NoSuchUpload", 404, complete, s3, upload, parts)
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="k")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@covers("AbortMultipartUpload")
def test_an_upload_is_aborted_only_if_it_was_begun_then(s3, bucket):
    for seconds, aborted in [(0, True), (-3600, False), (3600, True)]:
        upload = begin(s3, bucket)
        begun = s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["Initiated"]
        at = begun + datetime.timedelta(seconds=seconds)
        if aborted:
            s3.abort_multipart_upload(IfMatchInitiatedTime=at, **upload)
        else:
            refused("PreconditionFailed", 412, s3.abort_multipart_upload, IfMatchInitiatedTime=at, **upload)
            s3.abort_multipart_upload(**upload)
        assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@covers("UploadPart")
def test_bad_parts(s3, bucket):
    upload = begin(s3, bucket)
    for number in [0, 10_001, -1]:
        found = refused("InvalidArgument", 400, s3.upload_part, PartNumber=number, Body=b"x", **upload)["Error"]
        assert found["Message"] == "Part number must be an integer between 1 and 10000, inclusive"
    send(s3, upload, [b"x"], [10_000])
    wrong = base64.b64encode(b"0" * 16).decode()
    refused("BadDigest", 400, s3.upload_part, PartNumber=1, Body=b"x", ContentMD5=wrong, **upload)
    refused("NoSuchUpload", 404, s3.upload_part, PartNumber=1, Body=b"x", **dict(upload, UploadId="1" * 32))
    refused("NoSuchUpload", 404, s3.upload_part, PartNumber=1, Body=b"x", **dict(upload, Key="other"))
    assert [one["PartNumber"] for one in s3.list_parts(**upload)["Parts"]] == [10_000]


@covers("ListParts")
def test_parts_are_listed_in_pages(s3, bucket):
    upload = begin(s3, bucket)
    assert "NextPartNumberMarker" not in s3.list_parts(**upload)
    numbers = [1, 2, 5, 9, 10, 77]
    sent = send(s3, upload, [str(number).encode() for number in numbers], numbers)
    whole = s3.list_parts(**upload)
    assert [(one["PartNumber"], one["ETag"], one["Size"]) for one in whole["Parts"]] == [
        (part["PartNumber"], part["ETag"], len(str(part["PartNumber"]))) for part in sent]
    assert whole["StorageClass"] == "STANDARD" and whole["Owner"]["ID"] and whole["Initiator"]["ID"]
    assert (whole["IsTruncated"], whole["NextPartNumberMarker"]) == (False, 77)
    found, marker = [], 0
    for _ in pages():
        page = s3.list_parts(MaxParts=2, PartNumberMarker=marker, **upload)
        found += [one["PartNumber"] for one in page["Parts"]]
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    assert found == numbers
    assert "Parts" not in s3.list_parts(PartNumberMarker=77, **upload)
    refused("InvalidArgument", 400, s3.list_parts, MaxParts=-1, **upload)


@covers("ListMultipartUploads")
def test_uploads_are_listed_in_pages(s3, bucket):
    keys = ["a", "a", "b/1", "b/2", "c", "é"]
    uploads = sorted((key, begin(s3, bucket, key)["UploadId"]) for key in keys)

    def walk(**named):
        found, prefixes = [], []
        for _ in pages():
            page = s3.list_multipart_uploads(Bucket=bucket, **named)
            found += [(one["Key"], one["UploadId"]) for one in page.get("Uploads", [])]
            prefixes += [one["Prefix"] for one in page.get("CommonPrefixes", [])]
            if not page["IsTruncated"]:
                return found, prefixes
            named["KeyMarker"] = page["NextKeyMarker"]
            named["UploadIdMarker"] = page.get("NextUploadIdMarker", "")
    for size in [1, 2, 1000]:
        assert walk(MaxUploads=size) == (uploads, []), size
        assert walk(MaxUploads=size, Prefix="b/") == (uploads[2:4], []), size
        assert walk(MaxUploads=size, Delimiter="/") == (uploads[:2] + uploads[4:], ["b/"]), size
    assert walk(KeyMarker="a") == (uploads[2:], [])
    assert walk(KeyMarker="a", UploadIdMarker=uploads[0][1]) == (uploads[1:], [])
    one = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=1)["Uploads"][0]
    assert one["Initiated"] and one["Owner"]["ID"] and one["StorageClass"] == "STANDARD"
    refused("InvalidArgument", 400, s3.list_multipart_uploads, Bucket=bucket, KeyMarker="a", UploadIdMarker="x")
    alone = s3.list_multipart_uploads(Bucket=bucket, UploadIdMarker=uploads[2][1])
    assert (len(alone["Uploads"]), alone.get("UploadIdMarker", "")) == (len(uploads), "")
    assert s3.list_multipart_uploads(Bucket=bucket, Prefix="é", EncodingType="url")["Uploads"][0]["Key"] == "%C3%A9"


@covers("UploadPartCopy")
def test_parts_copied_from_objects(s3, bucket):
    data = content(PART + 1000)
    tag = s3.put_object(Bucket=bucket, Key="from", Body=data)["ETag"]
    source = f"{bucket}/from"
    upload = begin(s3, bucket)
    copy = lambda number, **named: s3.upload_part_copy(PartNumber=number, CopySource=source, **upload, **named)
    first = copy(1)["CopyPartResult"]
    assert first["ETag"] == tag and first["LastModified"]
    second = copy(2, CopySourceRange="bytes=10-109", CopySourceIfMatch=tag)["CopyPartResult"]
    for text in ["bytes=0-99999999", "bytes=5-1", "bytes=5-", "5-6"]:
        refused("InvalidArgument", 400, copy, 3, CopySourceRange=text)
    found = refused("InvalidRequest", 400, copy, 3, CopySourceRange="bytes=99999998-99999999")["Error"]
    assert found["Message"] == "The specified copy range is invalid for the source object size"
    refused("PreconditionFailed", 412, copy, 3, CopySourceIfNoneMatch=tag)
    error = refused("NoSuchKey", 404, s3.upload_part_copy, PartNumber=3, CopySource=f"{bucket}/absent", **upload)["Error"]
    assert error["Key"] == "absent"
    complete(s3, upload, [{"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": second["ETag"]}])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data + data[10:110]
    s3.copy_object(Bucket=bucket, Key="whole", CopySource=f"{bucket}/k")
    copied = s3.get_object(Bucket=bucket, Key="whole")
    body = copied["Body"].read()
    assert body == data + data[10:110] and copied["ETag"] == s3.head_object(Bucket=bucket, Key="k")["ETag"]


@covers("CompleteMultipartUpload")
def test_m1_completion_of_many_parts_is_quick(s3, bucket):
    upload = begin(s3, bucket)
    body = content(PART)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda number: {"PartNumber": number, "ETag": s3.upload_part(
            PartNumber=number, Body=body, **upload)["ETag"]}, range(1, 31)))
    begun = time.monotonic()
    complete(s3, upload, parts)
    assert time.monotonic() - begun < 1
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 30 * PART


@covers("GetObjectAttributes")
def test_attributes_of_objects(s3, bucket):
    names = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    s3.put_object(Bucket=bucket, Key="one", Body=b"12345", ChecksumAlgorithm="SHA1")
    found = s3.get_object_attributes(Bucket=bucket, Key="one", ObjectAttributes=names)
    assert found["ETag"] == hashlib.md5(b"12345").hexdigest() and found["ObjectSize"] == 5
    assert found["Checksum"]["ChecksumSHA1"] == base64.b64encode(hashlib.sha1(b"12345").digest()).decode()
    assert found["StorageClass"] == "STANDARD" and "ObjectParts" not in found and found["LastModified"]
    only = s3.get_object_attributes(Bucket=bucket, Key="one", ObjectAttributes=["ObjectSize"])
    assert "ETag" not in only and only["ObjectSize"] == 5
    upload = begin(s3, bucket, "parts", ChecksumAlgorithm="CRC32")
    bodies, parts = [content(PART, 1), content(PART, 2), b"x"], []
    for number, body in enumerate(bodies, 1):
        sent = s3.upload_part(PartNumber=number, Body=body, ChecksumAlgorithm="CRC32", **upload)
        parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC32": sent["ChecksumCRC32"]})
    whole = complete(s3, upload, parts)["ChecksumCRC32"]
    assert s3.head_object(Bucket=bucket, Key="parts", ChecksumMode="ENABLED")["ChecksumCRC32"] == whole
    found = s3.get_object_attributes(Bucket=bucket, Key="parts", ObjectAttributes=names)
    assert found["Checksum"] == {"ChecksumCRC32": whole.removesuffix("-3"), "ChecksumType": "COMPOSITE"}
    assert whole.endswith("-3") and found["ObjectParts"]["NextPartNumberMarker"] == 3
    found = s3.get_object_attributes(Bucket=bucket, Key="parts", ObjectAttributes=names, MaxParts=2)["ObjectParts"]
    assert (found["TotalPartsCount"], found["IsTruncated"], found["NextPartNumberMarker"]) == (3, True, 2)
    assert [(one["PartNumber"], one["Size"]) for one in found["Parts"]] == [(1, PART), (2, PART)]
    assert found["Parts"][0]["ChecksumCRC32"] == parts[0]["ChecksumCRC32"]
    rest = s3.get_object_attributes(Bucket=bucket, Key="parts", ObjectAttributes=names, PartNumberMarker=2)["ObjectParts"]
    assert [one["PartNumber"] for one in rest["Parts"]] == [3] and rest["IsTruncated"] is False
    refused("NoSuchKey", 404, s3.get_object_attributes, Bucket=bucket, Key="absent", ObjectAttributes=names)
    status, _, body = raw("GET", f"/{bucket}/one", query="attributes=", headers={"x-amz-object-attributes": "Colour"})
    assert (status, b"InvalidArgument" in body) == (400, True)


run(globals())
