# server: SHERD_SIGV2=urls
"""What HTTP and S3 say of every request: forms of headers, dates and tags, of errors and of signatures."""

import datetime
import email.header
import email.utils
import http.client
import itertools
import urllib.parse
import xml.etree.ElementTree

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from _support import (gap, ACCESS_KEY, ENDPOINT, REGION, SECRET_KEY, client, connect, content, covers, dial, fetch,
                      follow, headers_of, objects_of, policy, raw, refused, run, send, signed, soon, told)


def put(s3, bucket, key="k", body=b"0123456789", **named):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **named)


def get(bucket, key="k", method="GET", **headers):
    status, found, body = raw(method, f"/{bucket}/{key}",
                              headers={name.replace("_", "-"): value for name, value in headers.items()})
    return status, {name.lower(): value for name, value in found.items()}, body


def http_date(moment):
    return email.utils.format_datetime(moment.astimezone(datetime.timezone.utc), usegmt=True)


@covers("GetObject")
def test_every_answer_has_ids_a_date_and_a_server(s3, bucket):
    put(s3, bucket)
    answers = [fetch("GET", f"/{bucket}/k"), get(bucket), get(bucket, "absent"), get(bucket, method="HEAD"),
               fetch("GET", "/none/k")]
    for status, headers, _ in answers:
        assert headers["x-amz-request-id"] and headers["x-amz-id-2"] and headers["server"], status
        sent = email.utils.parsedate_to_datetime(headers["date"])
        assert abs((datetime.datetime.now(datetime.timezone.utc) - sent).total_seconds()) < 60
    assert len({headers["x-amz-request-id"] for _, headers, _ in answers}) == len(answers)


@covers("GetObject")
def test_errors_are_xml_that_names_code_message_resource_and_request(s3, bucket):
    status, headers, body = get(bucket, "absent%20%26")
    found = {one.tag: one.text for one in xml.etree.ElementTree.fromstring(body)}
    assert status == 404 and headers["content-type"] == "application/xml"
    assert found["Code"] == "NoSuchKey" and found["Message"] and found["RequestId"] == headers["x-amz-request-id"]
    assert found["HostId"] == headers["x-amz-id-2"]
    assert found["Key"] == "absent &" and found.get("Resource", bucket)
    assert body.startswith(b"<?xml") and int(headers["content-length"]) == len(body)
    for method, path in [("PUT", f"/{bucket}-absent/k"), ("DELETE", f"/{bucket}-absent"), ("GET", f"/{bucket}-absent")]:
        status, _, body = raw(method, path)
        assert status == 404 and xml.etree.ElementTree.fromstring(body).findtext("Code") == "NoSuchBucket"
        assert xml.etree.ElementTree.fromstring(body).findtext("BucketName") == f"{bucket}-absent"


@covers("HeadObject", "HeadBucket", "DeleteObject")
def test_answers_that_have_no_body(s3, bucket):
    put(s3, bucket)
    for path, status in [("k", 200), ("absent", 404), ("k?partNumber=9", 416)]:
        found = get(bucket, path, "HEAD") if "?" not in path else raw("HEAD", f"/{bucket}/k", query="partNumber=9")
        assert (found[0], found[2]) == (status, b""), (path, found)
    assert raw("HEAD", f"/{bucket}")[2] == b"" == raw("HEAD", f"/{bucket}-absent")[2]
    assert raw("HEAD", f"/{bucket}-absent")[0] == 404 and fetch("HEAD", f"/{bucket}")[0] == 403
    status, headers, body = get(bucket, method="HEAD")
    assert headers["content-length"] == "10" and headers["etag"] and headers["accept-ranges"] == "bytes"
    status, _, body = raw("DELETE", f"/{bucket}/k")
    assert (status, body) == (204, b"")


@covers("GetObject")
def test_connections_are_kept_between_requests(s3, bucket):
    put(s3, bucket)
    connection = connect()
    try:
        for path, status in [(f"/{bucket}/k", 200), (f"/{bucket}/absent", 404), (f"/{bucket}/k", 200)] * 5:
            request = signed("GET", path)
            connection.request("GET", path, headers=dict(request.headers.items()))
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status and not answer.will_close
    finally:
        connection.close()


