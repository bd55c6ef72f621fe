"""Sharing with pages of other origins: the configuration, preflights, and the headers of answers."""

from _support import anonymous, covers, fetch, objects_of, policy, raw, refused, run, send, signed, status_of, told, with_acls


def configure(s3, bucket, *rules):
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": list(rules)})


def rule(origins, methods=("GET",), **more):
    return {"AllowedOrigins": list(origins), "AllowedMethods": list(methods), **more}


def preflight(path, origin=None, method=None, headers=None):
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return fetch("OPTIONS", path, {name: value for name, value in asked.items() if value is not None})


def words(text):
    return {word.strip().lower() for word in (text or "").split(",") if word.strip()}


@covers("PutBucketCors", "GetBucketCors", "DeleteBucketCors")
def test_a_configuration_comes_back_is_replaced_and_goes(s3, bucket):
    refused("NoSuchCORSConfiguration", 404, s3.get_bucket_cors, Bucket=bucket)
    full = rule(["http://a.example.com", "https://*.example.com"], ["GET", "PUT", "POST", "DELETE", "HEAD"], ID="one",
                AllowedHeaders=["x-amz-*", "Authorization"], ExposeHeaders=["ETag", "x-amz-meta-a"], MaxAgeSeconds=3000)
    configure(s3, bucket, full, rule(["*"]))
    found = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    assert found == [full, rule(["*"])]
    configure(s3, bucket, rule(["https://only.example.com"]))
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule(["https://only.example.com"])]
    configure(s3, bucket, rule(["*"], MaxAgeSeconds=-100))
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule(["*"], MaxAgeSeconds=-100)]
    for _ in range(2):
        assert status_of(s3.delete_bucket_cors(Bucket=bucket)) == 204
        refused("NoSuchCORSConfiguration", 404, s3.get_bucket_cors, Bucket=bucket)
    for call, named in [(s3.get_bucket_cors, {}), (s3.delete_bucket_cors, {}),
                        (s3.put_bucket_cors, {"CORSConfiguration": {"CORSRules": [rule(["*"])]}})]:
        refused("NoSuchBucket", 404, call, Bucket=bucket + "-absent", **named)


@covers("PutBucketCors")
def test_configurations_that_make_no_sense(s3, bucket):
    for wrong in [rule([]), rule(["*"], [])]:
        refused("MalformedXML", 400, configure, s3, bucket, wrong)
    refused("MalformedXML", 400, configure, s3, bucket)
    for method in ["PATCH", "OPTIONS", "get", "nonsense"]:
        refused("InvalidRequest", 400, configure, s3, bucket, rule(["*"], ["GET", method]))
    for origin in ["*.example.*", "**", "http://*.*.com"]:
        refused("InvalidRequest", 400, configure, s3, bucket, rule([origin]))
    for header in ["x-*-*", "**"]:
        refused("InvalidRequest", 400, configure, s3, bucket, rule(["*"], AllowedHeaders=[header]))
    refused(("InvalidRequest", "MalformedXML"), 400, configure, s3, bucket, rule(["*"], ExposeHeaders=["x-*"]))
    refused(("InvalidRequest", "InvalidArgument"), 400, configure, s3, bucket, rule(["*"], ID="i" * 256))
    many = [rule([f"http://{n}.example.com"]) for n in range(101)]
    refused(("InvalidRequest", "MalformedXML"), 400, configure, s3, bucket, *many)
    for body in [b"<CORSConfiguration>", b"<CORSConfiguration><CORSRule/></CORSConfiguration>", b"<Other/>"]:
        told(raw("PUT", f"/{bucket}", query="cors=", body=body), 400, "MalformedXML")
    refused("NoSuchCORSConfiguration", 404, s3.get_bucket_cors, Bucket=bucket)
    configure(s3, bucket, *many[:100])
    assert len(s3.get_bucket_cors(Bucket=bucket)["CORSRules"]) == 100


