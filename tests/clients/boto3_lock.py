"""Object lock: what is retained or held cannot be destroyed, by nobody before its time."""

import base64
import hashlib

from _support import (ALT, another, bucket_arn, client, content, covers, denied, headers_of, objects_of, policy, raw,
                      refused, run, soon, status_of, until, versioned)

DAY = 24 * 60 * 60
# How long what nobody can delete earlier is kept: long enough to be tried, short enough to be waited for.
SHORT = 10


def locked(s3, bucket, suffix="lock"):
    return another(s3, bucket, suffix, ObjectLockEnabledForBucket=True)


def put(s3, bucket, key="k", **named):
    return s3.put_object(Bucket=bucket, Key=key, Body=b"x", **named)["VersionId"]


def delete(s3, bucket, version, key="k", **named):
    return s3.delete_object(Bucket=bucket, Key=key, VersionId=version, **named)


def retain(s3, bucket, mode, until_date, key="k", **named):
    retention = {"Mode": mode, "RetainUntilDate": until_date} if mode else {}
    return s3.put_object_retention(Bucket=bucket, Key=key, Retention=retention, **named)


def retention(s3, bucket, key="k", **named):
    found = s3.get_object_retention(Bucket=bucket, Key=key, **named)["Retention"]
    return found["Mode"], found["RetainUntilDate"]


def hold(s3, bucket, status, key="k", **named):
    return s3.put_object_legal_hold(Bucket=bucket, Key=key, LegalHold={"Status": status}, **named)


def configure(s3, bucket, mode="GOVERNANCE", enabled="Enabled", **period):
    rule = {"Rule": {"DefaultRetention": {"Mode": mode, **period}}} if period else {}
    return s3.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": enabled, **rule})


@covers("CreateBucket", "GetObjectLockConfiguration", "GetBucketVersioning", "PutBucketVersioning")
def test_a_bucket_made_with_lock_is_versioned_for_good(s3, bucket):
    name = locked(s3, bucket)
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    found = s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]
    assert found["ObjectLockEnabled"] == "Enabled" and "Rule" not in found
    refused("InvalidBucketState", 409, versioned, s3, name, "Suspended")
    versioned(s3, name)
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"


@covers("GetObjectLockConfiguration", "PutObjectLockConfiguration")
def test_lock_is_enabled_later_only_where_versions_are_kept(s3, bucket):
    refused("ObjectLockConfigurationNotFoundError", 404, s3.get_object_lock_configuration, Bucket=bucket)
    refused("InvalidBucketState", 409, configure, s3, bucket, Days=1)
    versioned(s3, bucket)
    configure(s3, bucket, Days=1)
    found = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    assert found == {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    refused("InvalidBucketState", 409, versioned, s3, bucket, "Suspended")
    refused("NoSuchBucket", 404, configure, s3, bucket + "-absent", Days=1)
    refused("NoSuchBucket", 404, s3.get_object_lock_configuration, Bucket=bucket + "-absent")


@covers("PutObjectLockConfiguration", "GetObjectLockConfiguration")
def test_default_retention_is_kept_changed_and_taken_away(s3, bucket):
    name = locked(s3, bucket)
    for mode, period in [("GOVERNANCE", {"Days": 7}), ("COMPLIANCE", {"Years": 2}), ("GOVERNANCE", {"Years": 100})]:
        configure(s3, name, mode, **period)
        found = s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]
        assert found["Rule"] == {"DefaultRetention": {"Mode": mode, **period}}
    configure(s3, name)
    assert "Rule" not in s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]


