# server: SHERD_WEBSITE_DOMAIN=website.test
"""Buckets as websites: index and error documents, redirects, and what is told to browsers."""

from _support import (ENDPOINT, PART, ALT, anonymous, client, content, covers, denied, fetch, objects_of, policy, raw,
                      refused, run, status_of, told, with_acls)

DOMAIN = "website.test"
# A redirect that does not say it goes by the protocol of the request.
SCHEME = ENDPOINT.split(":")[0]


def configure(s3, bucket, **configuration):
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=configuration)


def found(s3, bucket):
    answer = s3.get_bucket_website(Bucket=bucket)
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def visit(bucket, path, method="GET", **headers):
    return fetch(method, path, headers, host=f"{bucket}.{DOMAIN}")


def page(s3, bucket, key, text=None, **named):
    s3.put_object(Bucket=bucket, Key=key, Body=(text or key).encode(), ContentType="text/html", **named)


def open_to_all(s3, bucket):
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(
        {"Principal": "*", "Action": "s3:GetObject", "Resource": objects_of(bucket)}))


INDEX = {"IndexDocument": {"Suffix": "index.html"}}
ERROR = {"ErrorDocument": {"Key": "error.html"}}


@covers("PutBucketWebsite", "GetBucketWebsite", "DeleteBucketWebsite")
def test_a_configuration_comes_back_is_replaced_and_goes(s3, bucket):
    refused("NoSuchWebsiteConfiguration", 404, found, s3, bucket)
    rules = [
        {"Condition": {"KeyPrefixEquals": "docs/"}, "Redirect": {"ReplaceKeyPrefixWith": "documents/"}},
        {"Condition": {"HttpErrorCodeReturnedEquals": "404"},
         "Redirect": {"HostName": "example.com", "Protocol": "https", "HttpRedirectCode": "302", "ReplaceKeyWith": "gone"}},
    ]
    for configuration in [{**INDEX, **ERROR, "RoutingRules": rules}, INDEX,
                          {"RedirectAllRequestsTo": {"HostName": "example.com", "Protocol": "https"}},
                          {"RedirectAllRequestsTo": {"HostName": "example.com"}}]:
        configure(s3, bucket, **configuration)
        assert found(s3, bucket) == configuration
    for _ in range(2):
        assert status_of(s3.delete_bucket_website(Bucket=bucket)) == 204
        refused("NoSuchWebsiteConfiguration", 404, found, s3, bucket)
    refused("NoSuchBucket", 404, found, s3, bucket + "-absent")
    refused("NoSuchBucket", 404, configure, s3, bucket + "-absent", **INDEX)
    denied(found, client(ALT), bucket)


@covers("PutBucketWebsite")
def test_configurations_that_make_no_sense(s3, bucket):
    rule = lambda redirect, **condition: {**INDEX, "RoutingRules": [
        {**({"Condition": condition} if condition else {}), "Redirect": redirect}]}
    redirect_all = {"RedirectAllRequestsTo": {"HostName": "example.com"}}
    for wrong in [
        {}, ERROR, {"IndexDocument": {"Suffix": "a/index.html"}}, {"IndexDocument": {"Suffix": ""}},
        {**INDEX, **redirect_all}, {**ERROR, **redirect_all}, {"RedirectAllRequestsTo": {"HostName": "a", "Protocol": "ftp"}},
        {**INDEX, "ErrorDocument": {"Key": ""}}, rule({}), rule({"HostName": "a", "Protocol": "ftp"}),
        rule({"ReplaceKeyWith": "a", "ReplaceKeyPrefixWith": "b"}), rule({"HostName": "a", "HttpRedirectCode": "200"}),
        rule({"HostName": "a", "HttpRedirectCode": "abc"}), rule({"HostName": "a"}, HttpErrorCodeReturnedEquals="200"),
        rule({"HostName": "a"}, HttpErrorCodeReturnedEquals="abc"),
        {**INDEX, "RoutingRules": [{"Redirect": {"HostName": f"h{n}"}} for n in range(51)]},
    ]:
        named = {"Bucket": bucket, "WebsiteConfiguration": wrong}
        refused(("InvalidArgument", "MalformedXML", "InvalidRequest"), 400, unchecked().put_bucket_website, **named)
    put_wrong = lambda code, wrong: refused(code, 400, unchecked().put_bucket_website, Bucket=bucket,
                                            WebsiteConfiguration=wrong)
    for wrong in [{**INDEX, **redirect_all}, {**redirect_all, "RoutingRules": rule({"HostName": "a"})["RoutingRules"]},
                  {**INDEX, "RoutingRules": [{"Condition": {}, "Redirect": {"HostName": "a"}}]}]:
        put_wrong("MalformedXML", wrong)
    for code in ["300", "306", "309", "399"]:
        put_wrong("InvalidRequest", rule({"HostName": "a", "HttpRedirectCode": code}))
    for code in ["399", "418", "499", "506"]:
        put_wrong("InvalidRequest", rule({"HostName": "a"}, HttpErrorCodeReturnedEquals=code))
    long = {**INDEX, "RoutingRules": [{"Redirect": {"ReplaceKeyWith": "a" * 3000}} for _ in range(50)]}
    put_wrong("MaxMessageLengthExceeded", long)
    told(raw("PUT", f"/{bucket}", query="website=", body=b"<WebsiteConfiguration>"), 400, "MalformedXML")
    refused("NoSuchWebsiteConfiguration", 404, found, s3, bucket)