@covers("PutObject")
def test_who_expects_to_be_asked_for_the_body_is_asked(s3, bucket):
    def talk(headers, body):
        where = urllib.parse.urlsplit(ENDPOINT)
        head = f"PUT /{bucket}/k HTTP/1.1\r\nHost: {where.netloc}\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
        with dial() as connection:
            connection.sendall(head.encode())
            first = connection.recv(4096)
            if not first.startswith(b"HTTP/1.1 100"):
                return first
            connection.sendall(body)
            return first + connection.recv(4096)
    body = content(100_000)
    answer = talk(signed("PUT", f"/{bucket}/k", body=body).headers.items(), body)
    assert answer.startswith(b"HTTP/1.1 100") and b"HTTP/1.1 200" in answer, answer
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    # What is refused for its head is refused before the body was asked for.
    for headers in [[], signed("PUT", f"/{bucket}-other/k", body=body).headers.items(),
                    [*signed("PUT", f"/{bucket}/k", body=body).headers.items(), ("x-amz-acl", "everybodys")]]:
        answer = talk(headers, b"not asked for")
        assert answer.startswith(b"HTTP/1.1 403") and b"connection: close" in answer.lower(), answer
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body


@covers("PutObject", "GetObject")
def test_the_connection_of_a_body_that_was_not_asked_for_is_closed(s3, bucket):
    where = urllib.parse.urlsplit(ENDPOINT)

    def talk(method, *headers):
        head = f"{method} /{bucket}/k HTTP/1.1\r\nHost: {where.netloc}\r\nExpect: 100-continue\r\n"
        with dial() as connection:
            connection.settimeout(30)
            connection.sendall((head + "".join(f"{header}\r\n" for header in headers) + "\r\n").encode())
            answer = b""
            while received := connection.recv(4096):
                answer += received
                if b"</Error>" in answer and not headers:
                    connection.sendall(f"GET /{bucket}/k HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
                    return answer + connection.recv(4096)
            return answer
    for announced in ["Content-Length: 9", "Transfer-Encoding: chunked"]:
        answer = talk("PUT", announced)
        assert answer.startswith(b"HTTP/1.1 403") and answer.count(b"HTTP/1.1") == 1, answer
    answer = talk("GET")
    assert answer.count(b"HTTP/1.1 403") == 2 and b"connection: close" not in answer.lower(), answer


@covers("GetObject", "HeadObject")
def test_tags_are_quoted_in_answers_and_may_be_bare_in_questions(s3, bucket):
    tag = put(s3, bucket)["ETag"]
    bare = tag.strip('"')
    assert tag == f'"{bare}"' and len(bare) == 32
    for form in [tag, bare, "*"]:
        assert get(bucket, If_Match=form)[0] == 200, form
        assert get(bucket, If_None_Match=form)[0] == 304, form
    for form in ['"other"', "other", bare[:-1], f'"{bare[:-1]}"']:
        assert get(bucket, If_Match=form)[0] == 412, form
        assert get(bucket, If_None_Match=form)[0] == 200, form
    _, headers, body = get(bucket, If_None_Match=tag)
    assert body == b"" and headers["etag"] == tag and headers["last-modified"]


def judged(match, none_match, since, unmodified):
    """RFC 9110, 13.2.2. Each condition holds, does not hold, or is not given."""
    if match is False or (match is None and unmodified is False):
        return 412
    if none_match is False or (none_match is None and since is False):
        return 304
    return 200


@covers("GetObject", "HeadObject")
def test_which_condition_counts_when_several_are_given(s3, bucket):
    tag = put(s3, bucket)["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    before, now = http_date(modified - datetime.timedelta(hours=1)), http_date(modified)
    choices = (None, True, False)
    for match, none_match, since, unmodified in itertools.product(choices, repeat=4):
        given = {"If_Match": {True: tag, False: '"x"'}.get(match), "If_None_Match": {True: '"x"', False: tag}.get(none_match),
                 "If_Modified_Since": {True: before, False: now}.get(since),
                 "If_Unmodified_Since": {True: now, False: before}.get(unmodified)}
        given = {name: value for name, value in given.items() if value is not None}
        wanted = judged(match, none_match, since, unmodified)
        for method in ["GET", "HEAD"]:
            status, _, body = get(bucket, "k", method, **given)
            assert status == wanted, (method, given, status)
            assert (body == b"0123456789") == (status == 200 and method == "GET")
    assert get(bucket, "absent", If_None_Match=tag)[0] == 404 == get(bucket, "absent", If_Match=tag)[0]


@covers("GetObject")
def test_dates_are_those_of_http(s3, bucket):
    put(s3, bucket)
    past, future = datetime.datetime(2001, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc), soon(3 * 24 * 3600)
    assert get(bucket, If_Modified_Since=http_date(past))[0] == 200
    assert get(bucket, If_Unmodified_Since=http_date(past))[0] == 412
    assert get(bucket, If_Unmodified_Since=http_date(future))[0] == 200
    for text in ["yesterday", "0", "2001-02-03"]:
        assert get(bucket, If_Unmodified_Since=text)[0] in (200, 400), text
    found = get(bucket)[1]["last-modified"]
    assert http_date(email.utils.parsedate_to_datetime(found)) == found


@covers("GetObject")
def test_ranges_in_every_form(s3, bucket):
    body = b"0123456789"
    put(s3, bucket, body=body)
    for text, start, end in [("bytes=0-0", 0, 1), ("bytes=2-4", 2, 5), ("bytes=5-", 5, 10), ("bytes=-3", 7, 10),
                             ("bytes=00-01", 0, 2),
                             ("bytes=0-99", 0, 10), ("bytes=-99", 0, 10), ("bytes=9-9", 9, 10), ("bytes=0-", 0, 10)]:
        status, headers, found = get(bucket, Range=text)
        assert (status, found) == (206, body[start:end]), (text, status, found)
        assert headers["content-range"] == f"bytes {start}-{end - 1}/10" and headers["content-length"] == str(end - start)
    for text in ["bytes=10-", "bytes=10-20", "bytes=-0"]:
        status, headers, found = get(bucket, Range=text)
        assert (status, headers.get("content-range")) == (416, "bytes */10") and b"<Code>InvalidRange</Code>" in found, text


@covers("GetObject")
def test_a_range_that_is_none_is_the_whole(s3, bucket):
    body = b"0123456789"
    put(s3, bucket, body=body)
    for text in ["bytes=,", "bytes=--1", "bytes=5-2", "bytes=abc", "foo=0-1", "bytes", "bytes=0-0,2-3", "bytes=1-x",
                 "bytes= -1", "bytes=0 -1"]:
        status, headers, found = get(bucket, Range=text)
        assert (status, found) == (200, body) and "content-range" not in headers, (text, status, found)
    put(s3, bucket, "empty", b"")
    assert get(bucket, "empty", Range="bytes=-5")[::2] == (200, b"")
    assert get(bucket, "empty", Range="bytes=0-")[0] == 416


@covers("GetObject", "HeadObject")
def test_the_number_of_a_part_is_judged_before_the_key(s3, bucket):
    for number in ["0", "10001", "-1"]:
        told(raw("GET", f"/{bucket}/absent", query=f"partNumber={number}"), 400, "InvalidArgument")
        assert raw("HEAD", f"/{bucket}/absent", query=f"partNumber={number}")[0] == 400
    told(raw("GET", f"/{bucket}/absent", query="partNumber=1"), 404, "NoSuchKey")


@covers("GetObject", "DeleteObject", "GetObjectAttributes")
def test_what_belongs_to_another_operation_is_refused(s3, bucket):
    put(s3, bucket)
    for query in ["uploads", "versions"]:
        told(raw("GET", f"/{bucket}/k", query=f"{query}="), 400, "InvalidRequest")
    answer = raw("GET", f"/{bucket}/k", query="response-color=red")
    told(answer, 400, "InvalidArgument")
    assert b"<ArgumentName>response-color</ArgumentName><ArgumentValue>red</ArgumentValue>" in answer[2]
    for method in ["GET", "DELETE"]:
        told(raw(method, f"/{bucket}/k", headers={"x-amz-copy-source": f"{bucket}/k"}), 400, "InvalidArgument")
    for names in [{}, {"x-amz-object-attributes": ""}]:
        told(raw("GET", f"/{bucket}/k", query="attributes=", headers=names), 400, "InvalidRequest")
    assert get(bucket)[2] == b"0123456789"


@covers("GetObject")
def test_conditions_come_before_ranges(s3, bucket):
    tag = put(s3, bucket)["ETag"]
    assert get(bucket, Range="bytes=2-4", If_Match=tag)[2] == b"234"
    assert get(bucket, Range="bytes=2-4", If_Match='"other"')[0] == 412
    assert get(bucket, Range="bytes=2-4", If_None_Match=tag)[0] == 304
    assert get(bucket, Range="bytes=50-", If_None_Match=tag)[0] == 304
    assert get(bucket, Range="bytes=50-", If_Match='"other"')[0] == 412


@covers("PutObject", "GetObject")
def test_keys_that_other_protocols_would_trip_over(s3, bucket):
    keys = [" ", " a ", "+", "%", "%41", "%2F", "a%00b", "a&b=c", "<>", "\"'", "`|^", "{}", "[]", "a\tb", "a\nb", "\x7f",
            "a\u200bb",
            "e\u0301", "é", "\U0001f469\u200d\U0001f680", "x" * 500 + "/" + "y" * 400, "-", "_", "...", "a/./b", "a/../b",
            "//", "/",
            "~", "$", "aux", "con.txt", "a:b", "a*b?c"]
    for key in keys:
        put(s3, bucket, key, key.encode())
    for key in keys:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode(), repr(key)
        assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(key.encode())
    for call, field in [(s3.list_objects_v2, "Contents"), (s3.list_objects, "Contents"),
                        (s3.list_object_versions, "Versions")]:
        assert [one["Key"] for one in call(Bucket=bucket)[field]] == sorted(keys, key=str.encode)
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys if key.isprintable()]})
    assert "Errors" not in answer
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == sorted(
        (key for key in keys if not key.isprintable()), key=str.encode)