@covers("PutObjectLockConfiguration")
def test_default_retention_that_makes_no_sense(s3, bucket):
    name = locked(s3, bucket)
    period = ("InvalidRetentionPeriod", "InvalidArgument")
    for days in [0, -1]:
        refused(period, 400, configure, s3, name, Days=days)
        refused(period, 400, configure, s3, name, Years=days)
    refused((*period, "MalformedXML"), 400, configure, s3, name, Days=36_501)
    refused((*period, "MalformedXML"), 400, configure, s3, name, Years=101)
    refused("MalformedXML", 400, configure, s3, name, Days=1, Years=1)
    for mode in ["abc", "governance", ""]:
        refused("MalformedXML", 400, configure, s3, name, mode, Days=1)
    refused("MalformedXML", 400, configure, s3, name, enabled="Disabled", Days=1)
    put_rule = lambda rule: s3.put_object_lock_configuration(
        Bucket=name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule})
    refused("MalformedXML", 400, put_rule, {"DefaultRetention": {"Days": 1}})
    refused("MalformedXML", 400, put_rule, {"DefaultRetention": {"Mode": "GOVERNANCE"}})
    status, _, body = raw("PUT", f"/{name}", query="object-lock=")
    assert status == 400 and b"<Code>MissingRequestBodyError</Code>" in body, body
    assert "Rule" not in s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]


@covers("PutObject", "GetObjectRetention", "HeadObject", "GetObject")
def test_the_default_applies_to_what_is_written_after_it(s3, bucket):
    name = locked(s3, bucket)
    before = put(s3, name, "before")
    configure(s3, name, Days=3)
    wanted = soon(3 * DAY)
    version = put(s3, name)
    mode, date = retention(s3, name)
    assert mode == "GOVERNANCE" and abs((date - wanted).total_seconds()) < 60
    for found in [s3.head_object(Bucket=name, Key="k"), s3.get_object(Bucket=name, Key="k")]:
        assert (found["ObjectLockMode"], found["ObjectLockRetainUntilDate"]) == (mode, date)
    refused("NoSuchObjectLockConfiguration", 404, s3.get_object_retention, Bucket=name, Key="before")
    delete(s3, name, before, "before")
    denied(delete, s3, name, version)
    configure(s3, name, Days=1)
    assert retention(s3, name) == (mode, date)
    explicit = soon(DAY // 2)
    put(s3, name, "own", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=explicit)
    assert retention(s3, name, "own") == ("GOVERNANCE", explicit)
    configure(s3, name)
    put(s3, name, "free")
    refused("NoSuchObjectLockConfiguration", 404, s3.get_object_retention, Bucket=name, Key="free")


@covers("CopyObject", "CreateMultipartUpload", "CompleteMultipartUpload")
def test_the_default_applies_to_copies_and_uploads_in_parts(s3, bucket):
    name = locked(s3, bucket)
    put(s3, name, "from")
    configure(s3, name, Days=2)
    s3.copy_object(Bucket=name, Key="copy", CopySource=f"{name}/from")
    finish(s3, name, "parts")
    for key in ["copy", "parts"]:
        mode, date = retention(s3, name, key)
        assert mode == "GOVERNANCE" and abs((date - soon(2 * DAY)).total_seconds()) < 60, key


def finish(s3, bucket, key, **named):
    upload = dict(Bucket=bucket, Key=key, UploadId=s3.create_multipart_upload(Bucket=bucket, Key=key, **named)["UploadId"])
    parts = [{"PartNumber": 1, "ETag": s3.upload_part(PartNumber=1, Body=content(1000), **upload)["ETag"]}]
    return s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)["VersionId"]


@covers("PutObject", "CopyObject", "CreateMultipartUpload", "GetObjectRetention", "GetObjectLegalHold")
def test_retention_and_hold_are_given_with_every_kind_of_write(s3, bucket):
    name, date = locked(s3, bucket), soon(DAY)
    lock = dict(ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=date, ObjectLockLegalHoldStatus="ON")
    put(s3, name, "put", **lock)
    s3.copy_object(Bucket=name, Key="copy", CopySource=f"{name}/put", **lock)
    finish(s3, name, "parts", **lock)
    for key in ["put", "copy", "parts"]:
        head = s3.head_object(Bucket=name, Key=key)
        assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"], head["ObjectLockLegalHoldStatus"]) == (
            "GOVERNANCE", date, "ON"), key
        assert retention(s3, name, key) == ("GOVERNANCE", date)
        assert s3.get_object_legal_hold(Bucket=name, Key=key)["LegalHold"]["Status"] == "ON"
        denied(delete, s3, name, head["VersionId"], key, BypassGovernanceRetention=True)
    s3.copy_object(Bucket=name, Key="bare", CopySource=f"{name}/put")
    bare = s3.head_object(Bucket=name, Key="bare")
    assert "ObjectLockMode" not in bare and "ObjectLockLegalHoldStatus" not in bare


