"""Bucket policies: who may do what, and what the public may."""

import json

from _policies import impose, public_bucket, put, read, to, to_all
from _support import (ALT, TENANT, account_id, anonymous, another, bucket_arn, client, covers, denied, fetch, objects_of,
                      policy, raw, refused, run, signed, slowly, soon, status_of, told, versioned)


@covers("PutBucketPolicy", "GetBucketPolicy", "DeleteBucketPolicy")
def test_a_policy_comes_back_is_replaced_and_goes(s3, bucket):
    refused("NoSuchBucketPolicy", 404, s3.get_bucket_policy, Bucket=bucket)
    for action in ["s3:GetObject", "s3:PutObject"]:
        text = policy(to(ALT, action, resource=objects_of(bucket), Sid="One"))
        assert status_of(s3.put_bucket_policy(Bucket=bucket, Policy=text)) in (200, 204)
        found = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        assert found["Version"] == "2012-10-17" and found["Statement"][0]["Sid"] == "One"
        assert action in str(found["Statement"][0]["Action"]) and len(found["Statement"]) == 1
    for _ in range(2):
        assert status_of(s3.delete_bucket_policy(Bucket=bucket)) == 204
        refused("NoSuchBucketPolicy", 404, s3.get_bucket_policy, Bucket=bucket)
    refused("NoSuchBucket", 404, s3.get_bucket_policy, Bucket=bucket + "-absent")
    refused("NoSuchBucket", 404, impose, s3, bucket + "-absent", to(ALT, "s3:GetObject", resource=objects_of(bucket)))
    refused("NoSuchBucket", 404, s3.delete_bucket_policy, Bucket=bucket + "-absent")


@covers("PutBucketPolicy")
def test_policies_that_are_malformed(s3, bucket):
    good = to(ALT, "s3:GetObject", resource=objects_of(bucket))
    without = lambda field: {name: value for name, value in good.items() if name != field}
    wrong = [
        {**good, "Effect": "Perhaps"}, {**good, "Effect": "allow"},
        without("Principal"), without("Action"), without("Resource"),
        {**good, "Principal": "somebody"}, {**good, "Principal": {"AWS": "nonsense"}}, {**good, "Principal": {"Robot": "*"}},
        {**good, "Principal": {"AWS": []}}, {**good, "Principal": ""},
        {**good, "Action": "s3:Fly"}, {**good, "Action": "nonsense"}, {**good, "Action": []},
        {**good, "Action": "iam:GetUser"},
        {**good, "Resource": "arn:aws:s3:::another-bucket/*"}, {**good, "Resource": "nonsense"}, {**good, "Resource": []},
        {**good, "Resource": "arn:aws:iam:::" + bucket},
        {**good, "Resource": bucket_arn(bucket)}, {**good, "Action": "s3:ListBucket"},
        {**good, "Condition": {"StringSounds": {"s3:prefix": "a"}}}, {**good, "Condition": "always"},
        {**good, "Condition": {"StringEquals": {"s3:nonsense": "a"}}},
        {**good, "Condition": {"IpAddress": {"aws:SourceIp": "nonsense"}}},
        {**good, "NotPrincipal": {"AWS": ALT.arn}}, {**good, "NotAction": "s3:GetObject"},
        {**good, "Unknown": "field"},
    ]
    for statement in wrong:
        refused("MalformedPolicy", 400, impose, s3, bucket, statement)
    for text in ["nonsense", "{", "[]", "{}", '{"Version": "2012-10-17"}', '{"Version": "2012-10-17", "Statement": []}',
                 json.dumps({"Version": "2020-01-01", "Statement": [{"Effect": "Allow", **good}]})]:
        refused("MalformedPolicy", 400, s3.put_bucket_policy, Bucket=bucket, Policy=text)
    refused("NoSuchBucketPolicy", 404, s3.get_bucket_policy, Bucket=bucket)


