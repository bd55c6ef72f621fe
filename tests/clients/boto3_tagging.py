"""Tags of buckets and objects."""

import urllib.parse

from _support import (PART, client, content, covers, follow, headers_of, raw, refused, run, send, signed, status_of, told,
                      versioned)

TAGS = [{"Key": "colour", "Value": "blue"}, {"Key": "empty", "Value": ""}, {"Key": "Größe/ü", "Value": "a b+c=d:e@f"}]
# AWS says one for the header and the other for the XML, and others follow either.
INVALID = ("InvalidTag", "InvalidArgument")
TOO_MANY = ("BadRequest", "InvalidTag", "InvalidArgument", "MalformedXML")


def tags(**pairs):
    return [{"Key": key, "Value": value} for key, value in pairs.items()]


def tag(s3, bucket, tag_set, key="k", **named):
    return s3.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": tag_set}, **named)


def found(s3, bucket, key="k", **named):
    return by_key(s3.get_object_tagging(Bucket=bucket, Key=key, **named)["TagSet"])


def tag_bucket(s3, bucket, tag_set):
    return s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tag_set})


def by_key(tag_set):
    return {one["Key"]: one["Value"] for one in tag_set}


def xml(*pairs):
    inner = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in pairs)
    return f"<Tagging><TagSet>{inner}</TagSet></Tagging>".encode()


