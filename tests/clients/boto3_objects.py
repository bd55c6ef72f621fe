"""Objects: what is stored comes back; conditions; ranges; copies; deletes."""

import datetime
import hashlib
import io
import urllib.parse

from _support import PART, content, covers, raw, refused, run, soon
from concurrent.futures import ThreadPoolExecutor


@covers("PutObject", "GetObject", "HeadObject")
def test_every_size_comes_back_identical(s3, bucket):
    for length in [0, 1, 100, 16 << 10, (16 << 10) + 1, 256 << 10, (256 << 10) + 1, 1 << 20, (4 << 20) + 13]:
        data = content(length, length + 1)
        answer = s3.put_object(Bucket=bucket, Key=f"of {length}", Body=data)
        assert answer["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
        found = s3.get_object(Bucket=bucket, Key=f"of {length}")
        assert found["Body"].read() == data and found["ContentLength"] == length and found["ETag"] == answer["ETag"]
        assert s3.head_object(Bucket=bucket, Key=f"of {length}")["ContentLength"] == length


@covers("PutObject", "GetObject")
def test_keys_of_every_kind(s3, bucket):
    keys = ["a", "/lead", "trail/", "a//b", "..", "../up", "a b+c%20", "ключ/鍵/🔑", "q?x=1&y", "#hash", "*()'!@:;,=$",
            "\\back", "~tilde", "k" * 1024, "é" * 512]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in keys:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode(), key
    listed = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(keys, key=lambda key: key.encode())
    refused("KeyTooLongError", 400, s3.put_object, Bucket=bucket, Key="k" * 1025, Body=b"")


@covers("PutObject", "GetObject", "HeadObject")
def test_headers_and_metadata_come_back(s3, bucket):
    expires = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.timezone.utc)
    sent = dict(ContentType="text/x-test", ContentEncoding="gzip", ContentLanguage="de", CacheControl="no-cache",
                ContentDisposition='attachment; filename="x"', WebsiteRedirectLocation="/elsewhere",
                Metadata={"one": "1", "two-words": "a b"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Expires=expires, StorageClass="STANDARD", **sent)
    for found in [s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")]:
        assert {name: found[name] for name in sent} == sent
        assert found["ResponseMetadata"]["HTTPHeaders"]["expires"] == "Tue, 06 May 2031 07:08:09 GMT"
        assert found["AcceptRanges"] == "bytes"
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    assert s3.head_object(Bucket=bucket, Key="plain")["ContentType"] == "binary/octet-stream"
    error = refused("InvalidStorageClass", 400, s3.put_object, Bucket=bucket, Key="k", Body=b"x", StorageClass="GLACIER")
    assert error["Error"]["StorageClassRequested"] == "GLACIER"
    s3.put_object(Bucket=bucket, Key="m", Body=b"x", Metadata={"n": "v" * 2047})
    refused("MetadataTooLarge", 400, s3.put_object, Bucket=bucket, Key="m", Body=b"x", Metadata={"n": "v" * 2048})


@covers("PutObject", "CopyObject", "CreateMultipartUpload")
def test_content_headers_are_bounded_together(s3, bucket):
    sent = {"ContentDisposition": "d" * 4000, "CacheControl": "c" * 4000}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **sent)
    found = s3.head_object(Bucket=bucket, Key="k")
    assert {name: found[name] for name in sent} == sent
    source = {"Bucket": bucket, "Key": "k"}
    for much in [{"ContentDisposition": "d" * 9000},
                 {"ContentEncoding": "e" * 3000, "ContentLanguage": "l" * 3000, "CacheControl": "c" * 3000}]:
        too_large = lambda call, **named: refused("RequestHeaderSectionTooLarge", 400, call, Bucket=bucket, **named, **much)
        too_large(s3.put_object, Key="large", Body=b"x")
        too_large(s3.put_object, Key="large", Body=b"x", WriteOffsetBytes=0)
        too_large(s3.copy_object, Key="large", CopySource=source, MetadataDirective="REPLACE")
        too_large(s3.create_multipart_upload, Key="large")
    refused("404", 404, s3.head_object, Bucket=bucket, Key="large")


@covers("PutObject", "CopyObject", "CreateMultipartUpload", "ListObjectsV2", "ListObjectVersions", "ListParts",
        "ListMultipartUploads", "GetObjectAttributes")
def test_the_storage_class_is_told_as_it_was_asked_for(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="STANDARD_IA")
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == "STANDARD_IA"
    assert s3.get_object(Bucket=bucket, Key="k")["StorageClass"] == "STANDARD_IA"
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["StorageClass"])
    assert attributes["StorageClass"] == "STANDARD_IA"
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="copy"), "a copy is of the standard class"
    s3.copy_object(Bucket=bucket, Key="k", CopySource=source, StorageClass="ONEZONE_IA", MetadataDirective="COPY")
    listed = {one["Key"]: one["StorageClass"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert listed == {"copy": "STANDARD", "k": "ONEZONE_IA"}
    versions = {one["Key"]: one["StorageClass"] for one in s3.list_object_versions(Bucket=bucket)["Versions"]}
    assert versions == listed
    at = {"Bucket": bucket, "Key": "parts"}
    upload = s3.create_multipart_upload(StorageClass="REDUCED_REDUNDANCY", **at)["UploadId"]
    part = s3.upload_part(PartNumber=1, UploadId=upload, Body=b"x", **at)
    assert s3.list_parts(UploadId=upload, **at)["StorageClass"] == "REDUCED_REDUNDANCY"
    assert s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["StorageClass"] == "REDUCED_REDUNDANCY"
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    s3.complete_multipart_upload(UploadId=upload, MultipartUpload=parts, **at)
    assert s3.head_object(**at)["StorageClass"] == "REDUCED_REDUNDANCY"


@covers("GetObject")
def test_a_reader_may_override_headers(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain", CacheControl="no-store")
    found = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="a/b", ResponseCacheControl="max-age=1",
                          ResponseContentDisposition="inline", ResponseContentLanguage="fr",
                          ResponseContentEncoding="identity")
    assert (found["ContentType"], found["CacheControl"], found["ContentDisposition"], found["ContentLanguage"],
            found["ContentEncoding"]) == ("a/b", "max-age=1", "inline", "fr", "identity")


@covers("GetObject", "HeadObject")
def test_headers_that_a_reader_asks_for_come_as_they_were_asked_for(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain", Expires=soon(60))
    wanted = {"expires": "never", "content-type": "no type; at all", "content-disposition": 'inline; filename="\u00e9"',
              "cache-control": "a, b", "content-language": "x--y", "content-encoding": "none of these"}
    query = urllib.parse.urlencode({f"response-{name}": value for name, value in wanted.items()},
                                   quote_via=urllib.parse.quote)
    for method, status, asked in [("GET", 200, {}), ("HEAD", 200, {}), ("GET", 206, {"Range": "bytes=0-0"})]:
        found = raw(method, f"/{bucket}/k", query=query, headers=asked)
        headers = {name.lower(): value.encode("latin-1").decode() for name, value in found[1].items()}
        assert (found[0], {name: headers.get(name) for name in wanted}) == (status, wanted), method
    for query in ["response-expires=a%0ab", "response-content-type=a%00"]:
        status, _, body = raw("GET", f"/{bucket}/k", query=query)
        assert status == 400 and b"InvalidArgument" in body, (status, body)


@covers("PutObject", "GetObject", "HeadObject")
def test_when_an_object_expires_is_told_as_it_was_said(s3, bucket):
    for said in ["Fri, 21 Mar 2031 00:00:00 GMT", "Wed, 21 Mar 2031 00:00:00 GMT", "0", "never"]:
        assert raw("PUT", f"/{bucket}/k", b"x", headers={"Expires": said})[0] == 200
        for method in ["GET", "HEAD"]:
            assert {name.lower(): value for name, value in raw(method, f"/{bucket}/k")[1].items()}["expires"] == said
    found = s3.get_object(Bucket=bucket, Key="k", ResponseExpires=soon(60))
    assert found["ResponseMetadata"]["HTTPHeaders"]["expires"].endswith(" GMT")


@covers("GetObject", "HeadObject")
def test_conditions_on_reads(s3, bucket):
    tag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    before, after = modified - datetime.timedelta(hours=1), modified + datetime.timedelta(seconds=1)
    for call in [s3.get_object, s3.head_object]:
        ask = lambda **named: call(Bucket=bucket, Key="k", **named)
        no = lambda code, status, **named: refused(code, status, ask, **named)
        ask(IfMatch=tag), ask(IfNoneMatch='"x"'), ask(IfModifiedSince=before), ask(IfUnmodifiedSince=after)
        no("PreconditionFailed", 412, IfMatch='"x"')
        no("PreconditionFailed", 412, IfMatch="no_such_tag")
        ask(IfNoneMatch="no_such_tag")
        unchanged = no("304", 304, IfNoneMatch=tag)
        assert unchanged["ResponseMetadata"]["HTTPHeaders"]["etag"] == tag
        no("304", 304, IfNoneMatch="*")
        no("304", 304, IfModifiedSince=modified)
        no("PreconditionFailed", 412, IfUnmodifiedSince=before)
        ask(IfMatch=tag, IfUnmodifiedSince=before)
        no("304", 304, IfNoneMatch=tag, IfModifiedSince=before)
        ask(IfNoneMatch='"x"', IfModifiedSince=modified)
    for condition, named in [("If-Match", dict(IfMatch='"x"')), ("If-Unmodified-Since", dict(IfUnmodifiedSince=before))]:
        error = refused("PreconditionFailed", 412, s3.get_object, Bucket=bucket, Key="k", **named)["Error"]
        words = "At least one of the pre-conditions you specified did not hold"
        assert (error["Condition"], error["Message"]) == (condition, words)


@covers("PutObject", "DeleteObject")
def test_conditions_on_writes(s3, bucket):
    put = lambda body, **named: s3.put_object(Bucket=bucket, Key="k", Body=body, **named)["ETag"]
    condition = lambda *ask, **named: refused("PreconditionFailed", 412, *ask, **named)["Error"]["Condition"]
    first = put(b"1", IfNoneMatch="*")
    assert condition(put, b"2", IfNoneMatch="*") == "If-None-Match"
    second = put(b"2", IfMatch=first)
    assert condition(put, b"3", IfMatch=first) == "If-Match"
    refused("NoSuchKey", 404, s3.put_object, Bucket=bucket, Key="absent", Body=b"", IfMatch=first)
    # A list of tags and both conditions at once are refused; one tag that is not to match is HTTP's, where AWS knows `*` alone.
    for named in [dict(IfNoneMatch=f"{first}, {second}"), dict(IfMatch=second, IfNoneMatch="*")]:
        refused("NotImplemented", 501, put, b"3", **named)
    assert condition(put, b"3", IfNoneMatch=second) == "If-None-Match"
    assert put(b"2", IfNoneMatch="no_such_tag") == put(b"2", IfNoneMatch=first) == second
    refused("PreconditionFailed", 412, put, b"3", IfMatch="no_such_tag")
    refused("PreconditionFailed", 412, s3.delete_object, Bucket=bucket, Key="k", IfMatch="no_such_tag")
    assert condition(s3.delete_object, Bucket=bucket, Key="k", IfMatch=first) == "If-Match"
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=second)
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="k")


@covers("PutObject")
def test_of_racing_creations_one_wins(s3, bucket):
    def create(number):
        try:
            s3.put_object(Bucket=bucket, Key="race", Body=str(number).encode() * 100, IfNoneMatch="*")
            return number
        except s3.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed", error
    with ThreadPoolExecutor(20) as pool:
        winners = [one for one in pool.map(create, range(100)) if one is not None]
    assert len(winners) == 1, winners
    assert s3.get_object(Bucket=bucket, Key="race")["Body"].read() == str(winners[0]).encode() * 100


@covers("GetObject", "HeadObject")
def test_a_range_of_another_version_is_the_whole_object(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"]["last-modified"]
    of = lambda method, validator: raw(method, f"/{bucket}/k", headers={"range": "bytes=2-3", "if-range": validator})
    for validator in (etag, modified):
        assert of("GET", validator)[::2] == (206, b"23") and of("HEAD", validator)[0] == 206, validator
    for validator in ('"00000000000000000000000000000000"', "Thu, 01 Jan 1970 00:00:00 GMT", f"W/{etag}"):
        assert of("GET", validator)[::2] == (200, b"0123456789") and of("HEAD", validator)[0] == 200, validator


@covers("GetObject")
def test_ranges(s3, bucket):
    data = content(3_000_000)
    for key, body in [("big", data), ("small", data[:1000])]:
        s3.put_object(Bucket=bucket, Key=key, Body=body)
        size = len(body)
        for text, start, end in [("0-0", 0, 1), ("10-99", 10, 100), (f"{size - 1}-", size - 1, size), ("-7", size - 7, size),
                                 ("500-", 500, size), (f"-{size * 2}", 0, size), (f"900-{size * 3}", 900, size)]:
            found = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={text}")
            assert found["Body"].read() == body[start:end], text
            assert found["ContentRange"] == f"bytes {start}-{end - 1}/{size}"
            assert found["ResponseMetadata"]["HTTPStatusCode"] == 206 and found["ContentLength"] == end - start
            assert not any(name.startswith("Checksum") for name in found)
        head = s3.head_object(Bucket=bucket, Key=key, Range="bytes=5-9")
        assert (head["ContentLength"], head["ContentRange"]) == (5, f"bytes 5-9/{size}")
        assert head["ResponseMetadata"]["HTTPStatusCode"] == 206
        for text in [f"{size}-", f"{size}-{size + 5}", "-0"]:
            answer = refused("InvalidRange", 416, s3.get_object, Bucket=bucket, Key=key, Range=f"bytes={text}")
            error = answer["Error"]
            assert (error["RangeRequested"], error["ActualObjectSize"]) == (f"bytes={text}", str(size))
            assert error["Message"] == "The requested range is not satisfiable"
            assert answer["ResponseMetadata"]["HTTPHeaders"]["content-range"] == f"bytes */{size}"
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    refused("InvalidRange", 416, s3.get_object, Bucket=bucket, Key="empty", Range="bytes=0-")
    assert s3.get_object(Bucket=bucket, Key="big", PartNumber=1)["Body"].read() == data
    refused("InvalidPartNumber", 416, s3.get_object, Bucket=bucket, Key="big", PartNumber=2)
    refused("InvalidRequest", 400, s3.get_object, Bucket=bucket, Key="big", PartNumber=1, Range="bytes=0-1")


@covers("GetObject")
def test_a_half_read_answer_leaves_the_store_working(s3, bucket):
    data = content(4 << 20)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    for _ in range(30):
        body = s3.get_object(Bucket=bucket, Key="k")["Body"]
        body.read(1000)
        body.close()
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data


@covers("CopyObject")
def test_copies(s3, bucket):
    for length in [0, 100, 2_000_000]:
        data = content(length)
        s3.put_object(Bucket=bucket, Key="from", Body=data, Metadata={"a": "1"}, ContentType="text/a",
                      WebsiteRedirectLocation="/x")
        tag = s3.head_object(Bucket=bucket, Key="from")["ETag"]
        answer = s3.copy_object(Bucket=bucket, Key="to ü", CopySource={"Bucket": bucket, "Key": "from"})
        assert answer["CopyObjectResult"]["ETag"] == tag and answer["CopyObjectResult"]["LastModified"]
        found = s3.get_object(Bucket=bucket, Key="to ü")
        assert found["Body"].read() == data
        assert (found["Metadata"], found["ContentType"]) == ({"a": "1"}, "text/a")
        assert "WebsiteRedirectLocation" not in found
        s3.copy_object(Bucket=bucket, Key="replaced", CopySource=f"/{bucket}/to ü", MetadataDirective="REPLACE",
                       Metadata={"b": "2"}, ContentType="text/b")
        found = s3.get_object(Bucket=bucket, Key="replaced")
        assert (found["Body"].read(), found["Metadata"], found["ContentType"]) == (data, {"b": "2"}, "text/b")
    itself = dict(Bucket=bucket, Key="from", CopySource=f"{bucket}/from")
    refused("InvalidRequest", 400, s3.copy_object, **itself)
    s3.copy_object(MetadataDirective="REPLACE", Metadata={"c": "3"}, **itself)
    found = s3.get_object(Bucket=bucket, Key="from")
    assert (found["Body"].read(), found["Metadata"]) == (data, {"c": "3"})
    refused("NoSuchKey", 404, s3.copy_object, Bucket=bucket, Key="x", CopySource=f"{bucket}/absent")
    refused("NoSuchBucket", 404, s3.copy_object, Bucket=bucket, Key="x", CopySource="no-such-bucket/absent")
    refused("NoSuchBucket", 404, s3.copy_object, Bucket="no-such-bucket", Key="x", CopySource=f"{bucket}/from")


@covers("CopyObject")
def test_conditions_on_the_source_of_a_copy(s3, bucket):
    tag = s3.put_object(Bucket=bucket, Key="from", Body=b"x")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="from")["LastModified"]
    hour = datetime.timedelta(hours=1)
    copy = lambda **named: s3.copy_object(Bucket=bucket, Key="to", CopySource=f"{bucket}/from", **named)
    copy(CopySourceIfMatch=tag), copy(CopySourceIfNoneMatch='"x"')
    copy(CopySourceIfModifiedSince=modified - hour), copy(CopySourceIfUnmodifiedSince=modified)
    for condition, named in [("If-Match", dict(CopySourceIfMatch='"x"')), ("If-None-Match", dict(CopySourceIfNoneMatch=tag)),
                             ("If-Modified-Since", dict(CopySourceIfModifiedSince=modified)),
                             ("If-Unmodified-Since", dict(CopySourceIfUnmodifiedSince=modified - hour))]:
        error = refused("PreconditionFailed", 412, copy, **named)["Error"]
        assert error["Condition"] == f"x-amz-copy-source-{condition}"


@covers("DeleteObjects")
def test_deletes_of_many(s3, bucket):
    keys = [f"k{n:04}" for n in range(1000)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b"1"), keys[:50]))
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys[:60]]})
    assert [one["Key"] for one in answer["Deleted"]] == keys[:60] and "Errors" not in answer
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    tag = s3.put_object(Bucket=bucket, Key="a", Body=b"1")["ETag"]
    s3.put_object(Bucket=bucket, Key="b", Body=b"2")
    answer = s3.delete_objects(Bucket=bucket, Delete={
        "Quiet": True, "Objects": [{"Key": "a", "ETag": tag}, {"Key": "b", "ETag": tag}, {"Key": "<&>"}]})
    assert "Deleted" not in answer
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("b", "PreconditionFailed")]
    many = [{"Key": key} for key in keys]
    assert len(s3.delete_objects(Bucket=bucket, Delete={"Objects": many})["Deleted"]) == 1000
    refused("MalformedXML", 400, s3.delete_objects, Bucket=bucket, Delete={"Objects": many + [{"Key": "one too many"}]})


@covers("PutObject", "DeleteObject")
def test_an_overwrite_leaves_one_object(s3, bucket):
    for number in range(5):
        data = content(400_000, number)
        s3.put_object(Bucket=bucket, Key="k", Body=data)
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_object(Bucket=bucket, Key="k")


@covers("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "GetObject")
def test_a_file_goes_up_and_down_with_the_default_settings(s3, bucket):
    data = content(3 * PART + 77)
    s3.upload_fileobj(io.BytesIO(data), bucket, "file")
    back = io.BytesIO()
    s3.download_fileobj(bucket, "file", back)
    assert back.getvalue() == data


run(globals())