@covers("PutObject", "HeadObject")
def test_metadata_of_every_kind(s3, bucket):
    values = {"empty": "", "spaces": "a  b", "quoted": '"a", \'b\'', "equals": "a=b;c=d", "long": "v" * 1500,
              "url": "http://a/?b=c&d",
              "digits": "007", "with-dash": "1", "with_underscore": "2"}
    put(s3, bucket, Metadata=values)
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == values
    put(s3, bucket, Metadata={"CamelCase": "Value"})
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"camelcase": "Value"}
    put(s3, bucket, Metadata={"encoded": "=?UTF-8?Q?=C3=BC?="})
    told_back = s3.head_object(Bucket=bucket, Key="k")["Metadata"]["encoded"]
    assert str(email.header.make_header(email.header.decode_header(told_back))) == "ü", told_back
    for text in ("=?=", "=? ?=", "=?x?="):
        put(s3, bucket, Metadata={"plain": text})
        told_back = s3.head_object(Bucket=bucket, Key="k")["Metadata"]["plain"]
        assert str(email.header.make_header(email.header.decode_header(told_back))) == text, told_back
    status, _, _ = raw("PUT", f"/{bucket}/k", headers={"X-AMZ-Meta-Upper": "  trimmed  ", "content-type": "Text/X-Mixed"})
    found = s3.head_object(Bucket=bucket, Key="k")
    assert status == 200 and found["Metadata"] == {"upper": "trimmed"} and found["ContentType"] == "Text/X-Mixed"


