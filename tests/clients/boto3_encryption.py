# server: SHERD_TLS_CERT={TLS}/cert.pem SHERD_TLS_KEY={TLS}/key.pem
"""Encryption with keys of the store and of the client, over TLS as S3 asks of who sends keys."""

import base64
import hashlib
import itertools

from _support import ALT, PART, client, content, covers, denied, headers_of, raw, refused, run, status_of, versioned

KEY = hashlib.sha256(b"one").digest()
OTHER = hashlib.sha256(b"other").digest()
# What a request without the right key is answered; AWS says 400 where there is none, 403 where it is another.
WRONG = ("InvalidRequest", "InvalidArgument", "AccessDenied")


def of(key, prefix=""):
    return {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": key}


def put(s3, bucket, key="k", body=b"secret", **named):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **named)


def read(s3, bucket, key="k", **named):
    return s3.get_object(Bucket=bucket, Key=key, **named)["Body"].read()


def digest(key):
    return base64.b64encode(hashlib.md5(key).digest()).decode()


def default(s3, bucket, algorithm="AES256", **more):
    by_default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm}, **more}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [by_default]})


@covers("PutObject", "GetObject", "HeadObject")
def test_objects_encrypted_by_the_store(s3, bucket):
    for length in [0, 1, 15, 16, 17, 100_000, (1 << 20) + 1, (4 << 20) + 13]:
        data = content(length)
        answer = put(s3, bucket, body=data, ServerSideEncryption="AES256")
        assert answer["ServerSideEncryption"] == "AES256"
        for call in [s3.get_object, s3.head_object]:
            found = call(Bucket=bucket, Key="k")
            assert (found["ServerSideEncryption"], found["ContentLength"]) == ("AES256", length)
            assert found["ETag"] == answer["ETag"]
        assert read(s3, bucket) == data
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["Size"] == (4 << 20) + 13
    for algorithm in ["AES128", "aes256", "none"]:
        refused(("InvalidArgument", "InvalidEncryptionAlgorithmError", "InvalidRequest"), 400, put, s3, bucket, "bad",
                ServerSideEncryption=algorithm)
    refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key="bad")


@covers("GetObject", "HeadObject")
def test_a_reader_does_not_say_how_the_store_encrypts(s3, bucket):
    put(s3, bucket, ServerSideEncryption="AES256")
    for method in ["GET", "HEAD"]:
        status, _, _ = raw(method, f"/{bucket}/k", headers={"x-amz-server-side-encryption": "AES256"})
        assert status == 400, method


@covers("PutObject", "GetObject")
def test_ranges_of_what_is_encrypted(s3, bucket):
    data = content(3_000_000)
    for key, write, ask in [("store", {"ServerSideEncryption": "AES256"}, {}), ("client", of(KEY), of(KEY))]:
        put(s3, bucket, key, data, **write)
        size = len(data)
        for start, end in [(0, 1), (0, 16), (15, 17), (16, 32), (65_535, 65_537), (1 << 20, (1 << 20) + 1),
                           (999_999, 2_000_001),
                           (size - 1, size), (size - 17, size), (0, size)]:
            found = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}", **ask)
            assert found["Body"].read() == data[start:end], (key, start, end)
            assert found["ContentRange"] == f"bytes {start}-{end - 1}/{size}"
        assert read(s3, bucket, key, Range="bytes=-100", **ask) == data[-100:]
        refused("InvalidRange", 416, read, s3, bucket, key, Range=f"bytes={size}-", **ask)


