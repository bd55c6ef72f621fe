"""Requests that no SDK sends: framings, lengths, signatures and XML that are wrong. Nothing may be stored of them."""

import base64
import hashlib
import hmac
import json
import re
import socket
import urllib.parse
import zlib

from _support import ENDPOINT, REGION, SECRET_KEY, client, content, covers, dial, fetch, follow, raw, refused, run, send, signed, until

UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
EMPTY = hashlib.sha256(b"").hexdigest()


def told(answer, status, code):
    assert (answer[0], f"<Code>{code}</Code>".encode() in answer[2]) == (status, True), answer


def absent(s3, bucket, key="k"):
    refused("404", 404, s3.head_object, Bucket=bucket, Key=key)


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


class Chunks:
    """Signs the chunks of one request after the signature of its head."""

    def __init__(self, request):
        authorization = request.headers["Authorization"]
        self.previous = authorization.rsplit("Signature=", 1)[1]
        self.date = request.headers["X-Amz-Date"]
        self.scope = f"{self.date[:8]}/{REGION}/s3/aws4_request"
        key = f"AWS4{SECRET_KEY}".encode()
        for word in self.scope.split("/"):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        self.key = key

    def sign(self, kind, *lines):
        text = "\n".join([f"AWS4-HMAC-SHA256-{kind}", self.date, self.scope, self.previous, *lines])
        self.previous = hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()
        return self.previous

    def chunk(self, data):
        signature = self.sign("PAYLOAD", EMPTY, hashlib.sha256(data).hexdigest())
        return f"{len(data):x};chunk-signature={signature}\r\n".encode() + data + (b"\r\n" if data else b"")

    def trailer(self, text):
        signature = self.sign("TRAILER", hashlib.sha256(f"{text}\n".encode()).hexdigest())
        return f"{text}\r\nx-amz-trailer-signature:{signature}\r\n\r\n".encode()


def framed(bucket, payload, length, trailer=None, key="k"):
    headers = {"x-amz-decoded-content-length": str(length), "content-encoding": "aws-chunked"}
    if trailer:
        headers["x-amz-trailer"] = trailer
    return signed("PUT", f"/{bucket}/{key}", headers=headers, payload=payload)


@covers("PutObject")
def test_f5_signed_chunks_are_verified(s3, bucket):
    data = content(200_000)
    pieces = [data[at:at + 65_536] for at in range(0, len(data), 65_536)] + [b""]
    request = framed(bucket, SIGNED, len(data))
    chunks = Chunks(request)
    body = b"".join(map(chunks.chunk, pieces)) + b"\r\n"
    assert send(request, body)[0] == 200
    found = s3.get_object(Bucket=bucket, Key="k")
    assert found["Body"].read() == data and "ContentEncoding" not in found
    s3.delete_object(Bucket=bucket, Key="k")
    altered = bytearray(body)
    altered[150_000] ^= 1
    told(send(request, bytes(altered)), 403, "SignatureDoesNotMatch")
    told(send(request, body[:100_000]), 400, "IncompleteBody")
    absent(s3, bucket)


@covers("PutObject")
def test_f5_trailers_are_verified(s3, bucket):
    data = content(100_000)
    for payload in [SIGNED_TRAILER, UNSIGNED]:
        for given, status, code in [(crc32(data), 200, None), (crc32(b"other"), 400, "BadDigest"),
                                    ("AAAA", 400, "InvalidRequest"), (None, 400, "MalformedTrailerError")]:
            request = framed(bucket, payload, len(data), "x-amz-checksum-crc32")
            chunks = Chunks(request)
            line = f"x-amz-checksum-crc32:{given}"
            if payload == UNSIGNED:
                body = f"{len(data):x}\r\n".encode() + data + b"\r\n0\r\n"
                body += f"{line}\r\n\r\n".encode() if given else b"\r\n"
            elif given:
                body = chunks.chunk(data) + chunks.chunk(b"") + chunks.trailer(line)
            else:
                body = chunks.chunk(data) + chunks.chunk(b"") + b"\r\n"
            answer = send(request, body)
            if status == 200:
                assert answer[0] == 200, answer
                assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"] == given
                s3.delete_object(Bucket=bucket, Key="k")
            else:
                # A signed trailer has a signature, whatever else it lacks.
                unsigned = given is None and payload == SIGNED_TRAILER
                told(answer, status, "IncompleteBody" if unsigned else code)
                absent(s3, bucket)
    request = framed(bucket, SIGNED_TRAILER, len(data), "x-amz-checksum-crc32")
    chunks = Chunks(request)
    body = chunks.chunk(data) + chunks.chunk(b"") + chunks.trailer(f"x-amz-checksum-crc32:{crc32(data)}")
    told(send(request, body[:-20] + b"0000" + body[-16:]), 403, "SignatureDoesNotMatch")
    absent(s3, bucket)


