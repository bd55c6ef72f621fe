"""Versions: every write of a key is kept, deletes are markers, and each version is reached by its id."""

import random
from concurrent.futures import ThreadPoolExecutor

from _support import PART, another, content, covers, headers_of, pages, raw, refused, run, soon, status_of, versioned

KEYS = ["a", "a/1", "a/2", "b", "b/c/d", "c d", "z/é", "é"]


def put(s3, bucket, key="k", body=b"x", **named):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **named)["VersionId"]


def delete(s3, bucket, key="k", **named):
    return s3.delete_object(Bucket=bucket, Key=key, **named)


def read(s3, bucket, key="k", **named):
    return s3.get_object(Bucket=bucket, Key=key, **named)["Body"].read()


def listed(s3, bucket, **named):
    """(key, version, is latest, whether it is a marker), all pages together."""
    found = []
    for _ in pages():
        page = s3.list_object_versions(Bucket=bucket, **named)
        entries = [(one["Key"], one["VersionId"], one["IsLatest"], False) for one in page.get("Versions", [])]
        entries += [(one["Key"], one["VersionId"], one["IsLatest"], True) for one in page.get("DeleteMarkers", [])]
        found += entries
        if not page["IsTruncated"]:
            return found
        named = {**{name: value for name, value in named.items() if name != "VersionIdMarker"}, **following(page)}


def following(page):
    """What asks for the next page; after a common prefix there is no version to name."""
    version = {"VersionIdMarker": page["NextVersionIdMarker"]} if page.get("NextVersionIdMarker") else {}
    return {"KeyMarker": page["NextKeyMarker"], **version}


def versions(s3, bucket, **named):
    return {(key, version): (latest, marker) for key, version, latest, marker in listed(s3, bucket, **named)}


@covers("PutBucketVersioning", "GetBucketVersioning")
def test_versioning_is_never_enabled_then_enabled_then_suspended(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    for status in ["Suspended", "Enabled", "Enabled", "Suspended", "Enabled"]:
        versioned(s3, bucket, status)
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == status


@covers("PutBucketVersioning")
def test_states_that_are_none_are_refused(s3, bucket):
    for status in ["Disabled", "enabled", ""]:
        refused(("MalformedXML", "IllegalVersioningConfigurationException"), 400, versioned, s3, bucket, status)
    refused("NoSuchBucket", 404, versioned, s3, bucket + "-absent")
    refused("NoSuchBucket", 404, s3.get_bucket_versioning, Bucket=bucket + "-absent")
    for body in [b"", b"<VersioningConfiguration>", b"<Other/>"]:
        status, _, answer = raw("PUT", f"/{bucket}", query="versioning=", body=body)
        assert status == 400 and b"<Error><Code>" in answer, (body, status, answer)
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)


@covers("PutBucketVersioning")
def test_mfa_delete_is_not_pretended(s3, bucket):
    call = lambda: s3.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled", "MFADelete": "Enabled"})
    refused(("AccessDenied", "InvalidRequest", "NotImplemented", "InvalidArgument"), (400, 403, 501), call)
    assert s3.get_bucket_versioning(Bucket=bucket).get("MFADelete") != "Enabled"


@covers("PutObject", "GetObject", "HeadObject", "ListObjectVersions")
def test_every_put_makes_a_version_that_stays(s3, bucket):
    versioned(s3, bucket)
    bodies = [content(n * 70_000 + 1, n) for n in range(5)]
    ids = [put(s3, bucket, body=body) for body in bodies]
    assert len(set(ids)) == 5 and "null" not in ids
    for version, body in zip(ids, bodies):
        found = s3.get_object(Bucket=bucket, Key="k", VersionId=version)
        assert found["VersionId"] == version and found["Body"].read() == body
        head = s3.head_object(Bucket=bucket, Key="k", VersionId=version)
        assert (head["VersionId"], head["ContentLength"], head["ETag"]) == (version, len(body), found["ETag"])
    current = s3.get_object(Bucket=bucket, Key="k")
    assert current["VersionId"] == ids[-1] and current["Body"].read() == bodies[-1]
    page = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [one["VersionId"] for one in page] == ids[::-1]
    assert [one["IsLatest"] for one in page] == [True] + [False] * 4
    assert [one["Size"] for one in page] == [len(body) for body in bodies[::-1]]
    assert all(one["Owner"]["ID"] and one["StorageClass"] == "STANDARD" and one["ETag"] for one in page)
    assert page[0]["LastModified"] >= page[-1]["LastModified"]
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]