@gap("a header that is sent twice")
@covers("PutObject")
def test_a_header_sent_twice_is_one_with_both_values(s3, bucket):
    request = signed("PUT", f"/{bucket}/k", headers={"x-amz-meta-a": "1,2"})
    del request.headers["x-amz-meta-a"]
    request.headers["x-amz-meta-a"] = "1"
    request.headers["x-amz-meta-a"] = "2"
    status, _, body = send(request)
    assert status == 200, (status, body)
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"]["a"].replace(" ", "") == "1,2"


@covers("ListObjectsV2", "ListObjects")
def test_parameters_that_are_empty_missing_or_twice(s3, bucket):
    for key in ["a", "b", "c/d"]:
        put(s3, bucket, key)
    def names(query):
        status, _, body = raw("GET", f"/{bucket}", query=query)
        assert status == 200, (query, status, body)
        space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
        return [one.text for one in xml.etree.ElementTree.fromstring(body).iter(f"{space}Key")]
    for query in ["", "prefix=", "delimiter=", "marker=", "list-type=2", "list-type=2&prefix=&delimiter=&start-after=",
                  "max-keys=1000",
                  "unknown=parameter", "encoding-type=url", "list-type=2&fetch-owner=false"]:
        assert names(query) == ["a", "b", "c/d"], query
    for query in ["max-keys=abc", "max-keys=-1", "max-keys=99999999999", "list-type=2&max-keys=1.5", "encoding-type=xml"]:
        status, _, body = raw("GET", f"/{bucket}", query=query)
        assert status == 400 and b"<Code>InvalidArgument</Code>" in body, (query, status, body)


