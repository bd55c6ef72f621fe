# server: SHERD_SIGV2=urls
"""Uploads by forms of browsers: the policy that signs them, what it may ask for, and what is answered."""

import base64
import datetime
import hashlib
import hmac
import json
import re
import urllib.parse
import zlib

from _support import (ACCESS_KEY, ALL_USERS, REGION, SECRET_KEY, client, content, covers, fetch, follow, refused, run, soon,
                      told, versioned, with_acls)

BOUNDARY = "the-boundary-of-clients"


def conditions(bucket, *more):
    return [{"bucket": bucket}, ["starts-with", "$key", ""], *more]


def document(conditions, seconds=600, **more):
    return {"expiration": soon(seconds).strftime("%Y-%m-%dT%H:%M:%SZ"), "conditions": conditions, **more}


def signed(bucket, *more, key="k", seconds=600, access_key=ACCESS_KEY, secret_key=SECRET_KEY, policy=None, date=None):
    """The fields of a form whose policy has these further conditions."""
    now = date or datetime.datetime.now(datetime.timezone.utc)
    scope = f"{now:%Y%m%d}/{REGION}/s3/aws4_request"
    fields = {"key": key, "x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": f"{access_key}/{scope}",
              "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}"}
    own = [{name: value} for name, value in fields.items() if name != "key"]
    text = policy if policy is not None else json.dumps(document([*conditions(bucket, *more), *own], seconds))
    return {**fields, **with_signature(text, scope, secret_key)}


def with_signature(text, scope, secret_key):
    encoded = base64.b64encode(text.encode()).decode()
    key = f"AWS4{secret_key}".encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return {"policy": encoded, "x-amz-signature": hmac.new(key, encoded.encode(), hashlib.sha256).hexdigest()}


def form(fields, file=b"x", name="page.html", kind=None, after=()):
    """The body of a form: fields, the file, what comes after it."""
    lines = []
    for field, value in fields.items():
        value = value if isinstance(value, bytes) else value.encode()
        lines.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n'.encode() + value + b"\r\n")
    if file is not None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        head += f"Content-Type: {kind}\r\n" if kind else ""
        lines.append(f"{head}\r\n".encode() + file + b"\r\n")
    for field, value in after:
        lines.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode())
    return b"".join(lines) + f"--{BOUNDARY}--\r\n".encode()


KIND = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def post(bucket, fields, file=b"x", **named):
    return fetch("POST", f"/{bucket}", KIND, form(fields, file, **named))


def read(s3, bucket, key="k"):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def absent(s3, bucket, key="k"):
    refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key=key)


@covers("PostObject")
def test_a_signed_form_stores_its_file(s3, bucket):
    for length in [0, 1, 100_000, 3_000_000]:
        data = content(length)
        status, headers, body = post(bucket, signed(bucket), data)
        assert (status, body) == (204, b""), (status, body)
        assert headers["etag"] == f'"{hashlib.md5(data).hexdigest()}"' and headers["location"].endswith(f"/{bucket}/k")
        found = s3.get_object(Bucket=bucket, Key="k")
        assert found["Body"].read() == data and found["ContentType"] == "binary/octet-stream"


@covers("PostObject")
def test_forms_that_boto3_signs(s3, bucket):
    for version in ["s3", "s3v4"]:
        made = client(signature_version=version).generate_presigned_post(
            bucket, f"by/{version}", Fields={"acl": "bucket-owner-full-control", "x-amz-meta-a": "1"},
            Conditions=[{"acl": "bucket-owner-full-control"}, {"x-amz-meta-a": "1"}, ["content-length-range", 0, 10]], ExpiresIn=60)
        status, _, body = follow(made["url"], "POST", KIND, form(made["fields"], b"by form"))
        assert status == 204, (version, status, body)
        found = s3.get_object(Bucket=bucket, Key=f"by/{version}")
        assert (found["Body"].read(), found["Metadata"]) == (b"by form", {"a": "1"})


@covers("PostObject")
def test_the_name_of_the_file_fills_in_the_key(s3, bucket):
    for name in ["a.txt", "ü b.txt"]:
        assert post(bucket, signed(bucket, key="dir/${filename}"), name.encode(), name=name)[0] == 204, name
        assert read(s3, bucket, f"dir/{name}") == name.encode()
    assert post(bucket, signed(bucket, key="dir/${filename}.${filename}"), name="n")[0] == 204
    assert read(s3, bucket, "dir/n.n") == b"x"