@covers("PutObject", "GetObject", "HeadObject", "GetObjectAttributes")
def test_objects_encrypted_with_the_clients_key(s3, bucket):
    for length in [0, 1, 16, 100_000, (4 << 20) + 13]:
        data = content(length)
        answer = put(s3, bucket, body=data, **of(KEY))
        assert (answer["SSECustomerAlgorithm"], answer["SSECustomerKeyMD5"]) == ("AES256", digest(KEY))
        assert "ServerSideEncryption" not in answer
        found = s3.get_object(Bucket=bucket, Key="k", **of(KEY))
        assert found["Body"].read() == data and found["SSECustomerKeyMD5"] == digest(KEY)
        head = s3.head_object(Bucket=bucket, Key="k", **of(KEY))
        assert (head["ContentLength"], head["ETag"], head["SSECustomerAlgorithm"]) == (length, answer["ETag"], "AES256")
    raw_key = base64.b64encode(KEY).decode()
    named = dict(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize", "ETag"])
    key = dict(SSECustomerAlgorithm="AES256", SSECustomerKey=raw_key, SSECustomerKeyMD5=digest(KEY))
    assert s3.get_object_attributes(**key, **named)["ObjectSize"] == (4 << 20) + 13
    refused(WRONG, (400, 403), s3.get_object_attributes, **named)


@covers("GetObject", "HeadObject")
def test_only_the_clients_key_opens_what_it_closed(s3, bucket):
    put(s3, bucket, **of(KEY))
    put(s3, bucket, "plain")
    for call in [s3.get_object, s3.head_object]:
        refused("InvalidRequest", 400, call, Bucket=bucket, Key="k")
        refused(WRONG, (400, 403), call, Bucket=bucket, Key="k", **of(OTHER))
        refused(("InvalidRequest", "InvalidArgument"), 400, call, Bucket=bucket, Key="plain", **of(KEY))
    assert read(s3, bucket, **of(KEY)) == b"secret"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 2
    s3.delete_object(Bucket=bucket, Key="k")
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="k", **of(KEY))


@covers("PutObject", "CreateMultipartUpload")
def test_keys_of_clients_that_are_none(s3, bucket):
    key, md5 = base64.b64encode(KEY).decode(), digest(KEY)
    names = ["x-amz-server-side-encryption-customer-algorithm", "x-amz-server-side-encryption-customer-key",
             "x-amz-server-side-encryption-customer-key-md5"]
    good = dict(zip(names, ["AES256", key, md5]))
    short = base64.b64encode(KEY[:16]).decode()
    wrong = [{name: value for name, value in good.items() if name != missing} for missing in names]
    wrong += [{**good, names[0]: "AES128"}, {**good, names[1]: short, names[2]: digest(KEY[:16])},
              {**good, names[1]: "no base64!"},
              {**good, names[2]: digest(OTHER)}, {**good, names[2]: "nonsense"},
              {**good, "x-amz-server-side-encryption": "AES256"}]
    for headers in wrong:
        for method, query in [("PUT", ""), ("POST", "uploads=")]:
            status, _, body = raw(method, f"/{bucket}/k", query=query, headers=headers, body=b"x" if method == "PUT" else b"")
            assert status == 400 and b"<Code>Invalid" in body, (headers, method, status, body)
    refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key="k")
    assert raw("PUT", f"/{bucket}/k", headers=good, body=b"x")[0] == 200


@covers("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "ListParts")
def test_uploads_in_parts_with_the_clients_key(s3, bucket):
    created = s3.create_multipart_upload(Bucket=bucket, Key="k", **of(KEY))
    assert (created["SSECustomerAlgorithm"], created["SSECustomerKeyMD5"]) == ("AES256", digest(KEY))
    upload = dict(Bucket=bucket, Key="k", UploadId=created["UploadId"])
    refused(WRONG, (400, 403), s3.upload_part, PartNumber=1, Body=b"x", **upload)
    refused(WRONG, (400, 403), s3.upload_part, PartNumber=1, Body=b"x", **upload, **of(OTHER))
    bodies = [content(PART, 1), content(PART + 5, 2), content(99, 3)]
    sent = [s3.upload_part(PartNumber=n, Body=body, **upload, **of(KEY)) for n, body in enumerate(bodies, 1)]
    assert sent[0]["SSECustomerKeyMD5"] == digest(KEY)
    assert [one["Size"] for one in s3.list_parts(**upload)["Parts"]] == [len(body) for body in bodies]
    parts = [{"PartNumber": n, "ETag": one["ETag"]} for n, one in enumerate(sent, 1)]
    tag = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)["ETag"]
    whole = b"".join(bodies)
    found = s3.get_object(Bucket=bucket, Key="k", **of(KEY))
    assert found["Body"].read() == whole and found["ETag"] == tag
    for start, end in [(PART - 1, PART + 1), (2 * PART, 2 * PART + 10), (0, len(whole))]:
        assert read(s3, bucket, Range=f"bytes={start}-{end - 1}", **of(KEY)) == whole[start:end]
    assert read(s3, bucket, PartNumber=2, **of(KEY)) == bodies[1]
    refused("InvalidRequest", 400, s3.get_object, Bucket=bucket, Key="k")
    upload = dict(Bucket=bucket, Key="plain", UploadId=s3.create_multipart_upload(Bucket=bucket, Key="plain")["UploadId"])
    refused(("InvalidRequest", "InvalidArgument"), 400, s3.upload_part, PartNumber=1, Body=b"x", **upload, **of(KEY))


