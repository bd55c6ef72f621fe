"""The checksums of S3, by header and by trailer, and Content-MD5: verified, stored, returned."""

import base64
import hashlib
import io
import os
import sys
import zlib

# Before botocore asks: it computes half of the checksums by awscrt alone.
os.environ["BOTO_DISABLE_CRT"] = "false"

from _support import (PART, another, client, content, covers, fetch, policy, raw, refused, run, send, signed, told,
                      versioned)

try:
    from awscrt import checksums as crt
except ImportError:
    sys.exit(77)


def xxhash(make):
    def digest(body):
        hasher = make()
        hasher.update(body)
        return hasher.finalize()
    return digest


DIGESTS = {
    "CRC32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "CRC32C": lambda body: crt.crc32c(body).to_bytes(4, "big"),
    "CRC64NVME": lambda body: crt.crc64nvme(body).to_bytes(8, "big"),
    "MD5": lambda body: hashlib.md5(body).digest(),
    "SHA1": lambda body: hashlib.sha1(body).digest(),
    "SHA256": lambda body: hashlib.sha256(body).digest(),
    "SHA512": lambda body: hashlib.sha512(body).digest(),
    "XXHASH128": xxhash(crt.XXHash.new_xxhash3_128),
    "XXHASH3": xxhash(crt.XXHash.new_xxhash3_64),
    "XXHASH64": xxhash(crt.XXHash.new_xxhash64),
}
ALGORITHMS = list(DIGESTS)
# All but one combine to the checksum of the parts' checksums.
COMPOSITE = [name for name in ALGORITHMS if name != "CRC64NVME"]
# boto3 sends an MD5 that it is given, and computes none.
COMPUTED = [name for name in ALGORITHMS if name != "MD5"]
KNOWN = {name: digest(b"123456789") for name, digest in DIGESTS.items()}
TEXT = {name: base64.b64encode(digest).decode() for name, digest in KNOWN.items()}
UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def value(name, body):
    return base64.b64encode(DIGESTS[name](body)).decode()


def wrong(name):
    return base64.b64encode(b"\0" * len(KNOWN[name])).decode()


def others(found, name):
    """The checksums of an answer besides that of an algorithm."""
    return [field for field in found if field in {f"Checksum{other}" for other in ALGORITHMS if other != name}]


@covers("PutObject", "GetObject", "HeadObject")
def test_each_algorithm_by_header(s3, bucket):
    for name in ALGORITHMS:
        field = f"Checksum{name}"
        answer = s3.put_object(Bucket=bucket, Key=name, Body=b"123456789", **{field: TEXT[name]})
        assert answer[field] == TEXT[name] and answer["ChecksumType"] == "FULL_OBJECT"
        for call in [s3.head_object, s3.get_object]:
            found = call(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
            assert found[field] == TEXT[name] and found["ChecksumType"] == "FULL_OBJECT" and not others(found, name)
        refused("BadDigest", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"123456789", **{field: wrong(name)})
        refused("InvalidRequest", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"123456789", **{field: "AAAA"})
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="bad")
    for first, second in zip(ALGORITHMS, ALGORITHMS[1:]):
        refused("InvalidRequest", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"123456789",
                **{f"Checksum{name}": TEXT[name] for name in [first, second]})
    assert (TEXT["CRC32"], TEXT["CRC32C"], TEXT["CRC64NVME"]) == ("y/Q5Jg==", "4waSgw==", "rosUhgp5mIg=")