@covers("ListObjectVersions", "PutObject", "GetObject")
def test_without_versioning_there_is_one_version_called_null(s3, bucket):
    for body in [b"1", b"2"]:
        assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert "VersionId" not in s3.get_object(Bucket=bucket, Key="k")
    assert versions(s3, bucket) == {("k", "null"): (True, False)}
    assert read(s3, bucket, VersionId="null") == b"2"
    answer = delete(s3, bucket)
    assert "DeleteMarker" not in answer and "VersionId" not in answer
    assert versions(s3, bucket) == {}


@covers("GetObject", "HeadObject", "DeleteObject")
def test_what_was_there_before_keeps_the_id_null(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    versioned(s3, bucket)
    assert s3.head_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    after = put(s3, bucket, body=b"after")
    assert read(s3, bucket, VersionId="null") == b"before" and read(s3, bucket) == b"after"
    assert versions(s3, bucket) == {("k", "null"): (False, False), ("k", after): (True, False)}
    assert delete(s3, bucket, VersionId="null")["VersionId"] == "null"
    refused("NoSuchVersion", 404, read, s3, bucket, VersionId="null")
    assert read(s3, bucket) == b"after"


@covers("PutObject", "DeleteObject", "PutBucketVersioning")
def test_while_suspended_writes_replace_the_null_version_only(s3, bucket):
    versioned(s3, bucket)
    kept = [put(s3, bucket, body=b"kept 1"), put(s3, bucket, body=b"kept 2")]
    versioned(s3, bucket, "Suspended")
    for body in [b"null 1", b"null 2"]:
        assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=body)
        assert read(s3, bucket) == body and read(s3, bucket, VersionId="null") == body
    assert versions(s3, bucket) == {("k", kept[0]): (False, False), ("k", kept[1]): (False, False),
                                    ("k", "null"): (True, False)}
    answer = delete(s3, bucket)
    assert answer["DeleteMarker"] is True and answer.get("VersionId", "null") == "null"
    assert versions(s3, bucket) == {("k", kept[0]): (False, False), ("k", kept[1]): (False, False),
                                    ("k", "null"): (True, True)}
    delete(s3, bucket)
    assert len(versions(s3, bucket)) == 3
    refused("NoSuchKey", 404, read, s3, bucket)
    assert read(s3, bucket, VersionId=kept[0]) == b"kept 1"
    versioned(s3, bucket)
    again = put(s3, bucket, body=b"again")
    assert again not in ["null", *kept] and ("k", "null") in versions(s3, bucket)
    delete(s3, bucket, VersionId="null")
    assert ("k", "null") not in versions(s3, bucket) and read(s3, bucket) == b"again"


@covers("DeleteObject", "GetObject", "HeadObject")
def test_a_delete_puts_a_marker_that_hides_the_key(s3, bucket):
    versioned(s3, bucket)
    version = put(s3, bucket, body=b"hidden")
    answer = delete(s3, bucket)
    marker = answer["VersionId"]
    assert answer["DeleteMarker"] is True and marker not in (version, "null") and status_of(answer) == 204
    for call in [s3.get_object, s3.head_object]:
        gone = headers_of(refused("NoSuchKey", 404, call, Bucket=bucket, Key="k"))
        assert (gone["x-amz-delete-marker"], gone["x-amz-version-id"]) == ("true", marker)
        named = headers_of(refused("MethodNotAllowed", 405, call, Bucket=bucket, Key="k", VersionId=marker))
        assert named["x-amz-delete-marker"] == "true" and named["last-modified"]
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert read(s3, bucket, VersionId=version) == b"hidden"
    assert listed(s3, bucket) == [("k", version, False, False), ("k", marker, True, True)]
    answer = delete(s3, bucket, VersionId=marker)
    assert answer["DeleteMarker"] is True and answer["VersionId"] == marker
    assert read(s3, bucket) == b"hidden"