@covers("PutObject")
def test_framings_that_are_cut_or_too_fine(s3, bucket):
    trailer = f"x-amz-checksum-crc32:{crc32(b'hello')}"
    for end in [b"", b"0\r\n\r", f"0\r\n{trailer}".encode(), f"0\r\n{trailer}\n".encode()]:
        told(send(framed(bucket, UNSIGNED, 5, "x-amz-checksum-crc32"), b"5\r\nhello\r\n" + end), 400, "IncompleteBody")
    body = f"5\r\nhello\r\n0\r\n{trailer}\r\na:b\r\n\r\n".encode()
    told(send(framed(bucket, UNSIGNED, 5, "x-amz-checksum-crc32"), body), 400, "MalformedTrailerError")
    told(send(framed(bucket, UNSIGNED, 5, "x-amz-meta-a"), body), 400, "InvalidRequest")
    answer = send(framed(bucket, UNSIGNED, 9), b"5\r\nhello\r\n0\r\n\r\n")
    told(answer, 400, "IncompleteBody")
    assert b"<NumberBytesExpected>9</NumberBytesExpected><NumberBytesProvided>5</NumberBytesProvided>" in answer[2], answer
    request = framed(bucket, SIGNED, 2000)
    chunks = Chunks(request)
    answer = send(request, b"".join(map(chunks.chunk, [b"a" * 1000, b"b" * 1000, b""])) + b"\r\n")
    told(answer, 403, "InvalidChunkSizeError")
    assert b"<Chunk>2</Chunk><BadChunkSize>1000</BadChunkSize>" in answer[2], answer
    absent(s3, bucket)