@covers("PutBucketPolicy")
def test_a_policy_has_twenty_kibibytes_at_most(s3, bucket):
    keys = lambda count: [f"{bucket_arn(bucket)}/{n:060}" for n in range(count)]
    impose(s3, bucket, to(ALT, "s3:GetObject", resource=keys(100)))
    refused(("MalformedPolicy", "PolicyTooLarge", "EntityTooLarge"), 400, impose, s3, bucket,
            to(ALT, "s3:GetObject", resource=keys(300)))
    assert len(json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]["Resource"]) == 100


@covers("PutBucketPolicy")
def test_forms_that_a_policy_may_take(s3, bucket):
    put(s3, bucket)
    own = account_id()
    for principal in [{"AWS": ALT.arn}, {"AWS": ALT.id}, {"AWS": [ALT.arn, f"arn:aws:iam::{own}:root"]},
                      {"CanonicalUser": ALT.canonical_id}]:
        for actions in ["s3:GetObject", ["s3:PutObjectTagging", "s3:Get*"], "s3:*", "S3:getobject", "s3:G?tObject", "*"]:
            statement = {"Effect": "Allow", "Principal": principal, "Action": actions, "Resource": objects_of(bucket)}
            s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2008-10-17", "Statement": statement}))
            assert read(client(ALT), bucket) == b"x", (principal, actions)
            denied(read, client(TENANT), bucket)
    s3.delete_bucket_policy(Bucket=bucket)
    denied(read, client(ALT), bucket)


@covers("GetObject", "ListObjectsV2")
def test_the_public_may_what_a_policy_says_and_no_more(s3, bucket):
    name, nobody = public_bucket(s3, bucket), anonymous()
    put(s3, name)
    for principal in ["*", {"AWS": "*"}]:
        impose(s3, name, {"Principal": principal, "Action": "s3:GetObject", "Resource": objects_of(name)})
        assert read(nobody, name) == b"x" and fetch("GET", f"/{name}/k")[2] == b"x"
        denied(nobody.list_objects_v2, Bucket=name)
        denied(put, nobody, name)
        denied(nobody.get_object_tagging, Bucket=name, Key="k")
    impose(s3, name, to_all("s3:ListBucket", resource=bucket_arn(name)))
    assert nobody.list_objects_v2(Bucket=name)["KeyCount"] == 1 and status_of(nobody.head_bucket(Bucket=name)) == 200
    denied(read, nobody, name)
    impose(s3, name, to_all("s3:PutObject", "s3:DeleteObject", resource=objects_of(name)))
    put(nobody, name, "new")
    nobody.delete_object(Bucket=name, Key="k")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=name)["Contents"]] == ["new"]


@covers("GetObject", "HeadObject")
def test_whether_a_key_exists_is_told_to_those_who_may_list(s3, bucket):
    name, other = public_bucket(s3, bucket), client(ALT)
    impose(s3, name, to(ALT, "s3:GetObject", resource=objects_of(name)))
    denied(read, other, name, "absent")
    denied(other.head_object, Bucket=name, Key="absent")
    impose(s3, name, to(ALT, "s3:GetObject", resource=objects_of(name)), to(ALT, "s3:ListBucket", resource=bucket_arn(name)))
    refused("NoSuchKey", 404, read, other, name, "absent")
    refused("NoSuchKey", 404, other.head_object, Bucket=name, Key="absent")
    under = {"StringLike": {"s3:prefix": "open/*"}}
    impose(s3, name, to(ALT, "s3:GetObject", resource=objects_of(name)),
           to(ALT, "s3:ListBucket", resource=bucket_arn(name), Condition=under))
    refused("NoSuchKey", 404, read, other, name, "open/absent")
    denied(read, other, name, "absent")
    status, _, _ = raw("GET", f"/{name}/absent", query="prefix=open%2Fabsent", keys=ALT)
    assert status == 403, status