@covers("DeleteObject", "PutObjectRetention")
def test_governance_holds_until_it_is_bypassed(s3, bucket):
    name = locked(s3, bucket)
    version = put(s3, name)
    retain(s3, name, "GOVERNANCE", soon(DAY))
    denied(delete, s3, name, version)
    assert s3.head_object(Bucket=name, Key="k")["VersionId"] == version
    answer = delete(s3, name, version, BypassGovernanceRetention=True)
    assert status_of(answer) == 204 and answer["VersionId"] == version
    refused("NoSuchKey", 404, s3.head_object, Bucket=name, Key="k")


@covers("PutObject", "DeleteObject")
def test_locked_versions_may_be_hidden_but_stay(s3, bucket):
    name = locked(s3, bucket)
    version = put(s3, name, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon(DAY))
    newer = s3.put_object(Bucket=name, Key="k", Body=b"newer")["VersionId"]
    assert s3.get_object(Bucket=name, Key="k")["Body"].read() == b"newer"
    marker = s3.delete_object(Bucket=name, Key="k")
    assert marker["DeleteMarker"] is True
    delete(s3, name, newer)
    delete(s3, name, marker["VersionId"])
    assert s3.get_object(Bucket=name, Key="k")["VersionId"] == version
    refused("NoSuchObjectLockConfiguration", 404, s3.get_object_retention, Bucket=name, Key="k",
            VersionId=put(s3, name))
    denied(delete, s3, name, version)


@covers("PutObjectRetention", "GetObjectRetention")
def test_governance_is_extended_by_anyone_and_shortened_by_bypass(s3, bucket):
    name = locked(s3, bucket)
    put(s3, name)
    retain(s3, name, "GOVERNANCE", soon(2 * DAY))
    later, sooner = soon(3 * DAY), soon(DAY)
    retain(s3, name, "GOVERNANCE", later)
    denied(retain, s3, name, "GOVERNANCE", sooner)
    assert retention(s3, name) == ("GOVERNANCE", later)
    retain(s3, name, "GOVERNANCE", sooner, BypassGovernanceRetention=True)
    assert retention(s3, name) == ("GOVERNANCE", sooner)
    denied(retain, s3, name, None, None)
    retain(s3, name, None, None, BypassGovernanceRetention=True)
    refused("NoSuchObjectLockConfiguration", 404, s3.get_object_retention, Bucket=name, Key="k")


@covers("PutObjectRetention")
def test_modes_change_towards_compliance_only(s3, bucket):
    name = locked(s3, bucket)
    put(s3, name)
    retain(s3, name, "GOVERNANCE", soon(SHORT))
    denied(retain, s3, name, "COMPLIANCE", soon(SHORT))
    retain(s3, name, "COMPLIANCE", soon(SHORT), BypassGovernanceRetention=True)
    denied(retain, s3, name, "GOVERNANCE", soon(SHORT + 1))
    denied(retain, s3, name, "GOVERNANCE", soon(SHORT + 1), BypassGovernanceRetention=True)
    assert retention(s3, name)[0] == "COMPLIANCE"


@covers("PutObjectRetention", "DeleteObject", "DeleteObjects")
def test_compliance_cannot_be_bypassed_and_ends(s3, bucket):
    name = locked(s3, bucket)
    version = put(s3, name)
    retain(s3, name, "COMPLIANCE", soon(SHORT))
    bypass = dict(BypassGovernanceRetention=True)
    denied(delete, s3, name, version, **bypass)
    denied(retain, s3, name, "COMPLIANCE", soon(SHORT - 3), **bypass)
    denied(retain, s3, name, None, None, **bypass)
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "k", "VersionId": version}]}, **bypass)
    assert [one["Code"] for one in answer["Errors"]] == ["AccessDenied"] and "Deleted" not in answer
    retain(s3, name, "COMPLIANCE", soon(SHORT + 1))

    def ended():
        try:
            return delete(s3, name, version)
        except s3.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied", error
    until(ended, "the end of a retention", SHORT + 20)


