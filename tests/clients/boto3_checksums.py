"""The five checksums, by header and by trailer, and Content-MD5: verified, stored, returned."""

import base64
import hashlib
import zlib

from _support import PART, client, content, covers, raw, refused, run, told

ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]
# Of b"123456789", from the definitions of the algorithms.
KNOWN = {
    "CRC32": (0xCBF43926).to_bytes(4, "big"),
    "CRC32C": (0xE3069283).to_bytes(4, "big"),
    "CRC64NVME": (0xAE8B14860A799888).to_bytes(8, "big"),
    "SHA1": hashlib.sha1(b"123456789").digest(),
    "SHA256": hashlib.sha256(b"123456789").digest(),
}
TEXT = {name: base64.b64encode(digest).decode() for name, digest in KNOWN.items()}


@covers("PutObject", "GetObject", "HeadObject")
def test_each_algorithm_by_header(s3, bucket):
    for name in ALGORITHMS:
        field = f"Checksum{name}"
        answer = s3.put_object(Bucket=bucket, Key=name, Body=b"123456789", **{field: TEXT[name]})
        assert answer[field] == TEXT[name] and answer["ChecksumType"] == "FULL_OBJECT"
        for call in [s3.head_object, s3.get_object]:
            found = call(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
            assert found[field] == TEXT[name] and found["ChecksumType"] == "FULL_OBJECT"
        wrong = base64.b64encode(b"\0" * len(KNOWN[name])).decode()
        refused("BadDigest", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"123456789", **{field: wrong})
        refused("InvalidRequest", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"123456789", **{field: "AAAA"})
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="bad")
    refused("InvalidRequest", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"123456789",
            ChecksumSHA1=TEXT["SHA1"], ChecksumCRC32=TEXT["CRC32"])


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
    bodies = [content(PART, 1), b"123456789"]
    whole = quiet.put_object(Bucket=bucket, Key="whole", Body=b"".join(bodies))["ChecksumCRC64NVME"]
    digests = [("ChecksumCRC32", lambda body: zlib.crc32(body).to_bytes(4, "big")),
               ("ChecksumSHA256", lambda body: hashlib.sha256(body).digest())]
    upload = dict(Bucket=bucket, Key="parts", UploadId=quiet.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"])
    parts = []
    for number, (body, (field, digest)) in enumerate(zip(bodies, digests), 1):
        value, wrong = [base64.b64encode(digest(each)).decode() for each in [body, b"other"]]
        refused("BadDigest", 400, quiet.upload_part, PartNumber=number, Body=body, **{field: wrong}, **upload)
        sent = quiet.upload_part(PartNumber=number, Body=body, **{field: value}, **upload)
        assert sent[field] == value
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    complete = lambda **named: quiet.complete_multipart_upload(MultipartUpload={"Parts": listed}, **named, **upload)
    listed = [{**part, field: base64.b64encode(digest(body)).decode()}
              for part, body, (field, digest) in zip(parts, bodies, digests)]
    refused("BadDigest", 400, complete, ChecksumCRC64NVME=TEXT["CRC64NVME"])
    spoiled = [{**parts[0], "ChecksumCRC64NVME": TEXT["CRC64NVME"]}, parts[1]]
    refused("InvalidPart", 400, quiet.complete_multipart_upload, MultipartUpload={"Parts": spoiled}, **upload)
    done = complete(ChecksumCRC64NVME=whole)
    again = complete(ChecksumCRC64NVME=whole)
    found = quiet.head_object(Bucket=bucket, Key="parts", ChecksumMode="ENABLED")
    for answer in [done, again, found]:
        assert (answer["ChecksumCRC64NVME"], answer["ChecksumType"]) == (whole, "FULL_OBJECT")


@covers("PutObject", "UploadPart", "CreateMultipartUpload", "CompleteMultipartUpload", "CopyObject", "DeleteObjects")
def test_checksums_that_are_not_there_are_refused(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"123456789")
    begun = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    tag = s3.upload_part(Bucket=bucket, Key="k", UploadId=begun, PartNumber=1, Body=b"123456789")["ETag"]
    delete = b"<Delete><Object><Key>from</Key></Object></Delete>"
    for name, bytes_ in [("MD5", 16), ("SHA512", 64), ("XXHASH3", 8), ("XXHASH64", 8), ("XXHASH128", 16)]:
        value = base64.b64encode(b"\0" * bytes_).decode()
        header = {f"x-amz-checksum-{name.lower()}": value}
        listed = (f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag>"
                  f"<Checksum{name}>{value}</Checksum{name}></Part></CompleteMultipartUpload>").encode()
        plain = listed.replace(f"<Checksum{name}>{value}</Checksum{name}>".encode(), b"")
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


@covers("PutObject")
def test_by_trailer_with_and_without_signed_chunks(s3, bucket):
    """boto3 sends a trailer when the body is a stream: unsigned over TLS only, so both framings are in boto3_bad_input."""
    import io
    data = content(300_000)
    for name in ["CRC32", "SHA1", "SHA256"]:
        s3.put_object(Bucket=bucket, Key=name, Body=io.BytesIO(data), ChecksumAlgorithm=name)
        found = s3.get_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
        assert found["Body"].read() == data and found[f"Checksum{name}"]


@covers("PutObject")
def test_content_md5(s3, bucket):
    right = base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ContentMD5=right)
    found = refused("BadDigest", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"hellO", ContentMD5=right)
    assert found["Error"]["ExpectedDigest"] == hashlib.md5(b"hello").hexdigest()
    for text in ["AAAA", "not base64"]:
        refused("InvalidDigest", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"hello", ContentMD5=text)
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="bad")