@covers("GetObject", "PutObject", "DeleteObject", "ListObjects")
def test_other_accounts_need_a_policy(s3, bucket):
    other = client(ALT)
    put(s3, bucket)
    for call, named in [(other.get_object, {"Key": "k"}), (other.put_object, {"Key": "k"}), (other.list_objects, {}),
                        (other.delete_object, {"Key": "k"}), (other.get_bucket_location, {}), (other.head_bucket, {})]:
        denied(call, Bucket=bucket, **named)
    impose(s3, bucket, to(ALT, "s3:*", resource=[bucket_arn(bucket), objects_of(bucket)]))
    assert read(other, bucket) == b"x" and len(other.list_objects(Bucket=bucket)["Contents"]) == 1
    put(other, bucket, "theirs")
    other.delete_object(Bucket=bucket, Key="theirs")
    assert status_of(other.get_bucket_location(Bucket=bucket)) == 200
    denied(client(TENANT).list_objects, Bucket=bucket)


@covers("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy")
def test_policies_are_the_bucket_owners_business(s3, bucket):
    other = client(ALT)
    text = policy(to(ALT, "s3:*", resource=[bucket_arn(bucket), objects_of(bucket)]))
    calls = [(other.get_bucket_policy, {}), (other.put_bucket_policy, {"Policy": text}), (other.delete_bucket_policy, {})]
    for call, named in calls:
        denied(call, Bucket=bucket, **named)
    s3.put_bucket_policy(Bucket=bucket, Policy=text)
    for call, named in calls:
        refused("MethodNotAllowed", 405, call, Bucket=bucket, **named)
    assert "s3:*" in s3.get_bucket_policy(Bucket=bucket)["Policy"]