@covers("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
def test_uploads_in_parts_encrypted_by_the_store(s3, bucket):
    created = s3.create_multipart_upload(Bucket=bucket, Key="k", ServerSideEncryption="AES256")
    assert created["ServerSideEncryption"] == "AES256"
    upload = dict(Bucket=bucket, Key="k", UploadId=created["UploadId"])
    bodies = [content(PART, 1), content(1000, 2)]
    sent = [s3.upload_part(PartNumber=n, Body=body, **upload) for n, body in enumerate(bodies, 1)]
    assert all(one["ServerSideEncryption"] == "AES256" for one in sent)
    parts = [{"PartNumber": n, "ETag": one["ETag"]} for n, one in enumerate(sent, 1)]
    done = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    assert done["ServerSideEncryption"] == "AES256"
    assert read(s3, bucket) == b"".join(bodies)
    assert read(s3, bucket, Range=f"bytes={PART - 3}-{PART + 2}") == b"".join(bodies)[PART - 3:PART + 3]
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"


@covers("CopyObject")
def test_copies_between_any_two_kinds(s3, bucket):
    kinds = {"plain": ({}, {}, {}), "store": ({"ServerSideEncryption": "AES256"}, {}, {}),
             "client": (of(KEY), of(KEY), of(KEY, "CopySource")),
             "other client": (of(OTHER), of(OTHER), of(OTHER, "CopySource"))}
    data = content(1_500_000)
    for (source, (write, _, open_source)), (target, (close, ask, _)) in itertools.product(kinds.items(), repeat=2):
        put(s3, bucket, "from", data, Metadata={"a": "1"}, **write)
        answer = s3.copy_object(Bucket=bucket, Key="to", CopySource=f"{bucket}/from", **open_source, **close)
        found = s3.get_object(Bucket=bucket, Key="to", **ask)
        assert found["Body"].read() == data and found["Metadata"] == {"a": "1"}, (source, target)
        assert found["ETag"] == answer["CopyObjectResult"]["ETag"]
        assert ("SSECustomerAlgorithm" in found) == ("client" in target), (source, target)
        if target == "store":
            assert found["ServerSideEncryption"] == "AES256" == answer["ServerSideEncryption"]
        assert read(s3, bucket, "to", Range="bytes=1000000-1000099", **ask) == data[1_000_000:1_000_100]


@covers("PutObject", "UploadPart", "CompleteMultipartUpload", "CopyObject")
def test_entity_tags_tell_nothing_of_what_a_named_key_or_the_clients_encrypts(s3, bucket):
    data = content(100_000)
    md5 = hashlib.md5(data).hexdigest()
    bare = lambda answer: answer["ETag"].strip('"')
    kms, store = {"ServerSideEncryption": "aws:kms"}, {"ServerSideEncryption": "AES256"}
    assert bare(put(s3, bucket, "plain", data)) == bare(put(s3, bucket, "store", data, **store)) == md5
    for name, write, ask in [("kms", kms, {}), ("client", of(KEY), of(KEY))]:
        for body in [data, b"secret", b""]:
            tags = {bare(put(s3, bucket, name, body, **write)) for _ in range(2)}
            assert len(tags) == 2 and hashlib.md5(body).hexdigest() not in tags, (name, tags)
        first = put(s3, bucket, name, data, **write, ContentMD5=base64.b64encode(hashlib.md5(data).digest()).decode())
        refused("BadDigest", 400, put, s3, bucket, name, data, **write, ContentMD5=digest(b"other"))
        assert len(bare(first)) == 32 and s3.head_object(Bucket=bucket, Key=name, **ask)["ETag"] == first["ETag"]
        refused("304", 304, s3.get_object, Bucket=bucket, Key=name, IfNoneMatch=first["ETag"], **ask)
        refused("PreconditionFailed", 412, put, s3, bucket, name, data, IfMatch=f'"{md5}"', **write)
        put(s3, bucket, name, data, IfMatch=first["ETag"], **write)
        for source in ["plain", "store"]:
            copied = s3.copy_object(Bucket=bucket, Key="to", CopySource=f"{bucket}/{source}", **write)["CopyObjectResult"]
            assert bare(copied) != md5 and read(s3, bucket, "to", **ask) == data, (name, source)
        opened = of(KEY, "CopySource") if name == "client" else {}
        for close in [{}, store]:
            s3.copy_object(Bucket=bucket, Key="to", CopySource=f"{bucket}/{name}", **opened, **close)
            assert read(s3, bucket, "to") == data
            assert bare(s3.head_object(Bucket=bucket, Key="to")) == md5
        upload = dict(Bucket=bucket, Key="parts")
        upload["UploadId"] = s3.create_multipart_upload(**upload, **write)["UploadId"]
        part = s3.upload_part(PartNumber=1, Body=data, **upload, **ask)
        copied = s3.upload_part_copy(PartNumber=2, CopySource=f"{bucket}/plain", **upload, **ask)["CopyPartResult"]
        listed = s3.list_parts(**upload)["Parts"]
        assert md5 not in [bare(part), bare(copied)] and [one["ETag"] for one in listed] == [part["ETag"], copied["ETag"]]
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        done = s3.complete_multipart_upload(MultipartUpload=parts, **upload)
        guess = hashlib.md5(hashlib.md5(data).digest()).hexdigest()
        assert bare(done) not in (f"{guess}-1", md5) and read(s3, bucket, "parts", **ask) == data


@covers("CopyObject", "UploadPartCopy")
def test_copies_need_the_key_of_their_source(s3, bucket):
    put(s3, bucket, "from", **of(KEY))
    put(s3, bucket, "plain")
    copy = lambda source="from", **named: s3.copy_object(Bucket=bucket, Key="to", CopySource=f"{bucket}/{source}", **named)
    refused(WRONG, (400, 403), copy)
    refused(WRONG, (400, 403), copy, **of(OTHER, "CopySource"))
    refused(("InvalidRequest", "InvalidArgument"), 400, copy, "plain", **of(KEY, "CopySource"))
    refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key="to")
    upload = dict(Bucket=bucket, Key="k",
                  UploadId=s3.create_multipart_upload(Bucket=bucket, Key="k", **of(OTHER))["UploadId"])
    part = lambda **named: s3.upload_part_copy(PartNumber=1, CopySource=f"{bucket}/from", **upload, **of(OTHER), **named)
    refused(WRONG, (400, 403), part)
    tag = part(**of(KEY, "CopySource"))["CopyPartResult"]["ETag"]
    s3.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}, **upload)
    assert read(s3, bucket, **of(OTHER)) == b"secret"