@covers("DeleteObject")
def test_markers_are_put_on_markers_and_on_nothing(s3, bucket):
    versioned(s3, bucket)
    markers = [delete(s3, bucket)["VersionId"] for _ in range(3)]
    assert len(set(markers)) == 3
    page = s3.list_object_versions(Bucket=bucket)
    assert "Versions" not in page
    assert [(one["VersionId"], one["IsLatest"]) for one in page["DeleteMarkers"]] == [
        (markers[2], True), (markers[1], False), (markers[0], False)]
    assert page["DeleteMarkers"][0]["Owner"]["ID"] and page["DeleteMarkers"][0]["LastModified"]
    delete(s3, bucket, VersionId=markers[2])
    assert s3.list_object_versions(Bucket=bucket)["DeleteMarkers"][0]["IsLatest"] is True


@covers("DeleteObject")
def test_deleting_the_newest_version_brings_back_the_one_before(s3, bucket):
    versioned(s3, bucket)
    ids = [put(s3, bucket, body=str(n).encode()) for n in range(3)]
    for newest in [2, 1]:
        answer = delete(s3, bucket, VersionId=ids[newest])
        assert answer["VersionId"] == ids[newest] and not answer.get("DeleteMarker")
        assert read(s3, bucket) == str(newest - 1).encode()
        refused("NoSuchVersion", 404, read, s3, bucket, VersionId=ids[newest])
        assert status_of(delete(s3, bucket, VersionId=ids[newest])) == 204
    delete(s3, bucket, VersionId=ids[0])
    refused("NoSuchKey", 404, read, s3, bucket)
    assert versions(s3, bucket) == {}


@covers("GetObject", "HeadObject", "DeleteObject", "CopyObject")
def test_ids_of_no_version_are_refused(s3, bucket):
    versioned(s3, bucket)
    put(s3, bucket)
    other = put(s3, bucket, "other")
    gone = put(s3, bucket)
    delete(s3, bucket, VersionId=gone)
    source = lambda version: s3.copy_object(Bucket=bucket, Key="to", CopySource={
        "Bucket": bucket, "Key": "k", "VersionId": version})
    for version in [other, gone, "null"]:
        refused("NoSuchVersion", 404, read, s3, bucket, VersionId=version)
        refused("NoSuchVersion", 404, s3.head_object, Bucket=bucket, Key="k", VersionId=version)
        refused("NoSuchVersion", 404, source, version)
    for version in ["nonsense", "-", "a b"]:
        refused("InvalidArgument", 400, read, s3, bucket, VersionId=version)
        refused("InvalidArgument", 400, s3.head_object, Bucket=bucket, Key="k", VersionId=version)
        refused("InvalidArgument", 400, delete, s3, bucket, VersionId=version)
        refused("InvalidArgument", 400, source, version)
    for method in ["GET", "DELETE"]:
        status, _, body = raw(method, f"/{bucket}/k", query="versionId=")
        assert (status, b"<Code>InvalidArgument</Code>" in body) == (400, True), (method, status, body)
    assert status_of(delete(s3, bucket, "never", VersionId=gone)) == 204
    assert set(versions(s3, bucket)) >= {("other", other)} and len(versions(s3, bucket)) == 2


def fill(s3, bucket):
    """Versions and markers of all keys; what a listing must show, in order."""
    wanted = []
    for number, key in enumerate(KEYS):
        made = []
        for round_ in range(3):
            if (number + round_) % 3 == 2:
                made.append((key, delete(s3, bucket, key)["VersionId"], True))
            else:
                made.append((key, put(s3, bucket, key, str(round_).encode()), False))
        wanted += [(key, version, at == 0, marker) for at, (key, version, marker) in enumerate(made[::-1])]
    return sorted(wanted, key=lambda one: one[0].encode())


@covers("ListObjectVersions")
def test_versions_are_listed_in_pages_of_every_size(s3, bucket):
    versioned(s3, bucket)
    wanted = fill(s3, bucket)
    for size in [1, 2, 3, 5, 7, 1000]:
        entries = listed(s3, bucket, MaxKeys=size)
        assert sorted(entries) == sorted(wanted), size
        if size == 1:
            assert entries == wanted
    page = s3.list_object_versions(Bucket=bucket, MaxKeys=4)
    assert len(page.get("Versions", [])) + len(page.get("DeleteMarkers", [])) == 4
    assert (page["NextKeyMarker"], page["NextVersionIdMarker"]) == wanted[3][:2]
    assert (page["Name"], page["MaxKeys"], page["IsTruncated"]) == (bucket, 4, True)