@covers("PutObject", "GetObject", "GetObjectAttributes", "ListObjects", "ListObjectsV2", "ListObjectVersions")
def test_each_algorithm_of_larger_bodies_and_in_all_answers(s3, bucket):
    """Sealed bodies are hashed elsewhere than others, and small ones again."""
    versioned(s3, bucket)
    data = content(700_000)
    for name in ALGORITHMS:
        field, right = f"Checksum{name}", value(name, data)
        for key, sealed in [(f"{name}-plain", {}), (f"{name}-sealed", {"ServerSideEncryption": "AES256"})]:
            named = dict(Bucket=bucket, Key=key)
            refused("BadDigest", 400, s3.put_object, Body=data, **{field: wrong(name)}, **named, **sealed)
            assert s3.put_object(Body=data, **{field: right}, **named, **sealed)[field] == right
            found = s3.get_object(ChecksumMode="ENABLED", **named)
            assert found["Body"].read() == data and found[field] == right
            told_so = s3.get_object_attributes(ObjectAttributes=["Checksum"], **named)["Checksum"]
            assert told_so == {field: right, "ChecksumType": "FULL_OBJECT"}
        ranged = s3.get_object(Bucket=bucket, Key=f"{name}-plain", ChecksumMode="ENABLED", Range="bytes=1-3")
        assert field not in ranged
    for call, entries in [(s3.list_objects, "Contents"), (s3.list_objects_v2, "Contents"), (s3.list_object_versions, "Versions")]:
        listed = {one["Key"]: one["ChecksumAlgorithm"] for one in call(Bucket=bucket)[entries]}
        assert listed == {f"{name}-{kind}": [name] for name in ALGORITHMS for kind in ["plain", "sealed"]}


@covers("PutObject", "UploadPart", "PutBucketTagging")
def test_sdks_compute_each_algorithm(s3, bucket):
    for name in COMPUTED:
        sent = s3.put_object(Bucket=bucket, Key=name, Body=b"123456789", ChecksumAlgorithm=name)
        assert sent[f"Checksum{name}"] == TEXT[name]
        assert s3.get_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")["Body"].read() == b"123456789"
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": name}]}, ChecksumAlgorithm=name)
        assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"][0]["Value"] == name