@covers("CopyObject")
def test_a_copy_onto_itself_changes_the_key(s3, bucket):
    put(s3, bucket, body=content(300_000), **of(KEY))
    s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", **of(KEY, "CopySource"), **of(OTHER))
    assert read(s3, bucket, **of(OTHER)) == content(300_000)
    refused(WRONG, (400, 403), read, s3, bucket, **of(KEY))
    s3.copy_object(Bucket=bucket, Key="opened", CopySource=f"{bucket}/k", **of(OTHER, "CopySource"), **of(OTHER))
    s3.copy_object(Bucket=bucket, Key="opened", CopySource=f"{bucket}/opened", **of(OTHER, "CopySource"))
    assert read(s3, bucket, "opened") == read(s3, bucket, "k", **of(OTHER)), "the client's key may be given up"
    s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", **of(OTHER, "CopySource"), ServerSideEncryption="AES256")
    assert read(s3, bucket) == content(300_000)


@covers("PutBucketEncryption", "GetBucketEncryption", "DeleteBucketEncryption")
def test_the_default_of_a_bucket_comes_back_and_goes(s3, bucket):
    rules = lambda: s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    default(s3, bucket)
    assert rules()[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    default(s3, bucket, BucketKeyEnabled=True)
    assert rules()[0]["BucketKeyEnabled"] is True and len(rules()) == 1
    for _ in range(2):
        assert status_of(s3.delete_bucket_encryption(Bucket=bucket)) == 204
    try:
        # Since 2023 AWS itself encrypts everything by default.
        assert rules()[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
        assert not rules()[0].get("BucketKeyEnabled")
    except s3.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "ServerSideEncryptionConfigurationNotFoundError", error
    refused("MalformedXML", 400, default, s3, bucket, "AES128")
    refused("MalformedXML", 400, s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": []})
    refused("NoSuchBucket", 404, default, s3, bucket + "-absent")
    denied(client(ALT).get_bucket_encryption, Bucket=bucket)


@covers("PutBucketEncryption", "PutObject", "CreateMultipartUpload", "CopyObject")
def test_the_default_of_a_bucket_holds_for_what_says_nothing(s3, bucket):
    default(s3, bucket)
    assert put(s3, bucket)["ServerSideEncryption"] == "AES256"
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"
    assert s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")["ServerSideEncryption"] == "AES256"
    assert s3.create_multipart_upload(Bucket=bucket, Key="parts")["ServerSideEncryption"] == "AES256"
    put(s3, bucket, "own", **of(KEY))
    assert "ServerSideEncryption" not in s3.head_object(Bucket=bucket, Key="own", **of(KEY))
    assert read(s3, bucket) == b"secret" == read(s3, bucket, "own", **of(KEY))
    s3.delete_bucket_encryption(Bucket=bucket)
    assert read(s3, bucket) == b"secret" == read(s3, bucket, "copy")


@covers("PutObject", "GetObject")
def test_versions_with_different_keys(s3, bucket):
    versioned(s3, bucket)
    ids = [put(s3, bucket, body=body, **named)["VersionId"] for body, named in [
        (b"plain", {}), (b"store", {"ServerSideEncryption": "AES256"}), (b"one", of(KEY)), (b"other", of(OTHER))]]
    for version, body, named in zip(ids, [b"plain", b"store", b"one", b"other"], [{}, {}, of(KEY), of(OTHER)]):
        assert read(s3, bucket, VersionId=version, **named) == body
    refused(WRONG, (400, 403), read, s3, bucket, VersionId=ids[2], **of(OTHER))
    copied = s3.copy_object(Bucket=bucket, Key="k", CopySource={"Bucket": bucket, "Key": "k", "VersionId": ids[2]},
                            **of(KEY, "CopySource"))
    assert read(s3, bucket, VersionId=copied["VersionId"]) == b"one"


@covers("PutObject", "GetObject")
def test_checksums_and_conditions_of_what_is_encrypted(s3, bucket):
    data = content(200_000)
    for key, named in [("store", {"ServerSideEncryption": "AES256"}), ("client", of(KEY))]:
        ask = {} if key == "store" else of(KEY)
        answer = put(s3, bucket, key, data, ChecksumAlgorithm="SHA256", **named)
        found = s3.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED", **ask)
        right = base64.b64encode(hashlib.sha256(data).digest()).decode()
        assert found["ChecksumSHA256"] == right == answer["ChecksumSHA256"]
        refused("304", 304, s3.get_object, Bucket=bucket, Key=key, IfNoneMatch=answer["ETag"], **ask)
        refused("PreconditionFailed", 412, put, s3, bucket, key, IfNoneMatch="*", **named)
        wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
        refused("BadDigest", 400, put, s3, bucket, key, data, ContentMD5=wrong, **named)
        assert read(s3, bucket, key, **ask) == data


@covers("GetObject")
def test_keys_are_never_told(s3, bucket):
    text = base64.b64encode(KEY).decode()
    answers = [put(s3, bucket, **of(KEY)), s3.get_object(Bucket=bucket, Key="k", **of(KEY)),
               refused(WRONG, (400, 403), s3.get_object, Bucket=bucket, Key="k", **of(OTHER))]
    for answer in answers:
        assert text not in str(answer) and "x-amz-server-side-encryption-customer-key" not in headers_of(answer)


@covers("PutObject", "GetObject", "HeadObject", "CopyObject", "CreateMultipartUpload")
def test_objects_encrypted_with_a_named_key(s3, bucket):
    data = content(300_000)
    for algorithm in ["aws:kms", "aws:kms:dsse"]:
        answer = put(s3, bucket, body=data, ServerSideEncryption=algorithm)
        assert answer["ServerSideEncryption"] == algorithm and answer["SSEKMSKeyId"].startswith("arn:aws:kms:"), answer
        found = s3.get_object(Bucket=bucket, Key="k")
        assert found["Body"].read() == data
        assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == (algorithm, answer["SSEKMSKeyId"])
        assert read(s3, bucket, Range="bytes=65530-65549") == data[65_530:65_550]
        again = put(s3, bucket, "by name", data, ServerSideEncryption=algorithm, SSEKMSKeyId=answer["SSEKMSKeyId"])
        assert again["SSEKMSKeyId"] == answer["SSEKMSKeyId"] and read(s3, bucket, "by name") == data
        copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k", ServerSideEncryption="AES256")
        assert copied["ServerSideEncryption"] == "AES256" and read(s3, bucket, "copy") == data
        back = s3.copy_object(Bucket=bucket, Key="back", CopySource=f"{bucket}/copy", ServerSideEncryption=algorithm)
        assert back["ServerSideEncryption"] == algorithm and read(s3, bucket, "back") == data
        upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", ServerSideEncryption=algorithm)
        assert upload["ServerSideEncryption"] == algorithm and upload["SSEKMSKeyId"] == answer["SSEKMSKeyId"]
        named = dict(Bucket=bucket, Key="parts", UploadId=upload["UploadId"])
        parts = [{"PartNumber": n, "ETag": s3.upload_part(PartNumber=n, Body=body, **named)["ETag"]}
                 for n, body in enumerate([content(PART), data], 1)]
        assert s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **named)["ServerSideEncryption"] == algorithm
        assert read(s3, bucket, "parts") == content(PART) + data


@covers("PutObject")
def test_keys_of_the_store_that_are_none(s3, bucket):
    kms = dict(ServerSideEncryption="aws:kms")
    for key in ["no-such-key", "alias/none", "arn:aws:kms:us-east-1:111111111111:key/none",
                "12345678-1234-1234-1234-123456789012"]:
        refused("KMS.NotFoundException", 400, put, s3, bucket, SSEKMSKeyId=key, **kms)
    for wrong in [{"SSEKMSKeyId": "alias/aws/s3"}, {"ServerSideEncryption": "AES256", "SSEKMSKeyId": "alias/aws/s3"},
                  {**kms, "SSEKMSEncryptionContext": "no base64"}, {**kms, **of(KEY)}]:
        refused(("InvalidArgument", "InvalidRequest"), 400, put, s3, bucket, **wrong)
    refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key="k")
    assert "SSEKMSKeyId" in put(s3, bucket, SSEKMSKeyId="alias/aws/s3", **kms)


@covers("PutObject", "PutBucketEncryption")
def test_what_requests_say_of_named_keys_comes_back(s3, bucket):
    context = base64.b64encode(b'{"team":"blue"}').decode()
    answer = put(s3, bucket, ServerSideEncryption="aws:kms", SSEKMSEncryptionContext=context, BucketKeyEnabled=True)
    assert answer["BucketKeyEnabled"] is True
    assert s3.head_object(Bucket=bucket, Key="k")["BucketKeyEnabled"] is True
    default(s3, bucket, "aws:kms", BucketKeyEnabled=True)
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert rules[0]["BucketKeyEnabled"] is True
    answer = put(s3, bucket, "by default")
    assert (answer["ServerSideEncryption"], answer["BucketKeyEnabled"]) == ("aws:kms", True)
    assert answer["SSEKMSKeyId"] == s3.head_object(Bucket=bucket, Key="by default")["SSEKMSKeyId"]
    assert put(s3, bucket, "own", ServerSideEncryption="AES256")["ServerSideEncryption"] == "AES256"
    assert read(s3, bucket, "by default") == b"secret" == read(s3, bucket, "own")


run(globals())