@covers("DeleteObject", "ListObjectVersions")
def test_pages_go_on_behind_versions_that_were_deleted(s3, bucket):
    versioned(s3, bucket)
    for size in [1, 2, 3, 5]:
        wanted = fill(s3, bucket)
        seen, at = [], {}
        while True:
            page = s3.list_object_versions(Bucket=bucket, MaxKeys=size, **at)
            for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                delete(s3, bucket, entry["Key"], VersionId=entry["VersionId"])
                seen.append((entry["Key"], entry["VersionId"]))
            if not page["IsTruncated"]:
                break
            at = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
        assert sorted(seen) == sorted(one[:2] for one in wanted), size


@covers("ListObjectVersions")
def test_a_null_version_that_is_gone_hides_no_older_ones_from_the_next_page(s3, bucket):
    versioned(s3, bucket)
    older = [put(s3, bucket), put(s3, bucket)]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"null")
    page = s3.list_object_versions(Bucket=bucket, MaxKeys=1)
    assert (page["NextKeyMarker"], page["NextVersionIdMarker"]) == ("k", "null")
    delete(s3, bucket, VersionId="null")
    rest = s3.list_object_versions(Bucket=bucket, KeyMarker="k", VersionIdMarker="null")
    assert [(one["VersionId"], one["IsLatest"]) for one in rest["Versions"]] == [(older[1], True), (older[0], False)]


@covers("ListObjectVersions")
def test_versions_and_markers_are_interleaved_by_key_and_age(s3, bucket):
    import re
    versioned(s3, bucket)
    wanted = fill(s3, bucket)
    status, _, body = raw("GET", f"/{bucket}", query="versions=")
    assert status == 200, body
    found = re.findall(r"<(Version|DeleteMarker)>(.*?)</\1>", body.decode(), re.S)
    field = lambda text, name: re.search(f"<{name}>(.*?)</{name}>", text).group(1)
    entries = [(field(text, "Key"), field(text, "VersionId"), field(text, "IsLatest") == "true", kind == "DeleteMarker")
               for kind, text in found]
    assert entries == wanted


@covers("ListObjectVersions")
def test_versions_by_prefix_and_delimiter(s3, bucket):
    versioned(s3, bucket)
    wanted = fill(s3, bucket)
    for prefix in ["", "a", "a/", "b", "none"]:
        for delimiter in ["", "/", "/c/"]:
            for size in [1, 2, 1000]:
                prefixes, entries, named = [], [], {}
                for _ in pages():
                    page = s3.list_object_versions(Bucket=bucket, Prefix=prefix, Delimiter=delimiter, MaxKeys=size, **named)
                    prefixes += [one["Prefix"] for one in page.get("CommonPrefixes", [])]
                    entries += [one["VersionId"] for one in page.get("Versions", []) + page.get("DeleteMarkers", [])]
                    if not page["IsTruncated"]:
                        break
                    named = following(page)
                shown, rolled = expected(wanted, prefix, delimiter)
                assert (prefixes, sorted(entries)) == (rolled, sorted(shown)), (prefix, delimiter, size)


def expected(entries, prefix, delimiter):
    """The versions shown, and the common prefixes."""
    shown, rolled = [], []
    for key, version, _, _ in entries:
        if not key.startswith(prefix):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        if at < 0:
            shown.append(version)
        elif key[:at + len(delimiter)] not in rolled:
            rolled.append(key[:at + len(delimiter)])
    return shown, rolled


@covers("ListObjectVersions")
def test_versions_after_a_marker(s3, bucket):
    versioned(s3, bucket)
    wanted = fill(s3, bucket)
    for at, (key, version, _, _) in enumerate(wanted):
        after = [one for one in wanted if one[0].encode() > key.encode()]
        assert sorted(listed(s3, bucket, KeyMarker=key)) == sorted(after), key
        rest = sorted(wanted[at + 1:])
        assert sorted(listed(s3, bucket, KeyMarker=key, VersionIdMarker=version)) == rest, (key, version)
    assert listed(s3, bucket, KeyMarker="\U0010ffff") == []
    refused("InvalidArgument", 400, s3.list_object_versions, Bucket=bucket, VersionIdMarker=wanted[0][1])
    refused("InvalidArgument", 400, s3.list_object_versions, Bucket=bucket, KeyMarker="a", VersionIdMarker="nonsense")