@covers("PutBucketTagging", "GetBucketTagging", "DeleteBucketTagging")
def test_tags_of_a_bucket_come_back_are_replaced_and_go(s3, bucket):
    refused("NoSuchTagSet", 404, s3.get_bucket_tagging, Bucket=bucket)
    tag_bucket(s3, bucket, TAGS)
    assert by_key(s3.get_bucket_tagging(Bucket=bucket)["TagSet"]) == by_key(TAGS)
    assert status_of(tag_bucket(s3, bucket, tags(only="1"))) == 204
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags(only="1")
    for _ in range(2):
        assert status_of(tag_bucket(s3, bucket, [])) == 204
        refused("NoSuchTagSet", 404, s3.get_bucket_tagging, Bucket=bucket)
    tag_bucket(s3, bucket, TAGS)
    for _ in range(2):
        assert s3.delete_bucket_tagging(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
        refused("NoSuchTagSet", 404, s3.get_bucket_tagging, Bucket=bucket)
    for call, named in [(s3.get_bucket_tagging, {}), (s3.delete_bucket_tagging, {}),
                        (s3.put_bucket_tagging, {"Tagging": {"TagSet": TAGS}})]:
        refused("NoSuchBucket", 404, call, Bucket=bucket + "-absent", **named)


@covers("CreateBucket", "GetBucketTagging")
def test_a_bucket_is_made_with_tags(s3, bucket):
    name = bucket + "-x"
    make = lambda tag_set: s3.create_bucket(Bucket=name, CreateBucketConfiguration={"Tags": tag_set})
    twice = tags(a="1") + tags(a="2")
    many = [{"Key": f"k{n}", "Value": ""} for n in range(51)]
    for none, codes in [(twice, INVALID), (tags(**{"aws:own": ""}), INVALID), (many, TOO_MANY)]:
        refused(codes, 400, make, none)
        refused("NoSuchBucket", 404, s3.head_bucket, Bucket=name)
    make(TAGS)
    assert by_key(s3.get_bucket_tagging(Bucket=name)["TagSet"]) == by_key(TAGS)
    # What stands does not change by being made again.
    make(tags(other="1"))
    assert by_key(s3.get_bucket_tagging(Bucket=name)["TagSet"]) == by_key(TAGS)
    s3.delete_bucket(Bucket=name)
    s3.create_bucket(Bucket=name)
    refused("NoSuchTagSet", 404, s3.get_bucket_tagging, Bucket=name)


@covers("CreateBucket")
def test_tags_of_a_new_bucket_are_not_framed(s3, bucket):
    xml = b"<CreateBucketConfiguration><Tags><Tag><Key>a</Key><Value>1</Value></Tag></Tags></CreateBucketConfiguration>"
    headers = {"x-amz-decoded-content-length": str(len(xml)), "content-encoding": "aws-chunked",
               "x-amz-trailer": "x-amz-checksum-crc32"}
    request = signed("PUT", f"/{bucket}-x", headers=headers, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    told(send(request, b"%x\r\n%s\r\n0\r\n\r\n" % (len(xml), xml)), 501, "NotImplemented")
    refused("NoSuchBucket", 404, s3.head_bucket, Bucket=bucket + "-x")
    url = client(signature_version="s3v4").generate_presigned_url("create_bucket", {"Bucket": bucket + "-x"})
    assert follow(url, "PUT", body=xml)[0] == 200
    assert s3.get_bucket_tagging(Bucket=bucket + "-x")["TagSet"] == tags(a="1")


@covers("PutBucketTagging")
def test_a_bucket_has_fifty_tags_at_most(s3, bucket):
    many = [{"Key": f"k{n}", "Value": str(n)} for n in range(51)]
    tag_bucket(s3, bucket, many[:50])
    assert by_key(s3.get_bucket_tagging(Bucket=bucket)["TagSet"]) == by_key(many[:50])
    refused(TOO_MANY, 400, tag_bucket, s3, bucket, many)
    assert len(s3.get_bucket_tagging(Bucket=bucket)["TagSet"]) == 50


@covers("PutObjectTagging", "GetObjectTagging", "DeleteObjectTagging")
def test_tags_of_an_object_come_back_are_replaced_and_go(s3, bucket):
    before = s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    tag(s3, bucket, TAGS)
    assert found(s3, bucket) == by_key(TAGS)
    tag(s3, bucket, tags(only="1"))
    assert found(s3, bucket) == {"only": "1"}
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ETag"], head["LastModified"], head["ContentLength"]) == (before["ETag"], modified, 1)
    tag(s3, bucket, [])
    assert found(s3, bucket) == {}
    tag(s3, bucket, TAGS)
    for _ in range(2):
        answer = s3.delete_object_tagging(Bucket=bucket, Key="k")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204 and found(s3, bucket) == {}
    for call, named in [(s3.get_object_tagging, {}), (s3.delete_object_tagging, {}),
                        (s3.put_object_tagging, {"Tagging": {"TagSet": TAGS}})]:
        refused("NoSuchKey", 404, call, Bucket=bucket, Key="absent", **named)
        refused("NoSuchBucket", 404, call, Bucket=bucket + "-absent", Key="k", **named)


@covers("PutObjectTagging", "PutBucketTagging")
def test_how_long_and_how_many_tags_may_be(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    ten = [{"Key": f"{n}" + "k" * 127, "Value": "v" * 256} for n in range(10)]
    tag(s3, bucket, ten)
    assert found(s3, bucket) == by_key(ten)
    tag(s3, bucket, [{"Key": "ü" * 128, "Value": "é" * 256}])
    assert found(s3, bucket) == {"ü" * 128: "é" * 256}
    refused(TOO_MANY, 400, tag, s3, bucket, [*ten, *tags(one="more")])
    for wrong in [[{"Key": "k" * 129, "Value": ""}], [{"Key": "k", "Value": "v" * 257}], tags(a="1") * 2,
                  [{"Key": "aws:mine", "Value": "1"}], [{"Key": "a#b", "Value": "1"}], [{"Key": "a", "Value": "<1>"}]]:
        refused(INVALID, 400, tag, s3, bucket, wrong)
        refused(INVALID, 400, tag_bucket, s3, bucket, wrong)
    kept = tags(**{"aws:mine": "1"})
    error = refused("InvalidTag", 400, tag, s3, bucket, kept)["Error"]
    assert error["Message"] == "Your TagKey cannot be prefixed with aws:"
    error = refused("InvalidTag", 400, tag_bucket, s3, bucket, kept)["Error"]
    assert error["Message"] == "System tags cannot be added/updated by requester"
    assert found(s3, bucket) == {"ü" * 128: "é" * 256}
    refused("NoSuchTagSet", 404, s3.get_bucket_tagging, Bucket=bucket)


@covers("PutObjectTagging", "PutBucketTagging")
def test_xml_of_tags_that_is_malformed(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="kept=1")
    for body in [b"<Tagging>", b"<Tagging></Tagging>", b"<Other/>", b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet>",
                 b"<Tagging><TagSet><Tag><Value>a</Value></Tag></TagSet></Tagging>",
                 b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>"]:
        for path in [f"/{bucket}/k", f"/{bucket}"]:
            told(raw("PUT", path, query="tagging=", body=body), 400, "MalformedXML")
    status, _, answer = raw("PUT", f"/{bucket}/k", query="tagging=", body=xml(("", "1")))
    assert status == 400 and b"<Error>" in answer, (status, answer)
    assert found(s3, bucket) == {"kept": "1"}


@covers("PutObject", "HeadObject", "GetObject")
def test_tags_are_given_with_a_put(s3, bucket):
    text = urllib.parse.urlencode(by_key(TAGS))
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging=text)
    assert found(s3, bucket) == by_key(TAGS)
    assert headers_of(s3.head_object(Bucket=bucket, Key="k"))["x-amz-tagging-count"] == "3"
    assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == 3
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="bare&a=%3D+%2B")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == tags(a="= +", bare="")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert found(s3, bucket) == {} and "TagCount" not in s3.get_object(Bucket=bucket, Key="k")
    assert "x-amz-tagging-count" not in headers_of(s3.head_object(Bucket=bucket, Key="k"))


@covers("PutObject", "CreateMultipartUpload", "CopyObject")
def test_tags_in_a_header_that_are_none(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"x")
    for text in ["a=1&a=2", "a" * 129, "a=" + "v" * 257, "&".join(f"k{n}=1" for n in range(11)), "=1"]:
        refused((*INVALID, "BadRequest"), 400, s3.put_object, Bucket=bucket, Key="k", Body=b"x", Tagging=text)
        refused((*INVALID, "BadRequest"), 400, s3.create_multipart_upload, Bucket=bucket, Key="k", Tagging=text)
        refused((*INVALID, "BadRequest"), 400, s3.copy_object, Bucket=bucket, Key="k", CopySource=f"{bucket}/from",
                Tagging=text, TaggingDirective="REPLACE")
    refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key="k")


@covers("CopyObject")
def test_copies_keep_or_replace_tags(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"x", Tagging="a=1&b=2")
    copy = lambda **named: s3.copy_object(Bucket=bucket, Key="to", CopySource=f"{bucket}/from", **named)
    copy()
    assert found(s3, bucket, "to") == {"a": "1", "b": "2"}
    copy(TaggingDirective="REPLACE", Tagging="c=3")
    assert found(s3, bucket, "to") == {"c": "3"}
    copy(TaggingDirective="COPY")
    assert found(s3, bucket, "to") == {"a": "1", "b": "2"}
    copy(TaggingDirective="REPLACE")
    assert found(s3, bucket, "to") == {}
    copy(MetadataDirective="REPLACE", Metadata={"m": "1"})
    assert found(s3, bucket, "to") == {"a": "1", "b": "2"}
    refused("InvalidArgument", 400, copy, TaggingDirective="abc")


@covers("CreateMultipartUpload", "CompleteMultipartUpload")
def test_tags_of_an_upload_in_parts(s3, bucket):
    upload = dict(Bucket=bucket, Key="k", UploadId=s3.create_multipart_upload(
        Bucket=bucket, Key="k", Tagging="a=1&b=%C3%BC")["UploadId"])
    bodies = [content(PART), b"end"]
    parts = [{"PartNumber": n, "ETag": s3.upload_part(PartNumber=n, Body=body, **upload)["ETag"]}
             for n, body in enumerate(bodies, 1)]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    assert found(s3, bucket) == {"a": "1", "b": "ü"}
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == PART + 3
    tag(s3, bucket, tags(c="3"))
    assert found(s3, bucket) == {"c": "3"}
    assert s3.get_object(Bucket=bucket, Key="k", PartNumber=2)["Body"].read() == b"end"


@covers("PutObjectTagging", "GetObjectTagging", "DeleteObjectTagging")
def test_each_version_has_its_own_tags(s3, bucket):
    versioned(s3, bucket)
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="n=old")["VersionId"]
    new = s3.put_object(Bucket=bucket, Key="k", Body=b"2", Tagging="n=new")["VersionId"]
    assert found(s3, bucket, VersionId=old) == {"n": "old"} and found(s3, bucket) == {"n": "new"}
    assert tag(s3, bucket, tags(n="older"), VersionId=old)["VersionId"] == old
    assert tag(s3, bucket, tags(n="newer"))["VersionId"] == new
    assert s3.get_object_tagging(Bucket=bucket, Key="k", VersionId=old)["VersionId"] == old
    assert found(s3, bucket, VersionId=old) == {"n": "older"} and found(s3, bucket) == {"n": "newer"}
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 2
    assert s3.delete_object_tagging(Bucket=bucket, Key="k", VersionId=old)["VersionId"] == old
    assert found(s3, bucket, VersionId=old) == {} and found(s3, bucket) == {"n": "newer"}
    s3.delete_object(Bucket=bucket, Key="k", VersionId=new)
    refused("NoSuchVersion", 404, found, s3, bucket, VersionId=new)
    refused("NoSuchVersion", 404, tag, s3, bucket, TAGS, VersionId=new)
    refused("InvalidArgument", 400, found, s3, bucket, VersionId="nonsense")


