"""Listings of objects, against what the rules say of a set of keys."""

import random
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from _support import covers, pages, raw, refused, run, told

KEYS = ["a", "a/", "a/1", "a/2/x", "a/2/y", "a//", "b", "b-c", "b/c/d", "b/c/e", "c d", "c+d", "z/☃", "z/é", "z/\U0001f511",
        "zz", "é"]


def expected(keys, prefix="", delimiter="", after=""):
    """Keys and common prefixes in order: what S3 answers, in all its pages together."""
    entries = []
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        entry = key if at < 0 else key[:at + len(delimiter)]
        if (at < 0 and entry.encode() <= after.encode()) or (at >= 0 and entry.encode() <= after.encode()):
            continue
        if at >= 0 and key.encode() <= after.encode():
            continue
        if entries and entries[-1] == entry:
            continue
        entries.append(entry)
    return entries


def put(s3, bucket, keys):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode()), keys))


def entries(page):
    found = [one["Key"] for one in page.get("Contents", [])] + [one["Prefix"] for one in page.get("CommonPrefixes", [])]
    return sorted(found, key=str.encode)


def all_v2(s3, bucket, **named):
    found = []
    for _ in pages():
        page = s3.list_objects_v2(Bucket=bucket, **named)
        assert page["KeyCount"] == len(entries(page)) <= named.get("MaxKeys", 1000)
        found += entries(page)
        if not page["IsTruncated"]:
            assert "NextContinuationToken" not in page
            return found
        named["ContinuationToken"] = page["NextContinuationToken"]


def all_v1(s3, bucket, **named):
    found = []
    for _ in pages():
        page = s3.list_objects(Bucket=bucket, **named)
        found += entries(page)
        if not page["IsTruncated"]:
            return found
        named["Marker"] = page.get("NextMarker") or page["Contents"][-1]["Key"]


@covers("ListObjects", "ListObjectsV2")
def test_every_prefix_delimiter_and_page_size(s3, bucket):
    put(s3, bucket, KEYS)
    for prefix in ["", "a", "a/", "b", "z/", "none"]:
        for delimiter in ["", "/", "/c/", "☃", "a"]:
            for size in [1, 2, 3, 1000]:
                named = dict(Prefix=prefix, Delimiter=delimiter, MaxKeys=size)
                wanted = expected(KEYS, prefix, delimiter)
                assert all_v2(s3, bucket, **named) == wanted, named
                assert all_v1(s3, bucket, **named) == wanted, named


@covers("ListObjects", "ListObjectsV2")
def test_start_after_and_marker(s3, bucket):
    put(s3, bucket, KEYS)
    for after in ["a", "a/", "a/1", "a/1zz", "b/c", "é", "zzz", "\U0001f511"]:
        wanted = expected(KEYS, after=after)
        assert all_v2(s3, bucket, StartAfter=after, MaxKeys=4) == wanted, after
        assert all_v1(s3, bucket, Marker=after) == wanted, after
    page = s3.list_objects_v2(Bucket=bucket, StartAfter="a", MaxKeys=2)
    assert page["StartAfter"] == "a" and page["MaxKeys"] == 2 and page["Name"] == bucket


@covers("ListObjects", "ListObjectsV2")
def test_what_a_listing_says_of_an_object(s3, bucket):
    tag = s3.put_object(Bucket=bucket, Key="k", Body=b"12345", ChecksumAlgorithm="SHA256")["ETag"]
    one = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (one["ETag"], one["Size"], one["StorageClass"]) == (tag, 5, "STANDARD")
    assert one["ChecksumAlgorithm"] == ["SHA256"] and one["ChecksumType"] == "FULL_OBJECT" and "Owner" not in one
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    assert one["LastModified"].replace(microsecond=0) == modified
    assert s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"]
    assert s3.list_objects(Bucket=bucket)["Contents"][0]["Owner"]["ID"]


@covers("ListObjects", "ListObjectsV2")
def test_limits_and_bad_arguments(s3, bucket):
    put(s3, bucket, ["a", "b", "c"])
    page = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert (page["KeyCount"], page["IsTruncated"]) == (0, False)
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=100_000)["MaxKeys"] == 1000
    for call in [s3.list_objects_v2, s3.list_objects]:
        refused("InvalidArgument", 400, call, Bucket=bucket, MaxKeys=-1)
        refused("InvalidArgument", 400, call, Bucket=bucket, EncodingType="base64")
    for token in ["nonsense", "AAAA"]:
        refused("InvalidArgument", 400, s3.list_objects_v2, Bucket=bucket, ContinuationToken=token)