@covers("ListObjectVersions")
def test_limits_and_encodings_of_version_listings(s3, bucket):
    versioned(s3, bucket)
    put(s3, bucket, "a b/é")
    page = s3.list_object_versions(Bucket=bucket, MaxKeys=0)
    assert page["IsTruncated"] is False and "Versions" not in page
    assert s3.list_object_versions(Bucket=bucket, MaxKeys=100_000)["MaxKeys"] == 1000
    refused("InvalidArgument", 400, s3.list_object_versions, Bucket=bucket, MaxKeys=-1)
    refused("InvalidArgument", 400, s3.list_object_versions, Bucket=bucket, EncodingType="base64")
    refused("NoSuchBucket", 404, s3.list_object_versions, Bucket=bucket + "-absent")
    page = s3.list_object_versions(Bucket=bucket, EncodingType="url", Prefix="a b")
    assert page["EncodingType"] == "url" and page["Versions"][0]["Key"] in ("a%20b/%C3%A9", "a+b/%C3%A9")


@covers("DeleteObjects")
def test_deletes_of_many_with_and_without_versions(s3, bucket):
    versioned(s3, bucket)
    ids = [put(s3, bucket, "k", str(n).encode()) for n in range(3)]
    marker = delete(s3, bucket, "marked")["VersionId"]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [
        {"Key": "k", "VersionId": ids[0]}, {"Key": "k", "VersionId": ids[2]}, {"Key": "plain"},
        {"Key": "marked", "VersionId": marker}]})
    assert "Errors" not in answer
    found = {(one["Key"], one.get("VersionId")): one for one in answer["Deleted"]}
    assert set(found) == {("k", ids[0]), ("k", ids[2]), ("plain", None), ("marked", marker)}
    assert not found["k", ids[0]].get("DeleteMarker")
    assert found["plain", None]["DeleteMarker"] is True and found["plain", None]["DeleteMarkerVersionId"]
    gone = found["marked", marker]
    assert gone["DeleteMarker"] is True and gone["DeleteMarkerVersionId"] == marker
    assert read(s3, bucket) == b"1"
    plain = found["plain", None]["DeleteMarkerVersionId"]
    assert versions(s3, bucket) == {("k", ids[1]): (True, False), ("plain", plain): (True, True)}


@covers("DeleteObjects")
def test_bad_versions_among_many_are_told_one_by_one(s3, bucket):
    versioned(s3, bucket)
    gone = put(s3, bucket)
    delete(s3, bucket, VersionId=gone)
    kept = put(s3, bucket)
    answer = s3.delete_objects(Bucket=bucket, Delete={"Quiet": True, "Objects": [
        {"Key": "k", "VersionId": "nonsense"}, {"Key": "k", "VersionId": gone}]})
    assert [(one["Key"], one["VersionId"]) for one in answer["Errors"]] == [("k", "nonsense")]
    assert answer["Errors"][0]["Code"] in ("NoSuchVersion", "InvalidArgument") and "Deleted" not in answer
    assert versions(s3, bucket) == {("k", kept): (True, False)}


@covers("CopyObject")
def test_copies_of_versions(s3, bucket):
    versioned(s3, bucket)
    ids = [put(s3, bucket, body=body, Metadata={"n": body.decode()}) for body in [b"1", b"2", b"3"]]
    source = lambda version=None: {"Bucket": bucket, "Key": "k", **({"VersionId": version} if version else {})}
    answer = s3.copy_object(Bucket=bucket, Key="to", CopySource=source(ids[0]))
    assert answer["CopySourceVersionId"] == ids[0] and answer["VersionId"] not in (*ids, "null")
    found = s3.get_object(Bucket=bucket, Key="to")
    assert (found["Body"].read(), found["Metadata"], found["VersionId"]) == (b"1", {"n": "1"}, answer["VersionId"])
    answer = s3.copy_object(Bucket=bucket, Key="to", CopySource=source())
    assert answer["CopySourceVersionId"] == ids[2] and read(s3, bucket, "to") == b"3"
    restored = s3.copy_object(Bucket=bucket, Key="k", CopySource=source(ids[1]))["VersionId"]
    assert read(s3, bucket) == b"2" and s3.head_object(Bucket=bucket, Key="k")["VersionId"] == restored
    assert len(versions(s3, bucket, Prefix="k")) == 4
    marker = delete(s3, bucket)["VersionId"]
    refused("NoSuchKey", 404, s3.copy_object, Bucket=bucket, Key="to", CopySource=source())
    refused("InvalidRequest", 400, s3.copy_object, Bucket=bucket, Key="to", CopySource=source(marker))
    plain = another(s3, bucket, "plain")
    answer = s3.copy_object(Bucket=plain, Key="to", CopySource=source(ids[1]))
    assert answer["CopySourceVersionId"] == ids[1] and "VersionId" not in answer