@covers("ListObjectsV2", "ListObjects", "ListObjectVersions", "ListMultipartUploads")
def test_pages_of_none_and_of_more_than_a_thousand(s3, bucket):
    put(s3, bucket, "a")
    for call, field in [(s3.list_objects, "MaxKeys"), (s3.list_objects_v2, "MaxKeys"), (s3.list_object_versions, "MaxKeys")]:
        page = call(Bucket=bucket, MaxKeys=0)
        assert (page[field], page["IsTruncated"]) == (0, False) and "Contents" not in page and "Versions" not in page
        page = call(Bucket=bucket, MaxKeys=5000)
        assert page[field] == 1000 and not page["IsTruncated"]
    assert s3.list_multipart_uploads(Bucket=bucket, MaxUploads=5000)["MaxUploads"] == 1000


@covers("ListObjectsV2", "ListObjects")
def test_names_in_listings_are_encoded_where_asked(s3, bucket):
    for key in ["a b/1", "a+b/1", "ü&<>/1", "c\u0001"]:
        put(s3, bucket, key)
    for query in ["", "list-type=2&"]:
        status, _, body = raw("GET", f"/{bucket}", query=f"delimiter=%2F&encoding-type=url&{query}prefix=".rstrip("&"))
        text = body.decode()
        assert status == 200 and "<EncodingType>url</EncodingType>" in text, (status, text)
        assert "%C3%BC%26%3C%3E/" in text or "%C3%BC%26%3C%3E%2F" in text, text
        assert ("a%20b/" in text or "a+b/" in text) and "a%2Bb/" in text and "%01" in text
    assert s3.list_objects_v2(Bucket=bucket, Delimiter="/")["CommonPrefixes"] == [
        {"Prefix": "a b/"}, {"Prefix": "a+b/"}, {"Prefix": "ü&<>/"}]


class Clock:
    """A signature as of another time."""

    def __init__(self, seconds):
        self.now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)

    def signed(self, method, path):
        request = botocore.awsrequest.AWSRequest(method=method, url=ENDPOINT + path)
        auth = botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION)
        stamp = self.now.strftime("%Y%m%dT%H%M%SZ")
        request.context["timestamp"] = stamp
        request.headers["X-Amz-Date"] = stamp
        request.headers["X-Amz-Content-SHA256"] = auth.payload(request)
        text = auth.string_to_sign(request, auth.canonical_request(request))
        fields = [f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}",
                  f"SignedHeaders={auth.signed_headers(auth.headers_to_sign(request))}",
                  f"Signature={auth.signature(text, request)}"]
        request.headers["Authorization"] = ", ".join(fields)
        return request


@covers("GetObject")
def test_clocks_may_differ_by_a_quarter_of_an_hour(s3, bucket):
    put(s3, bucket)
    for seconds in [0, 14 * 60, -14 * 60]:
        assert send(Clock(seconds).signed("GET", f"/{bucket}/k"))[0] == 200, seconds
    for seconds in [16 * 60, -16 * 60, 24 * 3600, -24 * 3600]:
        told(send(Clock(seconds).signed("GET", f"/{bucket}/k")), 403, "RequestTimeTooSkewed")


@covers("PutObject")
def test_the_time_of_a_signature_may_be_in_the_date_header(s3, bucket):
    dated = client()
    date = lambda text: lambda params, **_: params["headers"].update({"Date": text})
    # Where there is one, botocore makes it the time of the signature, and sends no x-amz-date.
    dated.meta.events.register("before-call.s3.PutObject", date("now"))
    sent = []
    dated.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(request.headers))
    dated.put_object(Bucket=bucket, Key="k", Body=b"dated")
    assert "Date" in sent[0] and "X-Amz-Date" not in sent[0]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"dated"

    def later(request, **_):
        request.headers["Date"] = email.utils.formatdate(soon(60).timestamp())
    dated.meta.events.register("before-send.s3.PutObject", later)
    refused("SignatureDoesNotMatch", 403, dated.put_object, Bucket=bucket, Key="k", Body=b"other")
    for text in ["yesterday", ""]:
        headers = signed("GET", f"/{bucket}/k").headers
        told(fetch("GET", f"/{bucket}/k", {
            "Authorization": headers["Authorization"], "x-amz-content-sha256": headers["x-amz-content-sha256"], "Date": text,
        }), 403, "AccessDenied")