@covers("PostObject")
def test_headers_and_metadata_of_a_form(s3, bucket):
    sent = {"Content-Type": "text/x-form", "Cache-Control": "no-store", "Content-Disposition": "inline",
            "Content-Encoding": "gzip", "Content-Language": "de", "Expires": "Tue, 06 May 2031 07:08:09 GMT",
            "x-amz-meta-one": "1", "x-amz-meta-two-words": "a b", "x-amz-website-redirect-location": "/elsewhere",
            "x-amz-storage-class": "STANDARD"}
    fields = {**signed(bucket, *(["eq", f"${name}", value] for name, value in sent.items())), **sent}
    assert post(bucket, fields, kind="text/ignored")[0] == 204
    found = s3.head_object(Bucket=bucket, Key="k")
    assert (found["ContentType"], found["CacheControl"], found["ContentDisposition"], found["ContentEncoding"],
            found["ContentLanguage"], found["Metadata"], found["WebsiteRedirectLocation"]) == (
        "text/x-form", "no-store", "inline", "gzip", "de", {"one": "1", "two-words": "a b"}, "/elsewhere")
    assert found["ResponseMetadata"]["HTTPHeaders"]["expires"] == sent["Expires"]


@covers("PostObject")
def test_content_headers_of_a_form_are_bounded_together(s3, bucket):
    sent = {"Cache-Control": "c" * 4500, "Content-Disposition": "d" * 4500}
    any_value = [["starts-with", f"${name}", ""] for name in sent]
    answer = post(bucket, {**signed(bucket, *any_value), **sent})
    told(answer, 400, "RequestHeaderSectionTooLarge")
    absent(s3, bucket)
    sent["Cache-Control"] = "no-store"
    assert post(bucket, {**signed(bucket, *any_value), **sent})[0] == 204


@covers("PostObject")
def test_names_of_fields_are_read_in_any_case(s3, bucket):
    fields = {**signed(bucket, {"Content-Type": "text/plain"}), "cOnTeNt-TyPe": "text/plain"}
    fields = {name.upper() if name.startswith("x-amz") or name == "policy" else name: value for name, value in fields.items()}
    fields["KEY"] = fields.pop("key")
    assert post(bucket, fields)[0] == 204
    assert s3.head_object(Bucket=bucket, Key="k")["ContentType"] == "text/plain"


@covers("PostObject")
def test_what_is_answered_when_all_went_well(s3, bucket):
    with_status = lambda wanted: {**signed(bucket, ["starts-with", "$success_action_status", ""], key="a b"),
                                  "success_action_status": wanted}
    for wanted, status in [("200", 200), ("204", 204), ("404", 204), ("nonsense", 204)]:
        answer = post(bucket, with_status(wanted))
        assert answer[0] == status and answer[2] == b"", (wanted, answer)
    status, headers, body = post(bucket, with_status("201"))
    assert status == 201 and headers["content-type"] == "application/xml"
    field = lambda name: re.search(f"<{name}>(.*?)</{name}>", body.decode()).group(1)
    tag = s3.head_object(Bucket=bucket, Key="a b")["ETag"]
    assert (field("Bucket"), field("Key"), field("ETag").replace("&quot;", '"')) == (bucket, "a b", tag)
    assert field("Location").endswith(f"/{bucket}/a%20b") and b"<PostResponse>" in body


@covers("PostObject")
def test_a_form_may_lead_to_another_page(s3, bucket):
    for name in ["success_action_redirect", "redirect"]:
        fields = {**signed(bucket, ["starts-with", f"${name}", "http"]), name: "http://example.com/done?a=b"}
        status, headers, _ = post(bucket, fields)
        where = urllib.parse.urlsplit(headers["location"])
        query = dict(urllib.parse.parse_qsl(where.query))
        assert status == 303 and (where.netloc, where.path) == ("example.com", "/done"), (name, status, headers)
        assert query == {"a": "b", "bucket": bucket, "key": "k", "etag": s3.head_object(Bucket=bucket, Key="k")["ETag"]}
    fields = {**signed(bucket, ["starts-with", "$success_action_redirect", ""]), "success_action_redirect": "no address"}
    assert post(bucket, fields)[0] == 204
    both = {"success_action_redirect": "http://example.com/", "success_action_status": "201"}
    fields = {**signed(bucket, *([["eq", f"${name}", value] for name, value in both.items()])), **both}
    assert post(bucket, fields)[0] == 303