@covers("PutBucketPolicy")
def test_a_denial_wins_and_the_owner_can_always_lift_it(s3, bucket):
    other, everything = client(ALT), [bucket_arn(bucket), objects_of(bucket)]
    put(s3, bucket), put(s3, bucket, "secret/k")
    impose(s3, bucket, to(ALT, "s3:GetObject", resource=objects_of(bucket)),
           to(ALT, "s3:*", resource=f"{bucket_arn(bucket)}/secret/*", Effect="Deny"))
    assert read(other, bucket) == b"x"
    denied(read, other, bucket, "secret/k")
    assert read(s3, bucket, "secret/k") == b"x"
    impose(s3, bucket, to_all("s3:*", resource=everything, Effect="Deny"))
    denied(read, s3, bucket)
    denied(s3.list_objects_v2, Bucket=bucket)
    denied(s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": []})
    assert "Deny" in s3.get_bucket_policy(Bucket=bucket)["Policy"]
    impose(s3, bucket, to_all("s3:PutObject", resource=objects_of(bucket), Effect="Deny"))
    denied(put, s3, bucket)
    assert read(s3, bucket) == b"x"
    s3.delete_bucket_policy(Bucket=bucket)
    put(s3, bucket)


@covers("PutBucketPolicy")
def test_all_but_some_principals_actions_and_resources(s3, bucket):
    other, third = client(ALT), client(TENANT)
    put(s3, bucket), put(s3, bucket, "open/k")
    everybody = {"AWS": [ALT.arn, TENANT.arn]}
    allow = {"Principal": everybody, "Action": ["s3:GetObject", "s3:PutObject"], "Resource": objects_of(bucket)}
    own = f"arn:aws:iam::{account_id()}:root"
    impose(s3, bucket, allow, {"Effect": "Deny", "NotPrincipal": {"AWS": [ALT.arn, own]}, "Action": "s3:GetObject",
                               "Resource": objects_of(bucket)})
    assert read(other, bucket) == b"x" == read(s3, bucket)
    denied(read, third, bucket)
    put(third, bucket)
    impose(s3, bucket, allow, {"Effect": "Deny", "Principal": everybody, "NotAction": "s3:GetObject",
                               "Resource": objects_of(bucket)})
    assert read(other, bucket) == b"x" == read(third, bucket)
    denied(put, other, bucket)
    impose(s3, bucket, allow, {"Effect": "Deny", "Principal": everybody, "Action": "s3:GetObject",
                               "NotResource": f"{bucket_arn(bucket)}/open/*"})
    assert read(other, bucket, "open/k") == b"x"
    denied(read, other, bucket)


@covers("PutBucketPolicy")
def test_resources_match_by_wildcards(s3, bucket):
    other = client(ALT)
    for key in ["a/1", "a/b/1", "a1", "b", "A/1"]:
        put(s3, bucket, key)
    for pattern, matched in [("a/*", {"a/1", "a/b/1"}), ("a?", {"a1"}), ("a?1", {"a/1"}), ("*/1", {"a/1", "a/b/1", "A/1"}),
                             ("b", {"b"}), ("*", {"a/1", "a/b/1", "a1", "b", "A/1"}), ("a*1", {"a/1", "a/b/1", "a1"})]:
        impose(s3, bucket, to(ALT, "s3:GetObject", resource=f"{bucket_arn(bucket)}/{pattern}"))
        for key in ["a/1", "a/b/1", "a1", "b", "A/1"]:
            if key in matched:
                assert read(other, bucket, key) == b"x", (pattern, key)
            else:
                denied(read, other, bucket, key)


@covers("PutBucketPolicy")
def test_variables_stand_for_who_asks(s3, bucket):
    for account in [ALT, TENANT]:
        put(s3, bucket, f"{account.id}/k")
    everybody = {"Principal": {"AWS": [ALT.arn, TENANT.arn]}, "Action": "s3:GetObject",
                 "Resource": bucket_arn(bucket) + "/${aws:PrincipalAccount}/*"}
    impose(s3, bucket, everybody)
    assert read(client(ALT), bucket, f"{ALT.id}/k") == b"x" == read(client(TENANT), bucket, f"{TENANT.id}/k")
    denied(read, client(ALT), bucket, f"{TENANT.id}/k")
    old = json.dumps({"Version": "2008-10-17", "Statement": [{"Effect": "Allow", **everybody}]})
    s3.put_bucket_policy(Bucket=bucket, Policy=old)
    denied(read, client(ALT), bucket, f"{ALT.id}/k")


@covers("CopyObject", "UploadPartCopy")
def test_a_copy_needs_both_to_read_and_to_write(s3, bucket):
    other, source = client(ALT), another(s3, bucket, "source")
    put(s3, source, Tagging="a=1")
    copy = lambda **named: other.copy_object(Bucket=bucket, Key="to", CopySource=f"{source}/k", **named)
    write = to(ALT, "s3:PutObject", "s3:PutObjectTagging", resource=objects_of(bucket))
    impose(s3, bucket, write)
    denied(copy)
    impose(s3, source, to(ALT, "s3:GetObject", "s3:GetObjectTagging", resource=objects_of(source)))
    copy()
    upload = dict(Bucket=bucket, Key="p", UploadId=other.create_multipart_upload(Bucket=bucket, Key="p")["UploadId"])
    other.upload_part_copy(PartNumber=1, CopySource=f"{source}/k", **upload)
    s3.delete_bucket_policy(Bucket=source)
    denied(other.upload_part_copy, PartNumber=1, CopySource=f"{source}/k", **upload)
    s3.delete_bucket_policy(Bucket=bucket)
    impose(s3, source, to(ALT, "s3:GetObject", "s3:GetObjectTagging", resource=objects_of(source)))
    denied(copy)


@covers("CopyObject", "GetObject", "DeleteObject", "HeadObject")
def test_versions_have_permissions_of_their_own(s3, bucket):
    other = client(ALT)
    versioned(s3, bucket)
    old, new = put(s3, bucket)["VersionId"], put(s3, bucket)["VersionId"]
    impose(s3, bucket, to(ALT, "s3:GetObject", "s3:DeleteObject", resource=objects_of(bucket)))
    assert read(other, bucket) == b"x"
    denied(read, other, bucket, VersionId=old)
    denied(other.head_object, Bucket=bucket, Key="k", VersionId=old)
    denied(other.delete_object, Bucket=bucket, Key="k", VersionId=new)
    impose(s3, bucket, to(ALT, "s3:GetObjectVersion", resource=objects_of(bucket),
                          Condition={"StringEquals": {"s3:VersionId": old}}))
    assert read(other, bucket, VersionId=old) == b"x"
    denied(read, other, bucket, VersionId=new)
    denied(read, other, bucket)
    impose(s3, bucket, to(ALT, "s3:GetObjectVersion", resource=objects_of(bucket),
                          Condition={"StringEquals": {"s3:VersionId": old}}),
           to(ALT, "s3:PutObject", resource=objects_of(bucket)))

    def copy(version):
        return other.copy_object(Bucket=bucket, Key="copied", CopySource={"Bucket": bucket, "Key": "k", "VersionId": version})

    copy(old)
    denied(copy, new)
    impose(s3, bucket, to(ALT, "s3:DeleteObjectVersion", resource=objects_of(bucket)))
    other.delete_object(Bucket=bucket, Key="k", VersionId=old)
    denied(other.delete_object, Bucket=bucket, Key="k")


@covers("DeleteObjects")
def test_of_many_deletes_each_is_judged_by_itself(s3, bucket):
    other = client(ALT)
    for key in ["a/1", "b/1"]:
        put(s3, bucket, key)
    impose(s3, bucket, to(ALT, "s3:DeleteObject", resource=f"{bucket_arn(bucket)}/a/*"))
    answer = other.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a/1"}, {"Key": "b/1"}, {"Key": "a/absent"}]})
    assert sorted(one["Key"] for one in answer["Deleted"]) == ["a/1", "a/absent"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("b/1", "AccessDenied")]
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["b/1"]


@covers("CreateMultipartUpload", "UploadPart", "ListParts", "AbortMultipartUpload", "ListMultipartUploads")
def test_uploads_in_parts_by_other_accounts(s3, bucket):
    other = client(ALT)
    begin = lambda: other.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    denied(begin)
    impose(s3, bucket, to(ALT, "s3:PutObject", resource=objects_of(bucket)))
    upload = dict(Bucket=bucket, Key="k", UploadId=begin())
    parts = [{"PartNumber": 1, "ETag": other.upload_part(PartNumber=1, Body=b"x", **upload)["ETag"]}]
    denied(other.list_multipart_uploads, Bucket=bucket)
    denied(client(TENANT).list_parts, **upload)
    denied(client(TENANT).abort_multipart_upload, **upload)
    other.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
    impose(s3, bucket, to(ALT, "s3:PutObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload",
                          resource=objects_of(bucket)),
           to(ALT, "s3:ListBucketMultipartUploads", resource=bucket_arn(bucket)))
    upload = dict(Bucket=bucket, Key="k", UploadId=begin())
    assert "Parts" not in other.list_parts(**upload)
    found = other.list_multipart_uploads(Bucket=bucket)["Uploads"][0]
    assert found["UploadId"] == upload["UploadId"] and ALT.canonical_id in (found["Initiator"]["ID"], found["Owner"]["ID"])
    other.abort_multipart_upload(**upload)


@covers("PutBucketPolicy")
def test_each_action_of_a_bucket_is_allowed_by_its_own_name(s3, bucket):
    other = client(ALT)
    may = {
        "s3:ListBucket": lambda: other.list_objects_v2(Bucket=bucket),
        "s3:ListBucketVersions": lambda: other.list_object_versions(Bucket=bucket),
        "s3:ListBucketMultipartUploads": lambda: other.list_multipart_uploads(Bucket=bucket),
        "s3:GetBucketLocation": lambda: other.get_bucket_location(Bucket=bucket),
        "s3:GetBucketVersioning": lambda: other.get_bucket_versioning(Bucket=bucket),
        "s3:PutBucketVersioning": lambda: versioned(other, bucket, "Suspended"),
        "s3:PutBucketTagging": lambda: other.put_bucket_tagging(Bucket=bucket,
                                                                Tagging={"TagSet": [{"Key": "a", "Value": "1"}]}),
        "s3:GetBucketTagging": lambda: other.get_bucket_tagging(Bucket=bucket),
        "s3:PutBucketCORS": lambda: other.put_bucket_cors(Bucket=bucket, CORSConfiguration={
            "CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}),
        "s3:GetBucketCORS": lambda: other.get_bucket_cors(Bucket=bucket),
        "s3:PutLifecycleConfiguration": lambda: other.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": [
                {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": "a/"}, "Expiration": {"Days": 365}}]}),
        "s3:GetLifecycleConfiguration": lambda: other.get_bucket_lifecycle_configuration(Bucket=bucket),
        "s3:PutBucketWebsite": lambda: other.put_bucket_website(
            Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}),
        "s3:GetBucketWebsite": lambda: other.get_bucket_website(Bucket=bucket),
        "s3:DeleteBucketWebsite": lambda: other.delete_bucket_website(Bucket=bucket),
        "s3:PutEncryptionConfiguration": lambda: other.put_bucket_encryption(
            Bucket=bucket, ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}),
        "s3:GetEncryptionConfiguration": lambda: other.get_bucket_encryption(Bucket=bucket),
        "s3:GetBucketAcl": lambda: other.get_bucket_acl(Bucket=bucket),
        "s3:GetBucketLogging": lambda: other.get_bucket_logging(Bucket=bucket),
        "s3:GetBucketNotification": lambda: other.get_bucket_notification_configuration(Bucket=bucket),
        "s3:GetBucketPolicyStatus": lambda: other.get_bucket_policy_status(Bucket=bucket),
        "s3:GetBucketRequestPayment": lambda: other.get_bucket_request_payment(Bucket=bucket),
    }
    for action, do in may.items():
        denied(do)
    for action, do in may.items():
        impose(s3, bucket, to(ALT, action, resource=bucket_arn(bucket)))
        do()
        impose(s3, bucket, *(to(ALT, one, resource=bucket_arn(bucket)) for one in may if one != action))
        denied(do)


@covers("PutBucketPolicy")
def test_each_action_on_objects_is_allowed_by_its_own_name(s3, bucket):
    other = client(ALT)
    name = another(s3, bucket, "lock", ObjectLockEnabledForBucket=True)
    put(s3, name, Tagging="a=1")
    tags = {"TagSet": [{"Key": "a", "Value": "1"}]}
    may = {
        "s3:GetObject": lambda: read(other, name),
        "s3:PutObject": lambda: put(other, name, "new"),
        "s3:DeleteObject": lambda: other.delete_object(Bucket=name, Key="absent"),
        "s3:GetObjectTagging": lambda: other.get_object_tagging(Bucket=name, Key="k"),
        "s3:PutObjectTagging": lambda: other.put_object_tagging(Bucket=name, Key="k", Tagging=tags),
        "s3:DeleteObjectTagging": lambda: other.delete_object_tagging(Bucket=name, Key="k"),
        "s3:GetObjectAcl": lambda: other.get_object_acl(Bucket=name, Key="k"),
        "s3:PutObjectRetention": lambda: other.put_object_retention(
            Bucket=name, Key="k", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon(3600)}),
        "s3:GetObjectRetention": lambda: other.get_object_retention(Bucket=name, Key="k"),
        "s3:PutObjectLegalHold": lambda: other.put_object_legal_hold(Bucket=name, Key="k", LegalHold={"Status": "OFF"}),
        "s3:GetObjectLegalHold": lambda: other.get_object_legal_hold(Bucket=name, Key="k"),
    }
    for do in may.values():
        denied(do)
    for action, do in may.items():
        impose(s3, name, to(ALT, action, resource=objects_of(name)))
        do()
        impose(s3, name, *(to(ALT, one, resource=objects_of(name)) for one in may if one != action))
        denied(do)


@covers("GetBucketPolicyStatus")
def test_what_counts_as_public(s3, bucket):
    name = public_bucket(s3, bucket)
    assert s3.get_bucket_policy_status(Bucket=name)["PolicyStatus"]["IsPublic"] is False
    on, all_ = objects_of(name), "s3:GetObject"
    for statement, public in [
        (to_all(all_, resource=on), True), (to(ALT, all_, resource=on), False),
        (to_all(all_, resource=on, Effect="Deny"), False),
        (to_all(all_, resource=on, Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}), False),
        (to_all(all_, resource=on, Condition={"StringEquals": {"aws:PrincipalAccount": ALT.id}}), False),
        (to_all(all_, resource=on, Condition={"StringEquals": {"aws:SourceVpce": "vpce-1"}}), False),
        (to_all(all_, resource=on, Condition={"StringLike": {"aws:UserAgent": "x*"}}), True),
        (to_all(all_, resource=on, Condition={"StringLike": {"aws:Referer": "http://example.com/*"}}), True),
        (to_all(all_, resource=on, Condition={"Bool": {"aws:SecureTransport": "true"}}), True),
    ]:
        impose(s3, name, statement)
        assert s3.get_bucket_policy_status(Bucket=name)["PolicyStatus"]["IsPublic"] is public, statement
    impose(s3, name, to(ALT, all_, resource=on), to_all("s3:PutObject", resource=on))
    assert s3.get_bucket_policy_status(Bucket=name)["PolicyStatus"]["IsPublic"] is True