@covers("PutBucketTagging", "PutBucketPolicy", "DeleteObjects", "PutObjectTagging")
def test_bodies_of_other_operations_are_compared_with_each_algorithm(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    allows = policy({"Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}).encode()
    delete = b"<Delete><Quiet>true</Quiet><Object><Key>none</Key></Object></Delete>"
    for name in ALGORITHMS:
        header = f"x-amz-checksum-{name.lower()}"
        for method, path, query, body in [("PUT", "", "tagging", tags), ("PUT", "/k", "tagging", tags),
                                          ("PUT", "", "policy", allows), ("POST", "", "delete", delete)]:
            call = lambda given: raw(method, f"/{bucket}{path}", body, query=query, headers={
                header: given, "x-amz-sdk-checksum-algorithm": name})
            answer = call(value(name, body))
            assert answer[0] in (200, 204), (name, query, answer)
            told(call(wrong(name)), 400, "BadDigest")
            told(call("AAAA"), 400, "InvalidRequest")
        s3.delete_bucket_policy(Bucket=bucket)


@covers("PostObject")
def test_files_of_forms_are_compared_with_each_algorithm(s3, bucket):
    def post(key, fields):
        edge = "edge-of-a-part"
        fields = {**client(signature_version="s3v4").generate_presigned_post(bucket, key)["fields"], **fields}
        parts = [f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
        parts.append(f'--{edge}\r\nContent-Disposition: form-data; name="file"\r\n\r\n123456789\r\n--{edge}--\r\n')
        kind = {"content-type": f"multipart/form-data; boundary={edge}"}
        return fetch("POST", f"/{bucket}", kind, "".join(parts).encode())

    for name in ALGORITHMS:
        field = f"x-amz-checksum-{name.lower()}"
        answer = post(name, {field: TEXT[name], "x-amz-checksum-algorithm": name})
        assert answer[0] == 204, (name, answer)
        assert s3.head_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")[f"Checksum{name}"] == TEXT[name]
        told(post("bad", {field: wrong(name)}), 400, "BadDigest")
    refused("404", 404, s3.head_object, Bucket=bucket, Key="bad")


@covers("HeadObject")
def test_checksums_are_told_only_to_those_who_ask(s3, bucket):
    quiet = client(response_checksum_validation="when_required", request_checksum_calculation="when_required")
    quiet.put_object(Bucket=bucket, Key="with", Body=b"123456789", ChecksumSHA256=TEXT["SHA256"])
    assert "ChecksumSHA256" not in quiet.head_object(Bucket=bucket, Key="with")
    quiet.put_object(Bucket=bucket, Key="without", Body=b"123456789")
    assert not any(name.startswith("Checksum") for name in quiet.head_object(Bucket=bucket, Key="without"))


@covers("PutObject", "CompleteMultipartUpload")
def test_an_object_that_comes_without_a_checksum_is_given_one(s3, bucket):
    quiet = client(response_checksum_validation="when_required", request_checksum_calculation="when_required")
    shown = lambda found: (found["ChecksumCRC64NVME"], found["ChecksumType"])
    default = (TEXT["CRC64NVME"], "FULL_OBJECT")
    assert shown(quiet.put_object(Bucket=bucket, Key="k", Body=b"123456789")) == default
    for call in [quiet.head_object, quiet.get_object]:
        assert shown(call(Bucket=bucket, Key="k", ChecksumMode="ENABLED")) == default
    ranged = quiet.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", Range="bytes=1-3")
    assert "ChecksumCRC64NVME" not in ranged
    bodies = [content(PART, 1), b"123456789"]
    upload = dict(Bucket=bucket, Key="parts", UploadId=quiet.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"])
    parts = []
    for number, body in enumerate(bodies, 1):
        sent = quiet.upload_part(PartNumber=number, Body=body, **upload)
        assert "ChecksumCRC64NVME" not in sent
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    assert "ChecksumCRC64NVME" not in quiet.list_parts(**upload)["Parts"][0]
    done = quiet.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    quiet.put_object(Bucket=bucket, Key="whole", Body=b"".join(bodies))
    whole = quiet.head_object(Bucket=bucket, Key="whole", ChecksumMode="ENABLED")
    assert shown(done) == shown(whole) == shown(quiet.head_object(Bucket=bucket, Key="parts", ChecksumMode="ENABLED"))


@covers("UploadPart", "CompleteMultipartUpload")
def test_parts_with_other_checksums_make_an_object_with_the_default_one(s3, bucket):
    quiet = client(response_checksum_validation="when_required", request_checksum_calculation="when_required")
    bodies = [content(PART, number) for number in range(1, len(COMPOSITE))] + [b"123456789"]
    whole = quiet.put_object(Bucket=bucket, Key="whole", Body=b"".join(bodies))["ChecksumCRC64NVME"]
    digests = [(f"Checksum{name}", DIGESTS[name]) for name in COMPOSITE]
    upload = dict(Bucket=bucket, Key="parts", UploadId=quiet.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"])
    parts = []
    for number, (body, (field, digest)) in enumerate(zip(bodies, digests), 1):
        right, other = [base64.b64encode(digest(each)).decode() for each in [body, b"other"]]
        refused("BadDigest", 400, quiet.upload_part, PartNumber=number, Body=body, **{field: other}, **upload)
        sent = quiet.upload_part(PartNumber=number, Body=body, **{field: right}, **upload)
        assert sent[field] == right
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    complete = lambda **named: quiet.complete_multipart_upload(MultipartUpload={"Parts": listed}, **named, **upload)
    listed = [{**part, field: base64.b64encode(digest(body)).decode()}
              for part, body, (field, digest) in zip(parts, bodies, digests)]
    refused("BadDigest", 400, complete, ChecksumCRC64NVME=TEXT["CRC64NVME"])
    spoiled = [{**parts[0], "ChecksumCRC64NVME": TEXT["CRC64NVME"]}, *parts[1:]]
    refused("InvalidPart", 400, quiet.complete_multipart_upload, MultipartUpload={"Parts": spoiled}, **upload)
    done = complete(ChecksumCRC64NVME=whole)
    again = complete(ChecksumCRC64NVME=whole)
    found = quiet.head_object(Bucket=bucket, Key="parts", ChecksumMode="ENABLED")
    for answer in [done, again, found]:
        assert (answer["ChecksumCRC64NVME"], answer["ChecksumType"]) == (whole, "FULL_OBJECT")


@covers("PutObject", "UploadPart", "CreateMultipartUpload", "CompleteMultipartUpload", "CopyObject", "DeleteObjects")
def test_checksums_that_s3_does_not_have_are_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"123456789")
    begun = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    tag = s3.upload_part(Bucket=bucket, Key="k", UploadId=begun, PartNumber=1, Body=b"123456789")["ETag"]
    delete = b"<Delete><Object><Key>from</Key></Object></Delete>"
    for name, bytes_ in [("CRC7", 1), ("SHA3", 32), ("XXHASH32", 4)]:
        given = base64.b64encode(b"\0" * bytes_).decode()
        header = {f"x-amz-checksum-{name.lower()}": given}
        listed = (f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag>"
                  f"<Checksum{name}>{given}</Checksum{name}></Part></CompleteMultipartUpload>").encode()
        plain = listed.replace(f"<Checksum{name}>{given}</Checksum{name}>".encode(), b"")
        for method, path, body, more in [
            ("PUT", "k", b"123456789", dict(headers=header)),
            ("PUT", "k", b"123456789", dict(headers={"x-amz-sdk-checksum-algorithm": name})),
            ("PUT", "k", b"123456789", dict(headers=header, query=f"partNumber=1&uploadId={begun}")),
            ("PUT", "k", b"", dict(headers={"x-amz-copy-source": f"{bucket}/from", "x-amz-checksum-algorithm": name})),
            ("POST", "k", b"", dict(headers={"x-amz-checksum-algorithm": name}, query="uploads")),
            ("POST", "k", listed, dict(query=f"uploadId={begun}")),
            ("POST", "k", plain, dict(headers=header, query=f"uploadId={begun}")),
            ("POST", "", delete, dict(headers=header, query="delete")),
        ]:
            answer = raw(method, f"/{bucket}/{path}".rstrip("/"), body, **more)
            assert answer[0] == 400, (name, method, more, answer)
    refused("404", 404, s3.head_object, Bucket=bucket, Key="k")
    s3.head_object(Bucket=bucket, Key="from")


@covers("PutObject", "UploadPart")
def test_each_algorithm_by_trailer(s3, bucket):
    """boto3 sends a trailer when the body is a stream, unsigned over TLS only; signed ones are in boto3_bad_input."""
    data = content(300_000)
    for name in COMPUTED:
        s3.put_object(Bucket=bucket, Key=name, Body=io.BytesIO(data), ChecksumAlgorithm=name)
        found = s3.get_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
        assert found["Body"].read() == data and found[f"Checksum{name}"] == value(name, data)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    for name in ALGORITHMS:
        field = f"x-amz-checksum-{name.lower()}"
        headers = {"x-amz-decoded-content-length": str(len(data)), "content-encoding": "aws-chunked",
                   "x-amz-trailer": field, "x-amz-sdk-checksum-algorithm": name}
        for key, query in [("raw", ""), ("parts", f"partNumber=1&uploadId={upload}")]:
            call = lambda given: send(signed("PUT", f"/{bucket}/{key}", headers, query, payload=UNSIGNED), b"".join([
                f"{len(data):x}\r\n".encode(), data, f"\r\n0\r\n{field}:{given}\r\n\r\n".encode()]))
            answer = call(value(name, data))
            assert answer[0] == 200, (name, answer)
            found = {header.lower(): text for header, text in answer[1].items()}
            assert found[field] == value(name, data)
            told(call(wrong(name)), 400, "BadDigest")
            told(call("AAAA"), 400, "InvalidRequest")
        assert s3.head_object(Bucket=bucket, Key="raw", ChecksumMode="ENABLED")[f"Checksum{name}"] == value(name, data)


@covers("PutObject")
def test_content_md5(s3, bucket):
    right = base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ContentMD5=right)
    found = refused("BadDigest", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"hellO", ContentMD5=right)
    assert found["Error"]["ExpectedDigest"] == hashlib.md5(b"hello").hexdigest()
    for text in ["AAAA", "not base64"]:
        refused("InvalidDigest", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"hello", ContentMD5=text)
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="bad")


@covers("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "ListParts", "ListMultipartUploads",
        "GetObjectAttributes")
def test_the_whole_of_parts_composite(s3, bucket):
    for name in COMPOSITE:
        bodies, field, digest = [content(PART, 1), b"123456789"], f"Checksum{name}", DIGESTS[name]
        created = s3.create_multipart_upload(Bucket=bucket, Key=name, ChecksumAlgorithm=name)
        assert (created["ChecksumAlgorithm"], created["ChecksumType"]) == (name, "COMPOSITE")
        upload = dict(Bucket=bucket, Key=name, UploadId=created["UploadId"])
        parts = []
        for number, body in enumerate(bodies, 1):
            refused("BadDigest", 400, s3.upload_part, PartNumber=number, Body=body, **{field: wrong(name)}, **upload)
            sent = s3.upload_part(PartNumber=number, Body=body, **{field: value(name, body)}, **upload)
            assert sent[field] == value(name, body) and not others(sent, name)
            parts.append({"PartNumber": number, "ETag": sent["ETag"], field: sent[field]})
        listed = s3.list_parts(**upload)
        assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (name, "COMPOSITE")
        assert [part[field] for part in listed["Parts"]] == [part[field] for part in parts]
        [begun] = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
        assert (begun["ChecksumAlgorithm"], begun["ChecksumType"]) == (name, "COMPOSITE")
        spoiled = [dict(parts[0], **{field: parts[1][field]}), parts[1]]
        refused("InvalidPart", 400, s3.complete_multipart_upload, MultipartUpload={"Parts": spoiled}, **upload)
        whole = base64.b64encode(digest(b"".join(map(digest, bodies)))).decode() + "-2"
        done = lambda **named: s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload, **named)
        refused("BadDigest", 400, done, **{field: wrong(name) + "-2"})
        refused("InvalidRequest", 400, done, ChecksumType="FULL_OBJECT")
        answer = done(**{field: whole}, ChecksumType="COMPOSITE")
        assert answer[field] == whole and answer["ChecksumType"] == "COMPOSITE" and not others(answer, name)
        again = done(**{field: whole})
        assert (again["ETag"], again[field]) == (answer["ETag"], whole)
        found = s3.get_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
        assert found["Body"].read() == b"".join(bodies) and found[field] == whole
        assert s3.head_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")["ChecksumType"] == "COMPOSITE"
        one = s3.get_object(Bucket=bucket, Key=name, PartNumber=2, ChecksumMode="ENABLED")
        assert one["Body"].read() == bodies[1] and one[field] == parts[1][field]
        assert one["ChecksumType"] == "COMPOSITE"
        shown = s3.get_object_attributes(Bucket=bucket, Key=name, ObjectAttributes=["Checksum", "ObjectParts"])
        assert shown["Checksum"] == {field: whole.removesuffix("-2"), "ChecksumType": "COMPOSITE"}
        assert [part[field] for part in shown["ObjectParts"]["Parts"]] == [part[field] for part in parts]


@covers("UploadPartCopy")
def test_copied_parts_have_the_checksum_of_the_upload(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"0123456789", ChecksumSHA1=value("SHA1", b"0123456789"))
    for name in ALGORITHMS:
        field = f"Checksum{name}"
        upload = dict(Bucket=bucket, Key=name, UploadId=s3.create_multipart_upload(
            Bucket=bucket, Key=name, ChecksumAlgorithm=name)["UploadId"])
        copied = s3.upload_part_copy(PartNumber=1, CopySource=f"{bucket}/from", CopySourceRange="bytes=1-9", **upload)
        result = copied["CopyPartResult"]
        assert result[field] == TEXT[name] and not others(result, name)
        part = {"PartNumber": 1, "ETag": result["ETag"], field: result[field]}
        assert s3.complete_multipart_upload(MultipartUpload={"Parts": [part]}, **upload)[field]


@covers("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
def test_the_whole_of_parts_full_object(s3, bucket):
    bodies = [content(PART, 1), content(PART, 2), b"123456789"]
    crc = lambda body: base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    upload = dict(Bucket=bucket, Key="k", UploadId=s3.create_multipart_upload(
        Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")["UploadId"])
    parts = [{"PartNumber": number, "ETag": s3.upload_part(
        PartNumber=number, Body=body, ChecksumAlgorithm="CRC32", **upload)["ETag"]} for number, body in enumerate(bodies, 1)]
    done = lambda **named: s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload, **named)
    refused("BadDigest", 400, done, ChecksumCRC32=crc(b"other"), ChecksumType="FULL_OBJECT")
    refused("InvalidRequest", 400, done, ChecksumType="COMPOSITE")
    answer = done(ChecksumCRC32=crc(b"".join(bodies)), ChecksumType="FULL_OBJECT")
    assert (answer["ChecksumCRC32"], answer["ChecksumType"]) == (crc(b"".join(bodies)), "FULL_OBJECT")
    found = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert found["Body"].read() == b"".join(bodies) and found["ChecksumCRC32"] == answer["ChecksumCRC32"]


@covers("CreateMultipartUpload", "UploadPart")
def test_algorithms_that_do_not_fit(s3, bucket):
    create = lambda **named: s3.create_multipart_upload(Bucket=bucket, Key="k", **named)
    for name in ["MD5", "SHA1", "SHA256", "SHA512", "XXHASH64", "XXHASH3", "XXHASH128"]:
        refused("InvalidRequest", 400, create, ChecksumAlgorithm=name, ChecksumType="FULL_OBJECT")
    refused("InvalidRequest", 400, create, ChecksumAlgorithm="CRC64NVME", ChecksumType="COMPOSITE")
    upload = dict(Bucket=bucket, Key="k", UploadId=create(ChecksumAlgorithm="CRC32")["UploadId"])
    for name in set(ALGORITHMS) - {"CRC32"}:
        field = {f"Checksum{name}": TEXT[name]}
        refused("InvalidRequest", 400, s3.upload_part, PartNumber=1, Body=b"123456789", **field, **upload)


@covers("PutObject", "UploadPart")
def test_checksums_that_nobody_verifies_are_refused(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for query in ["", f"partNumber=1&uploadId={upload}"]:
        for name in ["sha3", "xxhash32", "crc7"]:
            for headers in [{f"x-amz-checksum-{name}": "AAAA"}, {"x-amz-trailer": f"x-amz-checksum-{name}"}]:
                told(raw("PUT", f"/{bucket}/k", b"x", query=query, headers=headers), 400, "InvalidRequest")
    refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key="k")


@covers("CreateMultipartUpload")
def test_names_of_kinds_and_algorithms_are_read_in_any_case(s3, bucket):
    for algorithm, kind in [("crc32", "Composite"), ("Crc32c", "full_object"), ("sha256", "COMPOSITE"), ("xxHash3", "composite")]:
        headers = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
        status, found, body = raw("POST", f"/{bucket}/k", query="uploads=", headers=headers)
        assert status == 200, body
        found = {name.lower(): value for name, value in found.items()}
        assert (found["x-amz-checksum-algorithm"], found["x-amz-checksum-type"]) == (algorithm.upper(), kind.upper())


@covers("UploadPart", "CompleteMultipartUpload")
def test_a_composite_checksum_needs_that_of_each_part(s3, bucket):
    quiet = client(response_checksum_validation="when_required", request_checksum_calculation="when_required")
    upload = dict(Bucket=bucket, Key="k", UploadId=quiet.create_multipart_upload(
        Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")["UploadId"])
    refused("InvalidRequest", 400, quiet.upload_part, PartNumber=1, Body=b"x", **upload)
    sent = quiet.upload_part(PartNumber=1, Body=b"123456789", ChecksumAlgorithm="SHA256", **upload)
    part = {"PartNumber": 1, "ETag": sent["ETag"]}
    done = lambda part, **named: quiet.complete_multipart_upload(MultipartUpload={"Parts": [part]}, **upload, **named)
    refused("InvalidRequest", 400, done, part)
    for code, wrong in [("InvalidPart", {"ChecksumSHA256": base64.b64encode(b"0" * 32).decode()}),
                        ("BadDigest", {"ChecksumSHA1": TEXT["SHA1"]}),
                        ("InvalidArgument", {"ChecksumSHA256": "no base64"}),
                        ("InvalidArgument", {"ChecksumSHA256": TEXT["SHA256"], "ChecksumSHA1": TEXT["SHA1"]})]:
        refused(code, 400, done, dict(part, **wrong))
    part["ChecksumSHA256"] = TEXT["SHA256"]
    whole = base64.b64encode(hashlib.sha256(KNOWN["SHA256"]).digest()).decode()
    for code, text in [("BadDigest", TEXT["SHA256"] + "-1"), ("BadDigest", whole + "-2"), ("InvalidRequest", whole + "-x"),
                       ("InvalidRequest", whole + "--1"), ("InvalidRequest", "AAAA")]:
        refused(code, 400, done, part, ChecksumSHA256=text)
    assert done(part, ChecksumSHA256=whole + "-1")["ChecksumSHA256"] == whole + "-1"


@covers("CopyObject")
def test_copies_keep_or_change_the_algorithm(s3, bucket):
    for name, other in zip(ALGORITHMS, ALGORITHMS[1:] + ALGORITHMS[:1]):
        field = f"Checksum{name}"
        s3.put_object(Bucket=bucket, Key="from", Body=b"123456789", **{field: TEXT[name]})
        kept = s3.copy_object(Bucket=bucket, Key="kept", CopySource=f"{bucket}/from")["CopyObjectResult"]
        assert kept[field] == TEXT[name] and kept["ChecksumType"] == "FULL_OBJECT" and not others(kept, name)
        changed = s3.copy_object(Bucket=bucket, Key="changed", CopySource=f"{bucket}/from", ChecksumAlgorithm=other)
        changed = changed["CopyObjectResult"]
        assert changed[f"Checksum{other}"] == TEXT[other] and not others(changed, other)
        found = s3.head_object(Bucket=bucket, Key="changed", ChecksumMode="ENABLED")
        assert found[f"Checksum{other}"] == TEXT[other]


@covers("PutObject", "RenameObject")
def test_appends_and_renames_of_each_algorithm(s3, bucket):
    """After an append the checksum of the whole is known if it is a CRC; a rename keeps it."""
    plain = another(s3, bucket, "plain")
    for name in ALGORITHMS:
        field = f"Checksum{name}"
        s3.put_object(Bucket=plain, Key=name, Body=b"1234", **{field: value(name, b"1234")})
        rename = {"x-amz-rename-source": name}
        assert raw("PUT", f"/{plain}/{name}-new", query="renameObject=", headers=rename)[0] == 200
        head = lambda: s3.head_object(Bucket=plain, Key=f"{name}-new", ChecksumMode="ENABLED")
        assert head()[field] == value(name, b"1234")
        append = dict(Bucket=plain, Key=f"{name}-new", Body=b"56789", WriteOffsetBytes=4)
        refused("BadDigest", 400, s3.put_object, **{field: wrong(name)}, **append)
        s3.put_object(**{field: value(name, b"56789")}, **append)
        assert head().get(field) == (TEXT[name] if name.startswith("CRC") else None) and not others(head(), name)
        assert s3.get_object(Bucket=plain, Key=f"{name}-new", ChecksumMode="ENABLED")["Body"].read() == b"123456789"


run(globals())