@covers("CreateMultipartUpload", "CompleteMultipartUpload", "UploadPartCopy", "GetObjectAttributes")
def test_uploads_in_parts_make_versions(s3, bucket):
    versioned(s3, bucket)
    ids = []
    for number in range(2):
        upload = dict(Bucket=bucket, Key="k", UploadId=s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"])
        bodies = [content(PART, number), f"end {number}".encode()]
        parts = [{"PartNumber": n, "ETag": s3.upload_part(PartNumber=n, Body=body, **upload)["ETag"]}
                 for n, body in enumerate(bodies, 1)]
        assert len(versions(s3, bucket)) == number
        ids.append(s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)["VersionId"])
        assert read(s3, bucket) == b"".join(bodies)
    assert read(s3, bucket, VersionId=ids[0], PartNumber=2) == b"end 0"
    assert read(s3, bucket, VersionId=ids[0], Range="bytes=-5") == b"end 0"
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", VersionId=ids[0], ObjectAttributes=["ObjectSize"])
    assert (attributes["VersionId"], attributes["ObjectSize"]) == (ids[0], PART + 5)
    upload = dict(Bucket=bucket, Key="to", UploadId=s3.create_multipart_upload(Bucket=bucket, Key="to")["UploadId"])
    source = {"Bucket": bucket, "Key": "k", "VersionId": ids[0]}
    copied = s3.upload_part_copy(PartNumber=1, CopySource=source, CopySourceRange=f"bytes={PART}-{PART + 4}", **upload)
    assert copied["CopySourceVersionId"] == ids[0]
    parts = [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    assert read(s3, bucket, "to") == b"end 0"


@covers("PutObject", "CompleteMultipartUpload")
def test_conditional_writes_take_a_marker_for_nothing(s3, bucket):
    versioned(s3, bucket)
    tag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    refused("PreconditionFailed", 412, put, s3, bucket, IfNoneMatch="*")
    delete(s3, bucket)
    refused("NoSuchKey", 404, put, s3, bucket, IfMatch=tag)
    put(s3, bucket, body=b"2", IfNoneMatch="*")
    refused("PreconditionFailed", 412, put, s3, bucket, IfMatch=tag)
    assert read(s3, bucket) == b"2"
    delete(s3, bucket)
    upload = dict(Bucket=bucket, Key="k", UploadId=s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"])
    parts = [{"PartNumber": 1, "ETag": s3.upload_part(PartNumber=1, Body=b"3", **upload)["ETag"]}]
    complete = lambda **named: s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload, **named)
    refused("NoSuchKey", 404, complete, IfMatch=tag)
    complete(IfNoneMatch="*")
    assert read(s3, bucket) == b"3"


@covers("DeleteObject")
def test_conditional_deletes_look_at_the_current_version(s3, bucket):
    versioned(s3, bucket)
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    new = s3.put_object(Bucket=bucket, Key="k", Body=b"new")
    refused("PreconditionFailed", 412, delete, s3, bucket, IfMatch=old["ETag"])
    assert read(s3, bucket) == b"new"
    assert delete(s3, bucket, IfMatch=new["ETag"])["DeleteMarker"] is True
    refused(("NoSuchKey", "PreconditionFailed"), (404, 412), delete, s3, bucket, IfMatch=new["ETag"])
    refused(("NoSuchKey", "PreconditionFailed"), (404, 412), delete, s3, bucket, IfMatch="*")
    put(s3, bucket)
    assert delete(s3, bucket, IfMatch="*")["DeleteMarker"] is True


@covers("GetObject", "HeadObject")
def test_conditions_and_ranges_of_an_old_version(s3, bucket):
    versioned(s3, bucket)
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    put(s3, bucket, body=b"new")
    ask = lambda **named: s3.get_object(Bucket=bucket, Key="k", VersionId=old["VersionId"], **named)
    found = ask(Range="bytes=2-4", IfMatch=old["ETag"])
    assert found["Body"].read() == b"234" and found["ContentRange"] == "bytes 2-4/10"
    refused("304", 304, ask, IfNoneMatch=old["ETag"])
    refused("PreconditionFailed", 412, ask, IfMatch='"other"')
    head = lambda **named: s3.head_object(Bucket=bucket, Key="k", VersionId=old["VersionId"], **named)
    refused("304", 304, head, IfModifiedSince=head()["LastModified"])
    assert head(IfModifiedSince=soon(60))["ContentLength"] == 10


@covers("DeleteBucket")
def test_a_bucket_of_old_versions_or_markers_is_not_empty(s3, bucket):
    name = another(s3, bucket, "x")
    versioned(s3, name)
    version = put(s3, name)
    marker = delete(s3, name)["VersionId"]
    refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=name)
    delete(s3, name, VersionId=version)
    refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=name)
    delete(s3, name, VersionId=marker)
    s3.delete_bucket(Bucket=name)