@covers("PutBucketPolicy")
def test_a_policy_holds_at_once_and_for_uploads_under_way(s3, bucket):
    other = client(ALT)
    impose(s3, bucket, to(ALT, "s3:PutObject", resource=objects_of(bucket)))
    upload = dict(Bucket=bucket, Key="k", UploadId=other.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"])
    parts = [{"PartNumber": 1, "ETag": other.upload_part(PartNumber=1, Body=b"x", **upload)["ETag"]}]
    s3.delete_bucket_policy(Bucket=bucket)
    denied(other.upload_part, PartNumber=2, Body=b"x", **upload)
    denied(other.complete_multipart_upload, MultipartUpload={"Parts": parts}, **upload)
    refused("NoSuchKey", 404, s3.head_object, Bucket=bucket, Key="k")


@covers("PutBucketVersioning", "DeleteBucket")
def test_who_may_change_a_bucket_may_not_change_the_one_that_came_in_its_place(s3, bucket):
    name, alt = f"{bucket}-swapped", client(ALT)
    alt.create_bucket(Bucket=name)
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"

    def swap():
        alt.delete_bucket(Bucket=name)
        another(s3, bucket, "swapped")

    told(slowly(signed("PUT", f"/{name}", query="versioning=", body=body, keys=ALT), body, swap), 403, "AccessDenied")
    assert "Status" not in s3.get_bucket_versioning(Bucket=name)


@covers("PutBucketVersioning", "DeleteBucket")
def test_a_bucket_that_was_not_there_when_it_was_asked_about_is_not_changed(s3, bucket):
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    request = signed("PUT", f"/{bucket}-later", query="versioning=", body=body, keys=ALT)
    status, _, text = slowly(request, body, lambda: another(s3, bucket, "later"))
    assert (status, b"<Code>NoSuchBucket</Code>" in text) == (404, True), text
    assert "Status" not in s3.get_bucket_versioning(Bucket=f"{bucket}-later")
    refused("NoSuchBucket", 404, anonymous().delete_bucket, Bucket=f"{bucket}-absent")


run(globals())