@covers("PutObjectRetention")
def test_a_retention_that_is_over_may_be_replaced(s3, bucket):
    name = locked(s3, bucket)
    put(s3, name)
    retain(s3, name, "COMPLIANCE", soon(2))

    def replaced():
        try:
            return retain(s3, name, "GOVERNANCE", soon(SHORT))
        except s3.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied", error
    until(replaced, "the end of a retention", 20)
    assert retention(s3, name)[0] == "GOVERNANCE"


@covers("PutObjectLegalHold", "GetObjectLegalHold", "DeleteObject")
def test_a_legal_hold_stays_until_it_is_lifted(s3, bucket):
    name = locked(s3, bucket)
    version = put(s3, name)
    refused("NoSuchObjectLockConfiguration", 404, s3.get_object_legal_hold, Bucket=name, Key="k")
    hold(s3, name, "ON")
    assert s3.get_object_legal_hold(Bucket=name, Key="k")["LegalHold"]["Status"] == "ON"
    assert s3.head_object(Bucket=name, Key="k")["ObjectLockLegalHoldStatus"] == "ON"
    denied(delete, s3, name, version)
    denied(delete, s3, name, version, BypassGovernanceRetention=True)
    hold(s3, name, "OFF")
    assert s3.get_object_legal_hold(Bucket=name, Key="k")["LegalHold"]["Status"] == "OFF"
    delete(s3, name, version)
    refused("NoSuchKey", 404, s3.get_object_legal_hold, Bucket=name, Key="k")


@covers("PutObjectLegalHold", "PutObjectRetention")
def test_hold_and_retention_are_independent(s3, bucket):
    name = locked(s3, bucket)
    version = put(s3, name, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon(DAY),
                  ObjectLockLegalHoldStatus="ON")
    hold(s3, name, "OFF")
    denied(delete, s3, name, version)
    hold(s3, name, "ON")
    retain(s3, name, None, None, BypassGovernanceRetention=True)
    denied(delete, s3, name, version)
    hold(s3, name, "OFF")
    delete(s3, name, version)


@covers("PutObjectRetention", "PutObjectLegalHold", "GetObjectRetention", "GetObjectLegalHold")
def test_each_version_has_its_own_lock(s3, bucket):
    name = locked(s3, bucket)
    old, new = put(s3, name), put(s3, name)
    retain(s3, name, "GOVERNANCE", soon(DAY), VersionId=old)
    hold(s3, name, "ON", VersionId=old)
    assert retention(s3, name, VersionId=old)[0] == "GOVERNANCE"
    assert s3.get_object_legal_hold(Bucket=name, Key="k", VersionId=old)["LegalHold"]["Status"] == "ON"
    refused("NoSuchObjectLockConfiguration", 404, s3.get_object_retention, Bucket=name, Key="k")
    denied(delete, s3, name, old)
    delete(s3, name, new)
    refused("NoSuchVersion", 404, s3.get_object_retention, Bucket=name, Key="k", VersionId=new)
    refused("NoSuchVersion", 404, retain, s3, name, "GOVERNANCE", soon(DAY), VersionId=new)
    refused("InvalidArgument", 400, hold, s3, name, "ON", VersionId="nonsense")