def unchecked():
    """A client that leaves it to the server to find what is wrong."""
    return client(parameter_validation=False)


@covers("PutBucketWebsite", "GetObject")
def test_index_documents_stand_for_their_directories(s3, bucket):
    open_to_all(s3, bucket)
    configure(s3, bucket, **INDEX)
    for key in ["index.html", "dir/index.html", "dir/page.html", "plain"]:
        page(s3, bucket, key)
    for path, text in [("/", b"index.html"), ("/index.html", b"index.html"), ("/dir/", b"dir/index.html"),
                       ("/dir/page.html", b"dir/page.html"), ("/plain", b"plain"), ("/?a=b", b"index.html")]:
        status, headers, body = visit(bucket, path)
        assert (status, body) == (200, text), path
        assert headers["content-type"] == "text/html" and headers["etag"] and headers["last-modified"]
        status, headers, body = visit(bucket, path, "HEAD")
        assert (status, body, headers["content-length"]) == (200, b"", str(len(text))), path
    status, headers, _ = visit(bucket, "/dir")
    assert status == 302 and headers["location"].endswith("/dir/"), (status, headers)
    # Who may not list is not told what is there.
    assert visit(bucket, "/none/")[0] == 403 and visit(bucket, "/none")[0] == 403


@covers("GetObject")
def test_pages_are_served_in_ranges_and_when_changed(s3, bucket):
    open_to_all(s3, bucket)
    configure(s3, bucket, **INDEX)
    data = content(PART)
    s3.put_object(Bucket=bucket, Key="big", Body=data)
    tag = s3.head_object(Bucket=bucket, Key="big")["ETag"]
    status, headers, body = visit(bucket, "/big", Range="bytes=1000-1999")
    assert (status, body, headers["content-range"]) == (206, data[1000:2000], f"bytes 1000-1999/{PART}")
    assert visit(bucket, "/big", **{"If-None-Match": tag})[0] == 304
    assert visit(bucket, "/big", **{"If-Match": '"other"'})[0] == 412
    assert visit(bucket, "/big")[2] == data


@covers("PutBucketWebsite")
def test_errors_are_told_to_browsers_as_pages(s3, bucket):
    configure(s3, bucket, **INDEX)
    page(s3, bucket, "index.html")
    status, headers, body = visit(bucket, "/")
    assert status == 403 and headers["content-type"].startswith("text/html") and b"AccessDenied" in body
    open_to_all(s3, bucket)
    status, headers, body = visit(bucket, "/absent")
    assert status in (403, 404) and headers["content-type"].startswith("text/html") and b"<html" in body.lower()
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(
        {"Principal": "*", "Action": "s3:GetObject", "Resource": objects_of(bucket)},
        {"Principal": "*", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}))
    status, headers, body = visit(bucket, "/absent")
    assert status == 404 and b"NoSuchKey" in body and b"absent" in body
    assert visit(bucket, "/absent", "HEAD")[0] == 404
    s3.delete_bucket_website(Bucket=bucket)
    status, _, body = visit(bucket, "/")
    assert status == 404 and b"NoSuchWebsiteConfiguration" in body
    status, _, body = visit(bucket + "-absent", "/")
    assert status == 404 and b"NoSuchBucket" in body


@covers("PutBucketWebsite")
def test_an_error_document_keeps_the_status_of_the_error(s3, bucket):
    name = with_acls(s3, bucket)
    configure(s3, name, **INDEX, **ERROR)
    s3.put_bucket_acl(Bucket=name, ACL="public-read")
    page(s3, name, "error.html", "all is lost", ACL="public-read")
    page(s3, name, "private.html")
    for path, wanted in [("/absent", 404), ("/private.html", 403), ("/", 404)]:
        status, headers, body = visit(name, path)
        assert (status, body, headers["content-type"]) == (wanted, b"all is lost", "text/html"), path
    s3.delete_object(Bucket=name, Key="error.html")
    status, _, body = visit(name, "/absent")
    assert status == 404 and b"all is lost" not in body