@covers("PostObject")
def test_conditions_that_hold(s3, bucket):
    for condition, fields in [
        (["eq", "$x-amz-meta-a", "1"], {"x-amz-meta-a": "1"}), ({"x-amz-meta-a": "1"}, {"x-amz-meta-a": "1"}),
        (["starts-with", "$x-amz-meta-a", "prod"], {"x-amz-meta-a": "production"}),
        (["starts-with", "$x-amz-meta-a", ""], {"x-amz-meta-a": "anything"}),
        (["starts-with", "$Content-Type", "image/"], {"Content-Type": "image/png"}),
        (["starts-with", "$Content-Type", "image/"], {"Content-Type": "image/png,image/jpeg"}),
        (["eq", "$bucket", bucket], {}), (["eq", "$key", "k"], {}), (["starts-with", "$key", "k"], {}),
        (["content-length-range", 1, 1], {}), (["starts-with", "$acl", "bucket-"], {"acl": "bucket-owner-full-control"}),
        (["StArTs-WiTh", "$KeY", "k"], {}), ({"BuCkEt": bucket}, {"x-ignore-me": "whatever"}),
    ]:
        answer = post(bucket, {**signed(bucket, condition), **fields})
        assert answer[0] == 204, (condition, answer)


@covers("PostObject")
def test_conditions_that_do_not_hold(s3, bucket):
    for condition, fields in [
        (["eq", "$x-amz-meta-a", "1"], {"x-amz-meta-a": "2"}), (["eq", "$x-amz-meta-a", "1"], {}),
        ({"x-amz-meta-a": "a"}, {"x-amz-meta-a": "A"}),
        (["starts-with", "$x-amz-meta-a", "prod"], {"x-amz-meta-a": "test"}),
        (["starts-with", "$Content-Type", "image/"], {"Content-Type": "image/png,text/html"}),
        (["starts-with", "$Content-Type", "image/"], {"Content-Type": "text/html"}),
        (["eq", "$bucket", "another"], {}), (["eq", "$key", "other"], {}), (["starts-with", "$key", "user/"], {}),
        ({"acl": "private"}, {"acl": "public-read"}), (["eq", "x-amz-meta-a", "1"], {"x-amz-meta-a": "1"}),
    ]:
        told(post(bucket, {**signed(bucket, condition), **fields}), 403, "AccessDenied")
    absent(s3, bucket)


@covers("PostObject")
def test_fields_that_no_condition_names(s3, bucket):
    for name, value in [("x-amz-meta-a", "1"), ("Content-Type", "text/plain"), ("acl", "private"), ("tagging", "x"),
                        ("success_action_status", "200"), ("x-amz-server-side-encryption", "AES256"), ("unknown", "1")]:
        told(post(bucket, {**signed(bucket), name: value}), 403, "AccessDenied")
    only_key = json.dumps(document([["starts-with", "$key", ""]]))
    told(post(bucket, signed(bucket, policy=only_key)), 403, "AccessDenied")
    absent(s3, bucket)
    assert post(bucket, signed(bucket), after=[("x-amz-meta-late", "1")])[0] == 204
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {}


@covers("PostObject")
def test_files_shorter_or_longer_than_allowed(s3, bucket):
    limits = ["content-length-range", 5, 1000]
    told(post(bucket, signed(bucket, limits), b"four"), 400, "EntityTooSmall")
    told(post(bucket, signed(bucket, limits), b"x" * 1001), 400, "EntityTooLarge")
    told(post(bucket, signed(bucket, limits), content(3_000_000)), 400, "EntityTooLarge")
    absent(s3, bucket)
    for length in [5, 1000]:
        assert post(bucket, signed(bucket, limits), b"x" * length)[0] == 204
        assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == length