@covers("ListObjects", "ListObjectsV2")
def test_a_parameter_of_the_other_version_is_refused_by_its_name(s3, bucket):
    for query, name in [("start-after=a", "start-after"), ("continuation-token=a", "continuation-token"),
                        ("list-type=2&marker=a", "marker"), ("list-type=3", "list-type"), ("max-keys=-1", "maxKeys")]:
        answer = raw("GET", f"/{bucket}", query=query)
        told(answer, 400, "InvalidArgument")
        assert f"<ArgumentName>{name}</ArgumentName>".encode() in answer[2], answer


@covers("ListObjectsV2", "ListBuckets")
def test_an_empty_continuation_token_is_none(s3, bucket):
    put(s3, bucket, ["a", "b", "c"])
    page = s3.list_objects_v2(Bucket=bucket, ContinuationToken="")
    assert (page["ContinuationToken"], entries(page), page["IsTruncated"]) == ("", ["a", "b", "c"], False)
    page = s3.list_objects_v2(Bucket=bucket, ContinuationToken="", StartAfter="a", MaxKeys=1)
    assert (entries(page), page["StartAfter"], page["IsTruncated"]) == (["b"], "a", True)
    page = s3.list_objects_v2(Bucket=bucket, ContinuationToken=page["NextContinuationToken"], StartAfter="a")
    assert (entries(page), page["StartAfter"]) == (["c"], "a")
    assert bucket in [one["Name"] for one in s3.list_buckets(ContinuationToken="")["Buckets"]]


@covers("ListObjectsV2")
def test_names_are_encoded_where_asked(s3, bucket):
    key = "dir with space/k+ü\u0001"
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
    status, _, body = raw("GET", f"/{bucket}", query="delimiter=%2B&encoding-type=url&list-type=2&prefix=dir%20with")
    assert status == 200 and b"<Prefix>dir%20with</Prefix>" in body and b"<Prefix>dir%20with%20space/k%2B</Prefix>" in body
    assert s3.list_objects_v2(Bucket=bucket, EncodingType="url")["Contents"][0]["Key"] == "dir%20with%20space/k%2B%C3%BC%01"
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["Key"] == key


@covers("ListObjects", "ListObjectsV2", "ListObjectVersions", "DeleteObjects")
def test_control_characters_in_names_are_written_as_references(s3, bucket):
    put(s3, bucket, ["a\rb\n\tc", "d\u0001"])
    for query in ["", "list-type=2", "versions="]:
        status, _, body = raw("GET", f"/{bucket}", query=query)
        assert status == 200 and b"<Key>a&#xD;b\n\tc</Key>" in body and b"<Key>d&#x1;</Key>" in body, body
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a\rb\n\tc"}]})["Deleted"]
    assert [one["Key"] for one in deleted] == ["a\rb\n\tc"]


@covers("ListObjects", "ListObjectsV2", "ListObjectVersions")
def test_a_prefix_comes_back_as_it_was_asked_for(s3, bucket):
    for prefix in ["a b/", "\n", "ü&<>", "=,;"]:
        for call in [s3.list_objects, s3.list_objects_v2, s3.list_object_versions]:
            assert call(Bucket=bucket, Prefix=prefix)["Prefix"] == prefix
    # boto3 does not decode the prefix of ListObjects; those who do must read it too.
    for prefix in ["1+1", "100%", "%41", "\r\u0001"]:
        said = s3.list_objects(Bucket=bucket, Prefix=prefix)["Prefix"]
        assert urllib.parse.unquote_plus(said) == prefix, said


@covers("ListObjectsV2")
def test_a_list_shows_every_write_before_it(s3, bucket):
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"")
        assert f"k{number}" in all_v2(s3, bucket)
        if number % 2:
            s3.delete_object(Bucket=bucket, Key=f"k{number}")
            assert f"k{number}" not in all_v2(s3, bucket)


@covers("ListObjectsV2")
def test_random_keys_list_as_the_rules_say(s3, bucket):
    chance = random.Random(7)
    keys = {"".join(chance.choice("ab/é\U00010348") for _ in range(chance.randint(1, 6))) for _ in range(150)}
    put(s3, bucket, keys)
    for _ in range(40):
        prefix = "".join(chance.choice("ab/") for _ in range(chance.randint(0, 2)))
        delimiter = chance.choice(["", "/", "a", "a/", "é"])
        named = dict(Prefix=prefix, Delimiter=delimiter, MaxKeys=chance.choice([1, 3, 7, 50]))
        assert all_v2(s3, bucket, **named) == expected(keys, prefix, delimiter), named


run(globals())