@covers("GetObject")
def test_presigned_urls_have_limits(s3, bucket):
    put(s3, bucket)
    signer = client(signature_version="s3v4")
    url = lambda seconds: signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"},
                                                        ExpiresIn=seconds)
    assert follow(url(1))[2] == follow(url(604_800))[2] == b"0123456789"
    for seconds in [604_801, -1, 0]:
        answer = follow(url(seconds))
        assert answer[0] in (400, 403) and b"<Error><Code>" in answer[2], (seconds, answer)
    good = url(600)
    for old, new in [("X-Amz-Expires=600", "X-Amz-Expires=abc"), ("X-Amz-Expires=600&", ""),
                     ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
                     ("%2Faws4_request", ""), ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders="),
                     ("%2Fs3%2F", "%2Fec2%2F")]:
        assert old in good
        answer = follow(good.replace(old, new))
        assert answer[0] in (400, 403, 501) and b"<Error><Code>" in answer[2], (new, answer)
    told(follow(good[:-4] + "0000"), 403, "SignatureDoesNotMatch")
    told(follow(good.replace("/k?", "/other?")), 403, "SignatureDoesNotMatch")
    told(follow(good + "&response-content-type=text/x"), 403, "SignatureDoesNotMatch")
    assert follow(good, "PUT", body=b"x")[0] == 403
    assert follow(good, "HEAD")[0] == 403


@covers("PutObject")
def test_presigned_headers_must_be_sent(s3, bucket):
    signer = client(signature_version="s3v4")
    url = signer.generate_presigned_url("put_object", Params={
        "Bucket": bucket, "Key": "k", "ContentType": "text/x", "Metadata": {"a": "1"}})
    headers = {"Content-Type": "text/x", "x-amz-meta-a": "1"}
    assert follow(url, "PUT", headers, b"x")[0] == 200
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"a": "1"}
    for changed in [{"Content-Type": "text/y", "x-amz-meta-a": "1"}, {"Content-Type": "text/x", "x-amz-meta-a": "2"},
                    {"Content-Type": "text/x"}, {**headers, "x-amz-acl": "public-read"}]:
        assert follow(url, "PUT", changed, b"y")[0] == 403, changed
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


@covers("PutObject")
def test_headers_that_a_presigned_url_brings_need_not_be_sent(s3, bucket):
    asked = "x-amz-meta-a=b%20c&x-amz-storage-class=STANDARD_IA&x-amz-tagging=t%3D1"
    request = botocore.awsrequest.AWSRequest("PUT", url=f"{ENDPOINT}/{bucket}/k?{asked}")
    keys = botocore.credentials.Credentials(ACCESS_KEY, SECRET_KEY)
    botocore.auth.S3SigV4QueryAuth(keys, "s3", REGION, 600).add_auth(request)
    by_version_2 = client(signature_version="s3").generate_presigned_url("put_object", Params={
        "Bucket": bucket, "Key": "k", "Metadata": {"a": "b c"}, "Tagging": "t=1", "StorageClass": "STANDARD_IA"})
    for version, url in [(4, request.url), (2, by_version_2)]:
        assert "x-amz-meta-a=" in url, url
        assert follow(url, "PUT", body=b"x")[0] == 200, version
        found = s3.head_object(Bucket=bucket, Key="k")
        assert (found["Metadata"], found["StorageClass"]) == ({"a": "b c"}, "STANDARD_IA"), (version, found)
        assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "t", "Value": "1"}]
        status, _, body = follow(url, "PUT", {"x-amz-meta-a": "other"}, b"y")
        assert status == 403, (version, status, body)