@covers("PutObject")
def test_framings_that_are_none(s3, bucket):
    for body in [b"zz\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"\r\n\r\n", b"x" * 5000]:
        told(send(framed(bucket, UNSIGNED, 5, "x-amz-checksum-crc32"), body), 400, "IncompleteBody")
    for body in [b"5\r\nhel", b"4\r\nhell\r\n0\r\n\r\n", b"6\r\nhello!\r\n0\r\n\r\n"]:
        told(send(framed(bucket, UNSIGNED, 5, "x-amz-checksum-crc32"), body), 400, "IncompleteBody")
    request = signed("PUT", f"/{bucket}/k", headers={"x-amz-trailer": "x-amz-checksum-crc32"}, payload=UNSIGNED)
    told(send(request, b"0\r\n\r\n"), 411, "MissingContentLength")
    for length in ["abc", "12x"]:
        told(send(framed(bucket, UNSIGNED, length, "x-amz-checksum-crc32"), b"0\r\n\r\n"), 411, "MissingContentLength")
    absent(s3, bucket)


@covers("PutObject", "UploadPart")
def test_a_body_that_may_have_trailers_may_have_none(s3, bucket):
    data, end = content(100_000), b"\r\n0\r\n\r\n"
    body = f"{len(data):x}\r\n".encode() + data + end
    status, headers, answer = send(framed(bucket, UNSIGNED, len(data)), body)
    assert status == 200 and "x-amz-checksum-crc64nvme" in map(str.lower, headers), (status, headers, answer)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data
    s3.delete_object(Bucket=bucket, Key="k")
    request = framed(bucket, SIGNED_TRAILER, len(data))
    chunks = Chunks(request)
    ending = chunks.chunk(data) + chunks.chunk(b"") + chunks.trailer(f"x-amz-checksum-crc32:{crc32(data)}")
    told(send(request, ending), 400, "MalformedTrailerError")
    unannounced = body.replace(end, f"\r\n0\r\nx-amz-checksum-crc32:{crc32(data)}\r\n\r\n".encode())
    told(send(framed(bucket, UNSIGNED, len(data)), unannounced), 400, "MalformedTrailerError")
    absent(s3, bucket)
    for given, status in [(crc32(data), 200), (crc32(b"other"), 400)]:
        headers = {"x-amz-decoded-content-length": str(len(data)), "x-amz-checksum-crc32": given}
        assert send(signed("PUT", f"/{bucket}/k", headers=headers, payload=UNSIGNED), body)[0] == status
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    headers = {"x-amz-decoded-content-length": str(len(data))}
    part = signed("PUT", f"/{bucket}/parts", headers=headers, payload=UNSIGNED,
                  query=urllib.parse.urlencode({"partNumber": 1, "uploadId": upload["UploadId"]}))
    status, headers, answer = send(part, body)
    sums = [value for name, value in headers.items() if name.lower() == "x-amz-checksum-crc32"]
    assert (status, sums) == (200, [crc32(data)]), (status, headers, answer)


@covers("PutObject")
def test_f4_a_signed_chunk_cannot_claim_the_memory(s3, bucket):
    request = framed(bucket, SIGNED, 1 << 32)
    told(send(request, b"ffffffff;chunk-signature=" + b"0" * 64 + b"\r\n" + b"x" * 1000), 400, "IncompleteBody")
    absent(s3, bucket)
    # No part of a chunk is held until its signature is known: one may be as large as the object.
    data = content(20 << 20)
    request = framed(bucket, SIGNED, len(data))
    chunks = Chunks(request)
    body = chunks.chunk(data) + chunks.chunk(b"") + b"\r\n"
    assert send(request, body)[0] == 200
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == len(data)
    s3.delete_object(Bucket=bucket, Key="k")
    told(send(request, body[:-300] + bytes([body[-300] ^ 1]) + body[-299:]), 403, "SignatureDoesNotMatch")
    absent(s3, bucket)


@covers("PutObject")
def test_lengths_that_lie(s3, bucket):
    where = urllib.parse.urlsplit(ENDPOINT)
    request = signed("PUT", f"/{bucket}/k", payload="UNSIGNED-PAYLOAD")
    head = f"PUT {where.path}/{bucket}/k HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: 1000\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in request.headers.items()) + "\r\n"
    with dial() as connection:
        connection.sendall(head.encode() + b"short")
        connection.shutdown(socket.SHUT_WR)
        assert b" 200 " not in connection.recv(4096).split(b"\r\n")[0]
    with dial() as connection:
        connection.sendall(head.encode() + b"gone")
    absent(s3, bucket)
    huge = signed("PUT", f"/{bucket}/k", payload="UNSIGNED-PAYLOAD")
    told(send(huge, b"x", length=(5 << 30) + 1), 400, "EntityTooLarge")
    absent(s3, bucket)


@covers("PutObject", "DeleteObjects")
def test_payloads_that_are_not_what_was_signed(s3, bucket):
    request = signed("PUT", f"/{bucket}/k", body=b"hello")
    answer = send(request, b"hellO")
    told(answer, 400, "XAmzContentSHA256Mismatch")
    signed_hash = hashlib.sha256(b"hello").hexdigest()
    assert f"<ClientComputedContentSHA256>{signed_hash}<".encode() in answer[2], answer
    assert b"The provided 'x-amz-content-sha256' header does not match what was computed." in answer[2], answer
    absent(s3, bucket)
    xml = b"<Delete><Object><Key>k</Key></Object></Delete>"
    request = signed("POST", f"/{bucket}", query="delete=", body=xml)
    told(send(request, xml.replace(b"k", b"j")), 400, "XAmzContentSHA256Mismatch")
    told(raw("POST", f"/{bucket}", query="delete=", body=xml, headers={"content-md5": "A" * 22 + "=="}), 400, "BadDigest")
    answer = raw("POST", f"/{bucket}", query="delete=", body=xml, headers={"content-md5": "AAAA"})
    told(answer, 400, "InvalidDigest")
    assert b"<Content-MD5>AAAA</Content-MD5>" in answer[2], answer
    answer = raw("POST", f"/{bucket}", query="delete=", body=xml)
    told(answer, 400, "InvalidRequest")
    assert b"Missing required header for this request: Content-MD5 OR x-amz-checksum-*" in answer[2], answer
    for name, value in [("content-md5", base64.b64encode(hashlib.md5(xml).digest()).decode()),
                        ("x-amz-checksum-crc32", crc32(xml))]:
        assert raw("POST", f"/{bucket}", query="delete=", body=xml, headers={name: value})[0] == 200
    answer = raw("POST", f"/{bucket}", query="delete=", body=xml, headers={"x-amz-checksum-crc32": crc32(b"other")})
    told(answer, 400, "BadDigest")
    assert b"The CRC32 you specified did not match the calculated checksum." in answer[2], answer


@covers("PutBucketTagging", "PutObjectTagging", "PutBucketPolicy", "DeleteObjects")
def test_digests_of_xml_and_json_are_compared(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/absent"}
    rules = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()
    deletes = b"<Delete><Object><Key>k</Key></Object></Delete>"
    made = b"<CreateBucketConfiguration><Tags><Tag><Key>a</Key><Value/></Tag></Tags></CreateBucketConfiguration>"
    calls = [("PUT", f"/{bucket}-x", "", made), ("PUT", f"/{bucket}", "tagging=", tags), ("PUT", f"/{bucket}/k", "tagging=", tags),
             ("PUT", f"/{bucket}", "policy=", rules), ("POST", f"/{bucket}", "delete=", deletes)]
    for method, path, query, body in calls:
        sha1 = base64.b64encode(hashlib.sha1(body).digest()).decode()
        for headers, code in [({"content-md5": "A" * 22 + "=="}, "BadDigest"), ({"content-md5": "nonsense"}, "InvalidDigest"),
                              ({"x-amz-checksum-crc32": crc32(b"other")}, "BadDigest"),
                              ({"x-amz-checksum-crc32": "AAAA"}, "InvalidRequest"),
                              ({"x-amz-checksum-crc32": crc32(body), "x-amz-checksum-sha1": sha1}, "InvalidRequest")]:
            told(raw(method, path, query=query, body=body, headers=headers), 400, code)
        request = signed(method, path, query=query, body=body, headers={"x-amz-checksum-crc32": crc32(body)})
        told(send(request, body + b" "), 400, "XAmzContentSHA256Mismatch")
    refused("NoSuchBucket", 404, s3.head_bucket, Bucket=bucket + "-x")
    refused("NoSuchTagSet", 404, s3.get_bucket_tagging, Bucket=bucket)
    refused("NoSuchBucketPolicy", 404, s3.get_bucket_policy, Bucket=bucket)
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    for method, path, query, body in calls:
        answer = raw(method, path, query=query, body=body, headers={"x-amz-checksum-crc32": crc32(body)})
        assert answer[0] in (200, 204), answer


@covers("DeleteObjects")
def test_a_list_of_what_to_delete_comes_with_its_digest_and_unframed(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    xml = b"<Delete><Object><Key>k</Key></Object></Delete>"
    announced = {"x-amz-trailer": "x-amz-checksum-crc32"}
    told(raw("POST", f"/{bucket}", query="delete=", body=xml, headers=announced), 400, "InvalidRequest")
    headers = {"x-amz-decoded-content-length": str(len(xml)), "content-encoding": "aws-chunked", **announced}
    request = signed("POST", f"/{bucket}", query="delete=", headers=headers, payload=UNSIGNED)
    framed_list = f"{len(xml):x}\r\n".encode() + xml + f"\r\n0\r\nx-amz-checksum-crc32:{crc32(xml)}\r\n\r\n".encode()
    told(send(request, framed_list), 501, "NotImplemented")
    s3.head_object(Bucket=bucket, Key="k")


@covers("ListObjects")
def test_signatures_that_are_malformed(s3, bucket):
    request = signed("GET", f"/{bucket}")
    right = request.headers["Authorization"]
    for header in ["AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=x", "Basic abc", right.replace("/s3/", "/sts/"),
                   right.replace("SignedHeaders=host;", "SignedHeaders="), right[:-1], "AWS key:signature"]:
        del request.headers["Authorization"]
        request.headers["Authorization"] = header
        status, _, body = send(request)
        assert status in (400, 403) and b"<Error><Code>" in body and b"<RequestId>" in body, (header, status, body)
    request = signed("GET", f"/{bucket}", query="list-type=2")
    request.headers.replace_header("Authorization", right)
    status, _, body = send(request)
    text = body.decode()
    assert status == 403 and "<Code>SignatureDoesNotMatch</Code>" in text, (status, text)
    for part in [f"<CanonicalRequest>GET\n", f"/{bucket}\nlist-type=2\nhost:", "<StringToSign>AWS4-HMAC-SHA256\n",
                 "<StringToSignBytes>41 57 53 34 2d", "<CanonicalRequestBytes>47 45 54 0a"]:
        assert part in text, (part, text)
    request = signed("GET", f"/{bucket}")
    request.headers["x-amz-storage-class"] = "STANDARD"
    told(send(request), 403, "AccessDenied")
    request = signed("GET", f"/{bucket}")
    request.headers.replace_header("X-Amz-Date", "20200101T000000Z")
    told(send(request), 400, "AuthorizationHeaderMalformed")


@covers("GetObject", "PutObject", "ListObjectsV2", "CopyObject")
def test_refusals_are_in_awss_words(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    long = "k" * 1025
    metadata = {"x-amz-meta-a": "v" * 2048}
    both = {"If-Match": '"a"', "If-None-Match": "*"}
    condition = "A header you provided implies functionality that is not implemented"
    for method, path, body, more, status, words, elements in [
        ("GET", "", b"", dict(query="list-type=2&encoding-type=x"), 400, "Invalid Encoding Method specified in Request", {}),
        ("GET", "", b"", dict(query="list-type=2&continuation-token=x"), 400,
         "The continuation token provided is incorrect", {}),
        ("GET", "/k", b"", dict(headers={"x-amz-expected-bucket-owner": "123456789012"}), 403, "Access Denied", {}),
        ("PUT", f"/{long}", b"x", {}, 400, "Your key is too long", {}),
        ("PUT", "/a", b"x", dict(headers=metadata), 400, "Your metadata headers exceed the maximum allowed metadata size",
         {"Size": "2049", "MaxSizeAllowed": "2048"}),
        ("PUT", "/a", b"x", dict(headers=both), 501, condition,
         {"Header": "If-Match,If-None-Match", "additionalMessage": "Multiple conditional request headers present in the request"}),
        ("PUT", "/a", b"x", dict(headers={"If-None-Match": '"a", "b"'}), 501, condition, {"Header": "If-None-Match"}),
        ("PUT", "/k", b"", dict(headers={"x-amz-copy-source": f"{bucket}/%ZZ"}), 400, "Invalid copy source encoding", {}),
        ("PUT", "", b"", dict(query="tagging"), 400, "Request Body is empty", {}),
    ]:
        found = raw(method, f"/{bucket}{path}", body, **more)
        text = found[2].decode()
        assert (found[0], f"<Message>{words}</Message>" in text) == (status, True), (words, found)
        for name, value in elements.items():
            assert f"<{name}>{value}</{name}>" in text, (name, text)


@covers("GetObject")
def test_a_url_that_has_expired_says_when(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    signer = client(signature_version="s3v4")
    url = signer.generate_presigned_url("get_object", Params=dict(Bucket=bucket, Key="k"), ExpiresIn=1)
    status, _, body = until(lambda: (lambda found: found if found[0] != 200 else None)(follow(url)), "it expires")
    text = body.decode()
    assert status == 403 and "<Message>Request has expired</Message><X-Amz-Expires>1</X-Amz-Expires>" in text, text
    for name in ["Expires", "ServerTime"]:
        assert re.search(rf"<{name}>\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ</{name}>", text), (name, text)


@covers("ListObjects", "GetObject")
def test_a_signature_is_for_a_day_and_for_s3(s3, bucket):
    def changed(old, new, **headers):
        request = signed("GET", f"/{bucket}")
        right = request.headers["Authorization"]
        assert old in right
        for name, value in {"Authorization": right.replace(old, new), **headers}.items():
            del request.headers[name]
            request.headers[name] = value
        return send(request)

    today = signed("GET", f"/{bucket}").headers["X-Amz-Date"][:8]
    for old, new in [("/s3/", "/ec2/"), (f"/{today}/", "/20200101/"), ("SignedHeaders=", "SignedHeaders-"),
                     ("Signature=", "Sign="), ("Credential=", "Key=")]:
        told(changed(old, new), 400, "AuthorizationHeaderMalformed")
    answer = changed(f"/{today}/", "/20200101/", **{"X-Amz-Date": "20200101T000000Z"})
    told(answer, 403, "RequestTimeTooSkewed")
    assert f"<ServerTime>{today[:4]}-".encode() in answer[2], answer
    told(changed("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA1"), 400, "InvalidArgument")
    url = client(signature_version="s3v4").generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    for old, new in [("%2Fs3%2F", "%2Fsns%2F"), (f"%2F{today}%2F", "%2F20200101%2F")]:
        assert old in url
        told(follow(url.replace(old, new)), 400, "AuthorizationQueryParametersError")


@covers("DeleteObjects", "CompleteMultipartUpload", "CreateBucket")
def test_xml_that_is_malformed(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for body in [b"", b"<", b"not xml", b"<Delete>", b"<Other></Other>", b"<Delete></Delete>", b"\xff\xfe",
                 b"<Delete><Object></Object></Delete>", b"<!DOCTYPE x [<!ENTITY e 'e'>]><Delete>&e;</Delete>"]:
        digest = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
        status, _, answer = raw("POST", f"/{bucket}", query="delete=", body=body, headers=digest)
        assert status == 400 and b"<Code>M" in answer, (body, status, answer)
        status, _, answer = raw("POST", f"/{bucket}/k", query=f"uploadId={upload}", body=body)
        assert status == 400 and b"<Code>MalformedXML" in answer, (body, status, answer)
    status, _, answer = raw("PUT", f"/{bucket}-other", body=b"<CreateBucketConfiguration>")
    assert status == 400 and b"<Code>MalformedXML" in answer
    status, _, answer = raw("POST", f"/{bucket}", query="delete=", body=b"<Delete>" + b"x" * (9 << 20))
    assert status == 400, (status, answer)


@covers("PutBucketLifecycleConfiguration", "PutObjectTagging", "DeleteObjects", "GetObjectAttributes")
def test_what_is_understood_by_half_is_refused(s3, bucket):
    """A rule, a number or a key of which a part is skipped would mean something else: a filter of everything, 1 for 1,000."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")

    def lifecycle(rule_filter, days="9"):
        rule = f"<Rule>{rule_filter}<Status>Enabled</Status><Expiration><Days>{days}</Days></Expiration></Rule>"
        return raw("PUT", f"/{bucket}", query="lifecycle=", body=f"<LifecycleConfiguration>{rule}</LifecycleConfiguration>".encode())

    everything = "<Filter><Prefix></Prefix></Filter>"
    for rule_filter in ["<Filter>logs/</Filter>", "<Filter><prefix>logs/</prefix></Filter>", "<Filter/>logs/",
                        "<Filter><a:Prefix xmlns:a='a'>logs/</a:Prefix></Filter>", "<Filter/><Except>k</Except>"]:
        told(lifecycle(rule_filter), 400, "MalformedXML")
    for days in ["1,000", "1.000", "1 000", "9d", "1e3", ""]:
        told(lifecycle(everything, days), 400, "MalformedXML")
    refused("NoSuchLifecycleConfiguration", 404, s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    status, _, answer = lifecycle("<Filter><Prefix><![CDATA[logs/<b>&]]>/c</Prefix></Filter>", "1<![CDATA[0]]>")
    assert status == 200, answer
    [kept] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert (kept["Filter"], kept["Expiration"]) == ({"Prefix": "logs/<b>&/c"}, {"Days": 10}), kept

    tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value><![CDATA[b]]>c</Value></Tag></TagSet></Tagging>"
    assert raw("PUT", f"/{bucket}/k", query="tagging=", body=tags)[0] == 200
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "bc"}]
    for key in ["other<!-- -->/", "<![CDATA[other]]>/"]:
        s3.put_object(Bucket=bucket, Key="other/", Body=b"")
        body = f"<Delete><Object><Key>{key}</Key></Object></Delete>".encode()
        digest = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
        assert raw("POST", f"/{bucket}", query="delete=", body=body, headers=digest)[0] == 200
        absent(s3, bucket, "other/")
    for query, root, content in [("analytics=&id=a", "AnalyticsConfiguration", "<Id>a</Id><filter/>"),
                                 ("metrics=&id=a", "MetricsConfiguration", "<Id>a</Id><Filter>logs/</Filter>"),
                                 ("versioning=", "VersioningConfiguration", "<Status>Enabled</Status><MfaDelete>junk</MfaDelete>"),
                                 ("lifecycle=", "LifecycleConfiguration", "<Rule><ID>\x01</ID></Rule>")]:
        told(raw("PUT", f"/{bucket}", query=query, body=f"<{root}>{content}</{root}>".encode()), 400, "MalformedXML")
    s3.put_object(Bucket=bucket, Key="a\x01b", Body=b"")
    body = b"<?xml version='1.0' encoding='UTF-8'?><Delete><Object><Key>a&#x1;b</Key></Object></Delete>"
    digest = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
    assert raw("POST", f"/{bucket}", query="delete=", body=body, headers=digest)[0] == 200
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    for name in ["x-amz-max-parts", "x-amz-part-number-marker"]:
        told(raw("GET", f"/{bucket}/k", query="attributes=", headers={"x-amz-object-attributes": "ETag", name: "5x"}), 400,
             "InvalidArgument")


@covers("PutObject", "DeleteObject", "PutObjectTagging", "DeleteBucket", "DeleteObjects")
def test_a_condition_that_is_not_known_is_refused(s3, bucket):
    past = "Thu, 01 Jan 1970 00:16:39 GMT"
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    for method, path, query, headers in [
        ("PUT", f"/{bucket}/k", "", {"if-unmodified-since": past}),
        ("PUT", f"/{bucket}/k", "", {"if-modified-since": past}),
        ("PUT", f"/{bucket}/k", "", {"x-amz-if-match-size": "99"}),
        ("DELETE", f"/{bucket}/k", "", {"if-unmodified-since": past}),
        ("DELETE", f"/{bucket}/k", "", {"if-none-match": "*"}),
        ("PUT", f"/{bucket}/k", "tagging=", {"if-match": '"other"'}),
        ("DELETE", f"/{bucket}", "", {"if-match": '"other"'}),
        ("POST", f"/{bucket}", "delete=", {"if-match": '"other"'}),
        ("PUT", f"/{bucket}/k", "", {"x-amz-copy-source-if-match": '"other"'}),
        ("DELETE", f"/{bucket}/k", "", {"x-amz-rename-source-if-match": '"other"'}),
    ]:
        told(raw(method, path, query=query, headers=headers), 501, "NotImplemented")
    told(raw("DELETE", f"/{bucket}/k", headers={"x-amz-if-match-size": "4x"}), 400, "InvalidArgument")
    told(raw("DELETE", f"/{bucket}/k", headers={"x-amz-if-match-last-modified-time": ""}), 400, "InvalidArgument")
    form = {"content-type": "multipart/form-data; boundary=x", "if-none-match": "*"}
    told(fetch("POST", f"/{bucket}", form, b"--x--"), 501, "NotImplemented")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


@covers("GetObject", "PostObject")
def test_routes_and_methods_that_are_none(s3, bucket):
    for method, path, query in [("POST", f"/{bucket}", "nonsense="), ("PATCH", f"/{bucket}/k", ""), ("POST", "/", ""),
                                ("POST", f"/{bucket}/k", ""), ("PUT", "/", ""), ("DELETE", "/", ""),
                                ("POST", f"/{bucket}/k", "select=&select-type=2")]:
        status, _, body = raw(method, path, query=query)
        assert status in (400, 405, 501) and b"<Error><Code>" in body, (method, path, status, body)
    form = {"content-type": "multipart/form-data; boundary=x"}
    told(raw("POST", f"/{bucket}", body=b"--x--", headers=form), 400, "InvalidArgument")
    status, _, body = raw("GET", f"/{bucket}/%ff%fe")
    assert status == 400 and b"InvalidURI" in body
    told(raw("GET", f"/{bucket}", headers={f"x-amz-meta-{n}": "v" * 1000 for n in range(40)}), 400, "RequestHeaderSectionTooLarge")
    told(raw("GET", f"/{bucket}", query="&".join(f"x{n:04}=" for n in range(5_000))), 414, "URITooLong")


@covers("ListObjectsV2")
def test_a_client_that_sends_garbage_harms_nobody(s3, bucket):
    for garbage in [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\0" * 1000, b"GET / HTTP/9.9\r\n\r\n",
                    b"GET / HTTP/1.1\r\nX: " + b"y" * 300_000]:
        with dial() as connection:
            connection.settimeout(20)
            try:
                connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
            except OSError:
                pass
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


run(globals())