@covers("OptionsObject")
def test_a_preflight_is_answered_by_the_rule_that_it_fits(s3, bucket):
    configure(s3, bucket, rule(["https://a.example.com"], ["PUT", "DELETE"], AllowedHeaders=["x-amz-meta-*", "Content-Type"],
                               ExposeHeaders=["ETag", "x-amz-request-id"], MaxAgeSeconds=600),
              rule(["https://a.example.com"], ["GET"], MaxAgeSeconds=5), rule(["*"], ["HEAD"]))
    status, headers, body = preflight(f"/{bucket}/k", "https://a.example.com", "PUT", "content-type, X-Amz-Meta-Colour")
    assert (status, body) == (200, b"")
    assert headers["access-control-allow-origin"] == "https://a.example.com"
    assert words(headers["access-control-allow-methods"]) == {"put", "delete"}
    assert words(headers["access-control-allow-headers"]) == {"content-type", "x-amz-meta-colour"}
    assert words(headers["access-control-expose-headers"]) >= {"etag", "x-amz-request-id"}
    assert headers["access-control-max-age"] == "600" and headers["access-control-allow-credentials"] == "true"
    assert "origin" in words(headers["vary"])
    status, headers, _ = preflight(f"/{bucket}/k", "https://a.example.com", "GET")
    assert status == 200 and headers["access-control-max-age"] == "5"
    assert "access-control-allow-headers" not in headers
    for path in [f"/{bucket}", f"/{bucket}/", f"/{bucket}/deep/er?versionId=abc&uploads"]:
        assert preflight(path, "https://a.example.com", "DELETE")[0] == 200, path


@covers("OptionsObject")
def test_a_preflight_for_everybody_says_so(s3, bucket):
    configure(s3, bucket, rule(["*"], ["GET"]))
    status, headers, _ = preflight(f"/{bucket}/k", "https://anything.example.org", "GET")
    assert status == 200 and headers["access-control-allow-origin"] == "*"
    assert headers.get("access-control-allow-credentials") != "true" and "access-control-max-age" not in headers


@covers("OptionsObject")
def test_origins_with_a_wildcard(s3, bucket):
    configure(s3, bucket, rule(["https://*.example.com", "http://start*", "*suffix", "http://one*two"]))
    for origin, allowed in [
        ("https://a.example.com", True), ("https://a.b.example.com", True), ("https://.example.com", True),
        ("https://example.com", False), ("http://a.example.com", False), ("https://a.example.com:8080", False),
        ("http://start", True), ("http://startled.org", True), ("https://start", False), ("foo.suffix", True),
        ("suffix", True),
        ("suffix.foo", False), ("http://one-two", True), ("http://onetwo", True), ("http://one", False), ("null", False),
        ("HTTPS://A.EXAMPLE.COM", False),
    ]:
        status, headers, body = preflight(f"/{bucket}/k", origin, "GET")
        if allowed:
            assert (status, headers["access-control-allow-origin"]) == (200, origin), origin
        else:
            told((status, headers, body), 403, "AccessForbidden")


@covers("OptionsObject")
def test_preflights_that_no_rule_fits(s3, bucket):
    told(preflight(f"/{bucket}/k", "https://a.example.com", "GET"), 403, "AccessForbidden")
    configure(s3, bucket, rule(["https://a.example.com"], ["GET", "PUT"], AllowedHeaders=["x-amz-date", "x-a*z"]))
    for origin, method, headers in [
        ("https://b.example.com", "GET", None), ("https://a.example.com", "DELETE", None),
        ("https://a.example.com", "GET", "authorization"), ("https://a.example.com", "GET", "x-amz-date,other"),
        ("https://a.example.com", "GET", "x-ab"),
    ]:
        answer = preflight(f"/{bucket}/k", origin, method, headers)
        told(answer, 403, "AccessForbidden")
        assert "access-control-allow-origin" not in answer[1]
    assert preflight(f"/{bucket}/k", "https://a.example.com", "GET", "x-amz-date,X-AbcZ")[0] == 200
    told(preflight(f"/{bucket}-absent/k", "https://a.example.com", "GET"), 403, "AccessForbidden")