@covers("PutObjectTagging", "GetObjectTagging", "DeleteObjectTagging")
def test_markers_have_no_tags(s3, bucket):
    versioned(s3, bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="a=1")
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    for call, named in [(s3.get_object_tagging, {}), (s3.delete_object_tagging, {}),
                        (s3.put_object_tagging, {"Tagging": {"TagSet": TAGS}})]:
        refused("MethodNotAllowed", 405, call, Bucket=bucket, Key="k", VersionId=marker, **named)
        refused(("NoSuchKey", "MethodNotAllowed"), (404, 405), call, Bucket=bucket, Key="k", **named)


@covers("PutObjectTagging")
def test_tags_are_written_while_the_object_is_read(s3, bucket):
    data = content(4 << 20)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    body = s3.get_object(Bucket=bucket, Key="k")["Body"]
    head = body.read(1000)
    tag(s3, bucket, tags(a="1"))
    assert head + body.read() == data and found(s3, bucket) == {"a": "1"}


@covers("PutObjectTagging", "GetBucketTagging")
def test_tags_of_other_owners_buckets_are_not_here(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    refused("AccessDenied", 403, s3.get_bucket_tagging, Bucket=bucket, ExpectedBucketOwner="999999999999")
    refused("AccessDenied", 403, tag, client(), bucket, TAGS, ExpectedBucketOwner="999999999999")
    assert found(s3, bucket) == {}


run(globals())