@covers("PutObjectRetention", "PutObjectLegalHold", "GetObjectRetention", "GetObjectLegalHold")
def test_without_lock_on_the_bucket_nothing_is_locked(s3, bucket):
    versioned(s3, bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    refused("InvalidRequest", 400, retain, s3, bucket, "GOVERNANCE", soon(DAY))
    refused("InvalidRequest", 400, s3.get_object_retention, Bucket=bucket, Key="k")
    refused("InvalidRequest", 400, hold, s3, bucket, "ON")
    refused("InvalidRequest", 400, s3.get_object_legal_hold, Bucket=bucket, Key="k")
    refused("InvalidArgument", 400, put, s3, bucket, ObjectLockMode="GOVERNANCE")
    refused("InvalidArgument", 400, put, s3, bucket, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon(-DAY))
    refused("InvalidRequest", 400, put, s3, bucket, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon(DAY))
    refused("InvalidRequest", 400, put, s3, bucket, ObjectLockLegalHoldStatus="ON")
    refused("InvalidRequest", 400, s3.create_multipart_upload, Bucket=bucket, Key="k", ObjectLockLegalHoldStatus="ON")
    refused("InvalidRequest", 400, s3.copy_object, Bucket=bucket, Key="to", CopySource=f"{bucket}/k",
            ObjectLockLegalHoldStatus="ON")


@covers("PutObjectRetention", "PutObjectLegalHold")
def test_locks_that_make_no_sense(s3, bucket):
    name = locked(s3, bucket)
    put(s3, name)
    refused(("InvalidArgument", "InvalidRequest"), 400, retain, s3, name, "GOVERNANCE", soon(-DAY))
    for mode in ["governance", "abc"]:
        refused("MalformedXML", 400, retain, s3, name, mode, soon(DAY))
    for partial in [{"Mode": "GOVERNANCE"}, {"RetainUntilDate": soon(DAY)}]:
        refused("MalformedXML", 400, s3.put_object_retention, Bucket=name, Key="k", Retention=partial)
    for status in ["on", "abc", ""]:
        refused("MalformedXML", 400, hold, s3, name, status)
    refused("NoSuchKey", 404, retain, s3, name, "GOVERNANCE", soon(DAY), "absent")
    refused("NoSuchKey", 404, s3.get_object_retention, Bucket=name, Key="absent")
    refused("NoSuchKey", 404, hold, s3, name, "ON", "absent")
    refused("NoSuchBucket", 404, retain, s3, name + "-absent", "GOVERNANCE", soon(DAY))
    both = dict(ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon(DAY))
    for field in both:
        refused(("InvalidArgument", "InvalidRequest"), 400, put, s3, name, **{field: both[field]})
    refused("InvalidArgument", 400, put, s3, name, **dict(both, ObjectLockMode="abc"))
    refused("InvalidArgument", 400, put, s3, name, **dict(both, ObjectLockRetainUntilDate=soon(-DAY)))
    refused("InvalidArgument", 400, put, s3, name, ObjectLockLegalHoldStatus="abc")
    assert len(s3.list_object_versions(Bucket=name)["Versions"]) == 1
    refused("NoSuchObjectLockConfiguration", 404, s3.get_object_retention, Bucket=name, Key="k")


@covers("PutObjectRetention")
def test_markers_cannot_be_locked(s3, bucket):
    name = locked(s3, bucket)
    put(s3, name)
    marker = s3.delete_object(Bucket=name, Key="k")["VersionId"]
    refused("MethodNotAllowed", 405, retain, s3, name, "GOVERNANCE", soon(DAY), VersionId=marker)
    refused("MethodNotAllowed", 405, hold, s3, name, "ON", VersionId=marker)


@covers("DeleteObjects")
def test_deletes_of_many_tell_which_are_locked(s3, bucket):
    name = locked(s3, bucket)
    free, held = put(s3, name, "free"), put(s3, name, "held", ObjectLockLegalHoldStatus="ON")
    kept = put(s3, name, "kept", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon(DAY))
    objects = [{"Key": key, "VersionId": version} for key, version in [("free", free), ("held", held), ("kept", kept)]]
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": objects})
    assert [one["Key"] for one in answer["Deleted"]] == ["free"]
    assert sorted((one["Key"], one["VersionId"], one["Code"]) for one in answer["Errors"]) == [
        ("held", held, "AccessDenied"), ("kept", kept, "AccessDenied")]
    wrong = {"Key": "none", "VersionId": "nonsense"}
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": [objects[1], wrong, objects[2]]})
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [
        ("held", "AccessDenied"), ("none", "InvalidArgument"), ("kept", "AccessDenied")]
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": objects[1:]}, BypassGovernanceRetention=True)
    assert [one["Key"] for one in answer["Deleted"]] == ["kept"]
    assert [one["Key"] for one in answer["Errors"]] == ["held"]
    refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=name)