@covers("PutObject", "ListObjectVersions")
def test_writers_at_the_same_time_make_a_version_each(s3, bucket):
    versioned(s3, bucket)
    with ThreadPoolExecutor(10) as pool:
        ids = list(pool.map(lambda number: put(s3, bucket, body=str(number).encode()), range(60)))
    assert len(set(ids)) == 60
    for number, version in enumerate(ids):
        assert read(s3, bucket, VersionId=version) == str(number).encode()
    found = versions(s3, bucket)
    assert {version for _, version in found} == set(ids)
    assert sum(latest for latest, _ in found.values()) == 1


class Model:
    """What the versions of a bucket are after any history: newest first, (version, body), None for a marker."""

    def __init__(self):
        self.keys, self.suspended = {}, False

    def write(self, key, version, body):
        entries = self.keys.setdefault(key, [])
        if self.suspended:
            entries[:] = [one for one in entries if one[0] != "null"]
        entries.insert(0, (version, body))

    def remove(self, key, version):
        self.keys[key] = [one for one in self.keys.get(key, []) if one[0] != version]

    def listing(self):
        return {(key, version): (at == 0, body is None) for key, entries in self.keys.items()
                for at, (version, body) in enumerate(entries)}


@covers("PutObject", "DeleteObject", "PutBucketVersioning", "ListObjectVersions")
def test_any_history_leaves_the_versions_that_the_rules_say(s3, bucket):
    chance, model = random.Random(11), Model()
    versioned(s3, bucket)
    for step in range(150):
        key = chance.choice(["a", "b", "c"])
        act = chance.choice(["put"] * 4 + ["delete"] * 3 + ["remove"] * 3 + ["switch"])
        if act == "put":
            body = f"{step}".encode()
            version = s3.put_object(Bucket=bucket, Key=key, Body=body).get("VersionId", "null")
            assert (version == "null") == model.suspended
            model.write(key, version, body)
        elif act == "delete":
            model.write(key, delete(s3, bucket, key).get("VersionId", "null"), None)
        elif act == "remove" and model.keys.get(key):
            version = chance.choice(model.keys[key])[0]
            delete(s3, bucket, key, VersionId=version)
            model.remove(key, version)
        elif act == "switch":
            model.suspended = not model.suspended
            versioned(s3, bucket, "Suspended" if model.suspended else "Enabled")
        assert versions(s3, bucket) == model.listing(), (step, act, key)
        entries = model.keys.get(key)
        if entries and entries[0][1] is not None:
            assert read(s3, bucket, key) == entries[0][1]
        else:
            refused("NoSuchKey", 404, read, s3, bucket, key)
    shown = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    assert shown == [key for key in sorted(model.keys) if model.keys[key] and model.keys[key][0][1] is not None]


run(globals())