@covers("OptionsObject")
def test_preflights_that_say_too_little(s3, bucket):
    configure(s3, bucket, rule(["*"]))
    told(preflight(f"/{bucket}/k", None, "GET"), 400, "BadRequest")
    status, _, body = preflight(f"/{bucket}/k", "https://a.example.com", None)
    assert status in (400, 403) and b"<Error>" in body, (status, body)
    for method in ["PATCH", "get", "nonsense"]:
        status, _, body = preflight(f"/{bucket}/k", "https://a.example.com", method)
        assert status in (400, 403) and b"<Error>" in body, (status, body)


@covers("GetObject", "HeadObject", "PutBucketCors")
def test_answers_carry_what_the_rule_says(s3, bucket):
    name = with_acls(s3, bucket)
    s3.put_object(Bucket=name, Key="k", Body=b"x", ACL="public-read")
    configure(s3, name, rule(["https://a.example.com"], ["GET", "PUT"], ExposeHeaders=["ETag"], MaxAgeSeconds=9))
    for method, wanted in [("GET", True), ("HEAD", False)]:
        status, headers, _ = fetch(method, f"/{name}/k", {"Origin": "https://a.example.com"})
        assert status == 200 and ("access-control-allow-origin" in headers) is wanted, (method, headers)
    status, headers, body = fetch("GET", f"/{name}/k", {"Origin": "https://a.example.com"})
    assert body == b"x" and headers["access-control-allow-origin"] == "https://a.example.com"
    assert words(headers["access-control-expose-headers"]) >= {"etag"}
    assert headers["access-control-allow-credentials"] == "true" and "origin" in words(headers["vary"])
    assert "get" in words(headers["access-control-allow-methods"])
    for origin in [None, "https://b.example.com"]:
        status, headers, body = fetch("GET", f"/{name}/k", {"Origin": origin} if origin else {})
        assert (status, body) == (200, b"x") and "access-control-allow-origin" not in headers


@covers("PutObject", "DeleteObject", "ListObjectsV2")
def test_signed_requests_from_pages(s3, bucket):
    configure(s3, bucket, rule(["*"], ["PUT", "GET", "DELETE"], ExposeHeaders=["x-amz-version-id"]))
    origin = {"Origin": "https://a.example.com"}
    for method, path, query, body, wanted in [("PUT", f"/{bucket}/k", "", b"x", 200),
                                              ("GET", f"/{bucket}", "list-type=2", b"", 200),
                                              ("DELETE", f"/{bucket}/k", "", b"", 204)]:
        request = signed(method, path, query=query, body=body)
        request.headers["Origin"] = origin["Origin"]
        status, headers, _ = send(request, body)
        headers = {name.lower(): value for name, value in headers.items()}
        assert (status, headers["access-control-allow-origin"]) == (wanted, "*"), method
        assert headers.get("access-control-allow-credentials") != "true"
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@covers("GetObject")
def test_pages_may_read_errors_too(s3, bucket):
    configure(s3, bucket, rule(["https://a.example.com"], ["GET"]))
    s3.delete_public_access_block(Bucket=bucket)
    origin = {"Origin": "https://a.example.com"}
    status, headers, _ = fetch("GET", f"/{bucket}/k", origin)
    assert (status, headers.get("access-control-allow-origin")) == (403, origin["Origin"])
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(
        {"Principal": "*", "Action": ["s3:GetObject"], "Resource": objects_of(bucket)},
        {"Principal": "*", "Action": ["s3:ListBucket"], "Resource": f"arn:aws:s3:::{bucket}"}))
    refused("NoSuchKey", 404, anonymous().get_object, Bucket=bucket, Key="absent")
    status, headers, _ = fetch("GET", f"/{bucket}/absent", origin)
    assert (status, headers.get("access-control-allow-origin")) == (404, origin["Origin"])


@covers("PutBucketCors", "DeleteBucketCors", "OptionsObject")
def test_a_change_holds_at_once(s3, bucket):
    ask = lambda: preflight(f"/{bucket}/k", "https://a.example.com", "GET")[0]
    for _ in range(5):
        configure(s3, bucket, rule(["https://a.example.com"]))
        assert ask() == 200
        configure(s3, bucket, rule(["https://b.example.com"]))
        assert ask() == 403
        s3.delete_bucket_cors(Bucket=bucket)
        assert ask() == 403


run(globals())