@covers("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
def test_the_whole_of_parts_composite(s3, bucket):
    for name, digest in [("CRC32", lambda body: zlib.crc32(body).to_bytes(4, "big")),
                         ("SHA1", lambda body: hashlib.sha1(body).digest()),
                         ("SHA256", lambda body: hashlib.sha256(body).digest())]:
        bodies, field = [content(PART, 1), b"123456789"], f"Checksum{name}"
        created = s3.create_multipart_upload(Bucket=bucket, Key=name, ChecksumAlgorithm=name)
        assert (created["ChecksumAlgorithm"], created["ChecksumType"]) == (name, "COMPOSITE")
        upload = dict(Bucket=bucket, Key=name, UploadId=created["UploadId"])
        parts = []
        for number, body in enumerate(bodies, 1):
            sent = s3.upload_part(PartNumber=number, Body=body, ChecksumAlgorithm=name, **upload)
            assert sent[field] == base64.b64encode(digest(body)).decode()
            parts.append({"PartNumber": number, "ETag": sent["ETag"], field: sent[field]})
        assert s3.list_parts(**upload)["Parts"][0][field] == parts[0][field]
        spoiled = [dict(parts[0], **{field: parts[1][field]}), parts[1]]
        refused("InvalidPart", 400, s3.complete_multipart_upload, MultipartUpload={"Parts": spoiled}, **upload)
        answer = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
        whole = base64.b64encode(digest(b"".join(map(digest, bodies)))).decode() + "-2"
        assert answer[field] == whole and answer["ChecksumType"] == "COMPOSITE"
        again = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **{field: whole}, **upload)
        assert (again["ETag"], again[field]) == (answer["ETag"], whole)
        found = s3.get_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
        assert found["Body"].read() == b"".join(bodies) and found[field] == whole
        one = s3.get_object(Bucket=bucket, Key=name, PartNumber=2, ChecksumMode="ENABLED")
        assert one["Body"].read() == bodies[1] and one[field] == parts[1][field]
        assert one["ChecksumType"] == "COMPOSITE"


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
    refused("InvalidRequest", 400, create, ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")
    refused("InvalidRequest", 400, create, ChecksumAlgorithm="CRC64NVME", ChecksumType="COMPOSITE")
    upload = dict(Bucket=bucket, Key="k", UploadId=create(ChecksumAlgorithm="CRC32")["UploadId"])
    refused("InvalidRequest", 400, s3.upload_part, PartNumber=1, Body=b"123456789", ChecksumSHA1=TEXT["SHA1"], **upload)


@covers("PutObject", "UploadPart")
def test_checksums_that_nobody_verifies_are_refused(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for query in ["", f"partNumber=1&uploadId={upload}"]:
        for name in ["sha512", "md5", "xxhash64", "xxhash3", "xxhash128", "crc7"]:
            for headers in [{f"x-amz-checksum-{name}": "AAAA"}, {"x-amz-trailer": f"x-amz-checksum-{name}"}]:
                told(raw("PUT", f"/{bucket}/k", b"x", query=query, headers=headers), 400, "InvalidRequest")
    refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key="k")


@covers("CreateMultipartUpload")
def test_names_of_kinds_and_algorithms_are_read_in_any_case(s3, bucket):
    for algorithm, kind in [("crc32", "Composite"), ("Crc32c", "full_object"), ("sha256", "COMPOSITE")]:
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
    s3.put_object(Bucket=bucket, Key="from", Body=b"123456789", ChecksumSHA1=TEXT["SHA1"])
    kept = s3.copy_object(Bucket=bucket, Key="kept", CopySource=f"{bucket}/from")["CopyObjectResult"]
    assert kept["ChecksumSHA1"] == TEXT["SHA1"]
    changed = s3.copy_object(Bucket=bucket, Key="changed", CopySource=f"{bucket}/from", ChecksumAlgorithm="SHA256")
    assert changed["CopyObjectResult"]["ChecksumSHA256"] == TEXT["SHA256"]
    assert s3.head_object(Bucket=bucket, Key="changed", ChecksumMode="ENABLED")["ChecksumSHA256"] == TEXT["SHA256"]


run(globals())