@covers("PutObject")
def test_nothing_can_be_added_to_what_was_signed(s3, bucket):
    put(s3, bucket, "secret")
    request = signed("PUT", f"/{bucket}/k")
    before, after = request.headers["Authorization"].split(", Signature=")
    for name, value in [("X-Amz-Copy-Source", f"/{bucket}/secret"), ("X-Amz-Acl", "public-read"), ("x-amz-acl", "private")]:
        headers = {**dict(request.headers), name: value, "Authorization": f"{before};{name}, Signature={after}"}
        status, _, body = fetch("PUT", f"/{bucket}/k", headers, b"")
        assert status == 403, (name, status, body)
    assert "k" not in [found["Key"] for found in s3.list_objects_v2(Bucket=bucket)["Contents"]]


@covers("GetObject")
def test_a_slash_that_is_escaped_ends_no_bucket(s3, bucket):
    put(s3, bucket)
    for method, path in [("GET", f"/{bucket}%2Fk"), ("DELETE", f"/{bucket}%2fk")]:
        request = signed(method, path)
        status, _, body = fetch(method, path, dict(request.headers))
        assert status == 400 and b"<Code>InvalidURI</Code>" in body, (status, body)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"0123456789"


@covers("GetObject")
def test_a_reader_may_ask_for_other_headers_only_when_signed(s3, bucket):
    s3.delete_public_access_block(Bucket=bucket)
    put(s3, bucket, ContentType="text/plain")
    found = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="text/x", ResponseExpires=soon(60))
    assert found["ContentType"] == "text/x" and headers_of(found)["expires"]
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(
        {"Principal": "*", "Action": "s3:GetObject", "Resource": objects_of(bucket)}))
    assert fetch("GET", f"/{bucket}/k")[1]["content-type"] == "text/plain"
    status, _, body = fetch("GET", f"/{bucket}/k?response-content-type=text/x")
    assert (status, b"<Code>InvalidRequest</Code>" in body) == (400, True), (status, body)


@covers("PutObject")
def test_signatures_may_be_given_in_one_way_only(s3, bucket):
    put(s3, bucket)
    url = client(signature_version="s3v4").generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    request = signed("GET", f"/{bucket}/k")
    status, _, body = follow(url, headers={"Authorization": request.headers["Authorization"]})
    assert status == 400 and b"<Code>InvalidArgument</Code>" in body, (status, body)


@covers("PutObject")
def test_bodies_without_a_length_and_chunked_ones(s3, bucket):
    request = signed("PUT", f"/{bucket}/k", payload="UNSIGNED-PAYLOAD")
    connection = connect()
    try:
        connection.putrequest("PUT", f"/{bucket}/k", skip_accept_encoding=True)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        for piece in [b"5\r\nhello\r\n", b"1\r\n!\r\n", b"0\r\n\r\n"]:
            connection.send(piece)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 411 and b"<Code>MissingContentLength</Code>" in body, (answer.status, body)
        refused("404", 404, s3.head_object, Bucket=bucket, Key="k")
    except (http.client.RemoteDisconnected, ConnectionError) as error:
        raise AssertionError(f"no answer: {error}") from error
    finally:
        connection.close()


@covers("PutObject", "GetObject")
def test_encodings_of_content_are_kept_and_not_those_of_the_wire(s3, bucket):
    for given, kept in [("gzip", "gzip"), ("aws-chunked", None), ("gzip,aws-chunked", "gzip"), ("br", "br"),
                        ("aws-chunked, deflate, gzip", "deflate, gzip"), ("deflate,gzip", "deflate,gzip")]:
        status, _, body = raw("PUT", f"/{bucket}/k", body=b"x", headers={"content-encoding": given})
        assert status == 200, (given, status, body)
        assert s3.head_object(Bucket=bucket, Key="k").get("ContentEncoding") == kept, given


@covers("PutObject", "GetObject", "DeleteObject")
def test_operations_that_are_not_here_are_not_taken_for_others(s3, bucket):
    put(s3, bucket)
    for method in ["PUT", "GET", "DELETE", "POST"]:
        for query in ["annotation=&annotationName=a", "annotation="]:
            status, _, body = raw(method, f"/{bucket}/k", query=query, body=b"other" if method in ("PUT", "POST") else b"")
            assert status >= 400 and b"<Error><Code>" in body, (method, query, status, body)
        for query in ["metadataConfiguration=", "metadataTable=", "abac="]:
            status, _, body = raw(method, f"/{bucket}", query=query)
            assert status >= 400 and b"<Error><Code>" in body, (method, query, status, body)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"0123456789"


run(globals())