@covers("DeleteObject", "PutObjectRetention")
def test_others_need_the_permission_to_bypass(s3, bucket):
    name, other = locked(s3, bucket), client(ALT)
    version = put(s3, name, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon(DAY))
    allow = lambda *actions: s3.put_bucket_policy(Bucket=name, Policy=policy(
        {"Principal": {"AWS": ALT.arn}, "Action": list(actions), "Resource": [objects_of(name)]}))
    bypass = dict(BypassGovernanceRetention=True)
    allow("s3:DeleteObjectVersion", "s3:PutObjectRetention")
    denied(delete, other, name, version, **bypass)
    denied(retain, other, name, "GOVERNANCE", soon(DAY // 2), **bypass)
    retain(other, name, "GOVERNANCE", soon(2 * DAY))
    allow("s3:DeleteObjectVersion", "s3:PutObjectRetention", "s3:BypassGovernanceRetention")
    denied(delete, other, name, version)
    retain(other, name, "GOVERNANCE", soon(DAY // 2), **bypass)
    delete(other, name, version, **bypass)
    assert bucket_arn(name) in s3.get_bucket_policy(Bucket=name)["Policy"]


@covers("PutObject")
def test_a_digest_of_what_is_locked_is_verified(s3, bucket):
    name = locked(s3, bucket)
    right = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    wrong = base64.b64encode(hashlib.md5(b"y").digest()).decode()
    put(s3, name, ContentMD5=right, ObjectLockLegalHoldStatus="ON")
    refused("BadDigest", 400, put, s3, name, "other", ContentMD5=wrong, ObjectLockLegalHoldStatus="ON")
    refused("NoSuchKey", 404, s3.head_object, Bucket=name, Key="other")


@covers("CreateBucket")
def test_lock_is_asked_for_with_true_or_not_at_all(s3, bucket):
    status, _, body = raw("PUT", f"/{bucket}-x", headers={"x-amz-bucket-object-lock-enabled": "perhaps"})
    assert status == 400 and b"<Code>InvalidArgument</Code>" in body, (status, body)
    name = another(s3, bucket, "without", ObjectLockEnabledForBucket=False)
    refused("ObjectLockConfigurationNotFoundError", 404, s3.get_object_lock_configuration, Bucket=name)


@covers("HeadObject")
def test_times_of_retention_are_told_as_they_were_given(s3, bucket):
    name, date = locked(s3, bucket), soon(DAY)
    put(s3, name, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=date)
    told = headers_of(s3.head_object(Bucket=name, Key="k"))["x-amz-object-lock-retain-until-date"]
    assert told.startswith(date.strftime("%Y-%m-%dT%H:%M:%S")) and told.endswith("Z"), told


@covers("PutObject", "PutObjectRetention", "PutObjectLegalHold", "PutObjectLockConfiguration")
def test_a_lock_of_an_unknown_kind_is_not_taken_for_none(s3, bucket):
    name = locked(s3, bucket)
    version = put(s3, name, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon(DAY))
    refusals = [
        ("k?retention", b"<Retention><EventHold>ON</EventHold></Retention>"),
        ("k?legal-hold", b"<LegalHold><Status>OFF</Status><Kind/></LegalHold>"),
        ("?object-lock", b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rul/>"
                         b"</ObjectLockConfiguration>"),
    ]
    for path, body in refusals:
        status, _, answer = raw("PUT", f"/{name}/{path}", body, headers={
            "x-amz-bypass-governance-retention": "true", "content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()})
        assert status == 400 and b"<Code>MalformedXML</Code>" in answer, (path, status, answer)
    denied(delete, s3, name, version)
    status, _, answer = raw("PUT", f"/{name}/other", b"x", headers={"x-amz-object-lock-event-hold": "ON"})
    assert status == 501 and b"<Code>NotImplemented</Code>" in answer, (status, answer)


run(globals())