@covers("PostObject")
def test_policies_that_are_none(s3, bucket):
    good = document(conditions(bucket))
    without = lambda name: {key: value for key, value in good.items() if key != name}
    changed = lambda **more: json.dumps({**good, **more})
    extra = lambda condition: changed(conditions=[*conditions(bucket), condition])
    for text in ["", "nonsense", "[]", "{", json.dumps(without("expiration")), json.dumps(without("conditions")),
                 changed(expiration="tomorrow"), changed(expiration=True), changed(conditions="all"),
                 changed(conditions=[True]),
                 extra([]), extra(["equals", "$key", "k"]), extra(["eq", "$key"]), extra(["eq", "$key", "k", "k"]),
                 extra({"a": "1", "b": "2"}), extra({}), extra({"a": 1}), extra(["content-length-range", 0])]:
        told(post(bucket, signed(bucket, policy=text)), 400, "InvalidPolicyDocument")
    fields = signed(bucket)
    for text in ["not base64", "{}"]:
        status, _, body = post(bucket, {**fields, "policy": text})
        assert status in (400, 403) and b"<Error><Code>" in body, (text, status, body)
    status, _, body = post(bucket, signed(bucket, ["content-length-range", -1, 0]))
    assert status == 400 and b"<Error><Code>" in body, (status, body)
    absent(s3, bucket)


@covers("PostObject")
def test_policies_that_have_expired(s3, bucket):
    told(post(bucket, signed(bucket, seconds=-10)), 403, "AccessDenied")
    past = json.dumps(document(conditions(bucket), expiration="2007-12-01T12:00:00.000Z"))
    told(post(bucket, signed(bucket, policy=past)), 403, "AccessDenied")
    absent(s3, bucket)


@covers("PostObject")
def test_forms_that_are_signed_wrongly(s3, bucket):
    told(post(bucket, signed(bucket, secret_key="wrong" * 8)), 403, "SignatureDoesNotMatch")
    told(post(bucket, signed(bucket, access_key="nobody")), 403, "InvalidAccessKeyId")
    fields = signed(bucket)
    other = base64.b64encode(json.dumps(document([["starts-with", "$key", ""]])).encode()).decode()
    told(post(bucket, {**fields, "policy": other}), 403, "SignatureDoesNotMatch")
    told(post(bucket, {**fields, "x-amz-signature": "0" * 64}), 403, "SignatureDoesNotMatch")
    answer = post(bucket, {**fields, "x-amz-signature": "0" * 64})[2].decode()
    policy = fields["policy"]
    for part in [f"<AWSAccessKeyId>{ACCESS_KEY}<", f"<StringToSign>{policy}<", f"<SignatureProvided>{'0' * 64}<",
                 f"<StringToSignBytes>{policy.encode().hex(' ')}<"]:
        assert answer.count(part) == 1, (part, answer)
    for name, value in [("x-amz-algorithm", "AWS4-HMAC-MD5"), ("x-amz-credential", "nonsense"),
                        ("x-amz-credential", f"{ACCESS_KEY}/20200101/{REGION}/s3/aws4_request"), ("x-amz-date", "yesterday")]:
        status, _, body = post(bucket, {**fields, name: value})
        assert status in (400, 403) and b"<Error><Code>" in body, (name, value, status, body)
    for name in ["policy", "x-amz-signature", "x-amz-credential", "x-amz-date", "x-amz-algorithm"]:
        status, _, body = post(bucket, {field: value for field, value in fields.items() if field != name})
        assert status in (400, 403) and b"<Error><Code>" in body, (name, status, body)
    absent(s3, bucket)


@covers("PostObject")
def test_bodies_that_are_no_forms(s3, bucket):
    fields = signed(bucket)
    told(post(bucket, {name: value for name, value in fields.items() if name != "key"}), 400, "InvalidArgument")
    told(post(bucket, {**fields, "key": ""}), 400, "InvalidArgument")
    told(post(bucket, fields, None), 400, "InvalidArgument")
    told(post(bucket, {**fields, "key": "k" * 1025}), 400, "KeyTooLongError")
    whole = form(fields)
    for headers, body in [(KIND, b""), (KIND, b"nonsense"), (KIND, whole[:-30]), (KIND, whole[:200]),
                          ({"Content-Type": "multipart/form-data"}, whole),
                          ({"Content-Type": "multipart/form-data; boundary=other"}, whole)]:
        status, _, answer = fetch("POST", f"/{bucket}", headers, body)
        assert status == 400 and b"<Error><Code>" in answer, (headers, body[:40], status, answer)
    status, _, answer = fetch("POST", f"/{bucket}", {"Content-Type": "application/json"}, b"{}")
    assert 400 <= status < 500 and b"<Error><Code>" in answer, (status, answer)
    absent(s3, bucket)
    status, _, answer = fetch("POST", f"/{bucket}-absent", KIND, form(signed(bucket + "-absent")))
    assert (status, b"NoSuchBucket" in answer) == (404, True), (status, answer)