@covers("PutBucketWebsite")
def test_all_requests_are_redirected(s3, bucket):
    configure(s3, bucket, RedirectAllRequestsTo={"HostName": "www.example.com", "Protocol": "https"})
    for path in ["/", "/a/b.html", "/a%20b?c=d"]:
        status, headers, _ = visit(bucket, path)
        assert status == 301 and headers["location"].startswith("https://www.example.com" + path.split("?")[0]), headers
    configure(s3, bucket, RedirectAllRequestsTo={"HostName": "www.example.com"})
    status, headers, _ = visit(bucket, "/a")
    assert (status, headers["location"]) == (301, f"{SCHEME}://www.example.com/a")


@covers("PutBucketWebsite")
def test_routing_rules_by_prefix_and_by_error(s3, bucket):
    open_to_all(s3, bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(
        {"Principal": "*", "Action": "s3:GetObject", "Resource": objects_of(bucket)},
        {"Principal": "*", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}))
    prefix = lambda text, **more: {"KeyPrefixEquals": text, **more}
    configure(s3, bucket, **INDEX, RoutingRules=[
        {"Condition": prefix("docs/"), "Redirect": {"ReplaceKeyPrefixWith": "documents/"}},
        {"Condition": prefix("moved/"), "Redirect": {"HostName": "new.example.com", "Protocol": "https"}},
        {"Condition": prefix("one"), "Redirect": {"ReplaceKeyWith": "other.html", "HttpRedirectCode": "307"}},
        {"Condition": prefix("lost/", HttpErrorCodeReturnedEquals="404"),
         "Redirect": {"HostName": "lost.example.com", "ReplaceKeyPrefixWith": "report/404/"}},
    ])
    page(s3, bucket, "lost/there.html")
    page(s3, bucket, "docs/there.html")
    here = f"{bucket}.{DOMAIN}"
    for path, wanted, location in [
        ("/docs/a.html", 301, f"{SCHEME}://{here}/documents/a.html"),
        ("/docs/there.html", 301, f"{SCHEME}://{here}/documents/there.html"),
        ("/moved/a", 301, "https://new.example.com/moved/a"), ("/one/two", 307, f"{SCHEME}://{here}/other.html"),
        ("/lost/a", 301, f"{SCHEME}://lost.example.com/report/404/a"),
    ]:
        status, headers, _ = visit(bucket, path)
        assert (status, headers["location"]) == (wanted, location), path
    assert visit(bucket, "/lost/there.html")[2] == b"lost/there.html"
    assert visit(bucket, "/absent")[0] == 404


@covers("PutObject", "GetObject")
def test_an_object_may_be_a_redirect(s3, bucket):
    open_to_all(s3, bucket)
    configure(s3, bucket, **INDEX)
    for target in ["/other.html", "https://example.com/a?b=c"]:
        page(s3, bucket, "old.html", WebsiteRedirectLocation=target)
        status, headers, _ = visit(bucket, "/old.html")
        assert status == 301 and headers["location"].endswith(target), headers
        assert s3.get_object(Bucket=bucket, Key="old.html")["Body"].read() == b"old.html"
        assert fetch("GET", f"/{bucket}/old.html")[0] == 200
    page(s3, bucket, "index.html", WebsiteRedirectLocation="/start")
    assert visit(bucket, "/")[0] == 301


@covers("PutBucketWebsite")
def test_a_website_is_for_reading(s3, bucket):
    open_to_all(s3, bucket)
    configure(s3, bucket, **INDEX)
    page(s3, bucket, "index.html")
    for method in ["PUT", "POST", "DELETE"]:
        assert visit(bucket, "/index.html", method)[0] == 405, method
    assert visit(bucket, "/?acl")[2] == b"index.html" == visit(bucket, "/?list-type=2")[2]
    assert anonymous().get_object(Bucket=bucket, Key="index.html")["Body"].read() == b"index.html"


@covers("PutBucketCors", "PutBucketWebsite")
def test_websites_share_with_other_origins(s3, bucket):
    open_to_all(s3, bucket)
    configure(s3, bucket, **INDEX)
    page(s3, bucket, "index.html")
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={
        "CORSRules": [{"AllowedOrigins": ["https://a.example.com"], "AllowedMethods": ["GET"]}]})
    _, headers, _ = visit(bucket, "/", Origin="https://a.example.com")
    assert headers["access-control-allow-origin"] == "https://a.example.com"
    _, headers, _ = visit(bucket, "/", Origin="https://b.example.com")
    assert "access-control-allow-origin" not in headers


run(globals())