@covers("PostObject")
def test_a_form_with_too_many_fields_is_refused(s3, bucket):
    large = {**signed(bucket, ["starts-with", "$x-amz-meta-a", ""]), "x-amz-meta-a": "v" * 30_000}
    status, _, body = post(bucket, large)
    assert status == 400 and b"<Error><Code>M" in body, (status, body)
    absent(s3, bucket)


@covers("PostObject")
def test_without_a_policy_a_form_is_anonymous(s3, bucket):
    name = with_acls(s3, bucket)
    told(post(name, {"key": "k"}), 403, "AccessDenied")
    s3.put_bucket_acl(Bucket=name, ACL="public-read-write")
    fields = {"key": "k", "acl": "public-read", "Content-Type": "text/plain", "success_action_status": "201"}
    status, _, body = post(name, fields, b"by anyone")
    assert status == 201 and b"<Key>k</Key>" in body, (status, body)
    status, headers, body = fetch("GET", f"/{name}/k")
    assert (status, body, headers["content-type"]) == (200, b"by anyone", "text/plain")
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
    assert post(name, {"key": "tagged", "tagging": tags})[0] == 204
    refused("AccessDenied", 403, read, s3, name, "tagged")
    tagged = dict(Bucket=name, Key="tagged")
    assert s3.get_object_tagging(**tagged)["TagSet"] == [{"Key": "a", "Value": "1"}]
    assert s3.delete_object_tagging(**tagged) and s3.get_object_tagging(**tagged)["TagSet"] == []


@covers("PostObject")
def test_lists_tags_and_encryption_of_a_form(s3, bucket):
    name = with_acls(s3, bucket)
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
    sent = {"acl": "public-read", "tagging": tags, "x-amz-server-side-encryption": "AES256"}
    fields = {**signed(name, *(["eq", f"${field}", value] for field, value in sent.items())), **sent}
    assert post(name, fields)[0] == 204
    assert ALL_USERS in str(s3.get_object_acl(Bucket=name, Key="k")["Grants"])
    assert s3.get_object_tagging(Bucket=name, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}]
    assert s3.head_object(Bucket=name, Key="k")["ServerSideEncryption"] == "AES256"
    for text in ["<Tagging>", "nonsense"]:
        status, _, body = post(name, {**signed(name, {"tagging": text}, key="bad"), "tagging": text})
        assert status == 400 and b"<Code>MalformedXML</Code>" in body, (status, body)
    told(post(name, {**signed(name, {"acl": "everyone"}, key="bad"), "acl": "everyone"}), 400, "InvalidArgument")
    absent(s3, name, "bad")


@covers("PostObject")
def test_checksums_of_a_form_are_verified(s3, bucket):
    crc = lambda data: base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    send = lambda value: post(bucket, {**signed(bucket, {"x-amz-checksum-crc32": value}), "x-amz-checksum-crc32": value},
                              b"data")
    told(send(crc(b"other")), 400, "BadDigest")
    absent(s3, bucket)
    assert send(crc(b"data"))[0] == 204
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"] == crc(b"data")


@covers("PostObject")
def test_forms_into_a_versioned_bucket(s3, bucket):
    versioned(s3, bucket)
    for number in range(2):
        status, headers, _ = post(bucket, signed(bucket), str(number).encode())
        assert status == 204 and s3.head_object(Bucket=bucket, Key="k")["VersionId"] == headers["x-amz-version-id"]
    assert [one["Size"] for one in s3.list_object_versions(Bucket=bucket)["Versions"]] == [1, 1]
    assert read(s3, bucket) == b"1"


run(globals())
