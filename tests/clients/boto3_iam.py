"""Users, groups, keys and policies, and what they may do in S3."""

import base64
import concurrent.futures
import functools
import hashlib
import json
import re

from _identities import PATH, group, managed, own_root, read, statement, user
from _support import (ACCESS_KEY, ALT, ENDPOINT, REGION, SECRET_KEY, account_id, another, botocore, bucket_arn, client,
                      covers, denied, exchange, iam, objects_of, pages, policy, refused, run, service, signed, slowly,
                      status_of)


@covers("iam.CreateUser", "iam.GetUser", "iam.UpdateUser", "iam.DeleteUser", "iam.ListUsers")
def test_users_are_made_found_renamed_and_deleted(s3, bucket):
    admin = iam()
    made = admin.create_user(UserName=bucket, Path=PATH)["User"]
    assert (made["UserName"], made["Path"]) == (bucket, PATH) and made["UserId"] and made["CreateDate"]
    assert made["Arn"] == f"arn:aws:iam::{account_id()}:user{PATH}{bucket}"
    refused("EntityAlreadyExists", 409, admin.create_user, UserName=bucket)
    assert admin.get_user(UserName=bucket)["User"]["UserId"] == made["UserId"]
    assert bucket in [one["UserName"] for one in admin.list_users(PathPrefix=PATH)["Users"]]
    assert bucket not in [one["UserName"] for one in admin.list_users(PathPrefix="/other/")["Users"]]
    admin.update_user(UserName=bucket, NewUserName=bucket + "-new", NewPath="/other/")
    found = admin.get_user(UserName=bucket + "-new")["User"]
    assert found["UserId"] == made["UserId"] and found["Arn"].endswith(f":user/other/{bucket}-new")
    refused("NoSuchEntity", 404, admin.get_user, UserName=bucket)
    admin.delete_user(UserName=bucket + "-new")
    for call, named in [(admin.get_user, {}), (admin.delete_user, {}), (admin.create_access_key, {}),
                        (admin.list_user_policies, {}), (admin.update_user, {"NewPath": "/x/"})]:
        refused("NoSuchEntity", 404, call, UserName=bucket + "-new", **named)


@covers("iam.CreateUser")
def test_names_and_paths_that_no_user_can_have(s3, bucket):
    for name in ["a b", "a/b", "ü", "a" * 65, "a*"]:
        refused("ValidationError", 400, iam().create_user, UserName=name)
    for path in ["no-slash/", "/no-slash", "//\n"]:
        refused("ValidationError", 400, iam().create_user, UserName=bucket, Path=path)
    refused("NoSuchEntity", 404, iam().get_user, UserName=bucket)


@covers("iam.ListUsers")
def test_users_are_listed_in_pages(s3, bucket):
    admin, path = iam(), f"/{bucket}/"
    names = sorted(f"{bucket}-{n}" for n in range(5))
    for name in names:
        admin.create_user(UserName=name, Path=path)
    try:
        found, marker = [], {}
        for _ in pages():
            page = admin.list_users(PathPrefix=path, MaxItems=2, **marker)
            assert len(page["Users"]) <= 2
            found += [one["UserName"] for one in page["Users"]]
            if not page["IsTruncated"]:
                break
            marker = {"Marker": page["Marker"]}
        assert found == names
    finally:
        for name in names:
            admin.delete_user(UserName=name)


@covers("iam.CreateAccessKey", "iam.ListAccessKeys", "iam.UpdateAccessKey", "iam.DeleteAccessKey", "iam.GetAccessKeyLastUsed")
def test_keys_are_made_switched_off_and_deleted(s3, bucket):
    admin = iam()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with user(bucket, statement("s3:*")) as keys:
        assert read(client(keys), bucket) == b"x"
        second = admin.create_access_key(UserName=bucket)["AccessKey"]
        assert second["Status"] == "Active" and second["UserName"] == bucket and second["AccessKeyId"] != keys[0]
        refused("LimitExceeded", 409, admin.create_access_key, UserName=bucket)
        listed = admin.list_access_keys(UserName=bucket)["AccessKeyMetadata"]
        assert {one["AccessKeyId"] for one in listed} == {keys[0], second["AccessKeyId"]}
        assert "SecretAccessKey" not in str(listed) and second["SecretAccessKey"] not in str(listed)
        admin.update_access_key(UserName=bucket, AccessKeyId=keys[0], Status="Inactive")
        refused("InvalidAccessKeyId", 403, read, client(keys), bucket)
        assert read(client((second["AccessKeyId"], second["SecretAccessKey"])), bucket) == b"x"
        admin.update_access_key(UserName=bucket, AccessKeyId=keys[0], Status="Active")
        assert read(client(keys), bucket) == b"x"
        assert admin.get_access_key_last_used(AccessKeyId=keys[0])["UserName"] == bucket
        admin.delete_access_key(UserName=bucket, AccessKeyId=keys[0])
        refused("InvalidAccessKeyId", 403, read, client(keys), bucket)
        refused("NoSuchEntity", 404, admin.delete_access_key, UserName=bucket, AccessKeyId=keys[0])
        refused("SignatureDoesNotMatch", 403, read, client((second["AccessKeyId"], "wrong" * 8)), bucket)


@covers("iam.DeleteAccessKey", "iam.DeleteUserPolicy", "PutObject", "UploadPart", "DeleteObjects", "PutBucketPolicy", "CreateBucket")
def test_a_request_that_comes_slowly_is_done_by_the_rights_of_its_end(s3, bucket):
    admin = iam()
    s3.put_object(Bucket=bucket, Key="kept", Body=b"x")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    everybody = policy({"Principal": "*", "Action": "s3:*", "Resource": bucket_arn(bucket)}).encode()
    tagged = (b"<CreateBucketConfiguration><Tags><Tag><Key>a</Key><Value>b</Value></Tag></Tags>"
              b"</CreateBucketConfiguration>")
    requests = [("PUT", f"/{bucket}/k", "", b"x" * 100_000), ("PUT", f"/{bucket}/small", "", b"x"),
                ("PUT", f"/{bucket}/k", f"partNumber=1&uploadId={upload}", b"x" * 1000),
                ("POST", f"/{bucket}", "delete=", b"<Delete><Object><Key>kept</Key></Object></Delete>"),
                ("PUT", f"/{bucket}", "policy=", everybody), ("PUT", f"/{bucket}-made", "", tagged)]

    def answers(keys, meanwhile):
        def one(request):
            method, path, query, body = request
            md5 = {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()}
            return slowly(signed(method, path, md5, query, body, keys=keys), body, meanwhile.pop() if meanwhile else int)
        with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
            found = list(pool.map(one, requests))
        return [(status, "".join(re.findall(r"<Code>(\w+)</Code>", text.decode()))) for status, _, text in found]

    for take, code in [(lambda keys: admin.delete_user_policy(UserName=bucket, PolicyName="inline"), "AccessDenied"),
                       (lambda keys: admin.delete_access_key(UserName=bucket, AccessKeyId=keys[0]), "InvalidAccessKeyId")]:
        with user(bucket, statement("s3:*")) as keys:
            found = answers(keys, [functools.partial(take, keys)])
            # A delete of many says it of each.
            assert [said for _, said in found] == [code] * len(requests), found
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["kept"]
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    refused("NoSuchBucketPolicy", 404, s3.get_bucket_policy, Bucket=bucket)
    with user(bucket, statement("s3:*")) as keys:
        assert [status for status, _ in answers(keys, [])] == [200, 200, 200, 200, 204, 200]
    s3.delete_bucket_policy(Bucket=bucket)
    s3.delete_bucket(Bucket=f"{bucket}-made")


@covers("iam.DeleteUser")
def test_a_user_who_has_something_is_not_deleted(s3, bucket):
    admin = iam()
    with user(bucket) as keys:
        refused("DeleteConflict", 409, admin.delete_user, UserName=bucket)
        admin.delete_access_key(UserName=bucket, AccessKeyId=keys[0])
        admin.put_user_policy(UserName=bucket, PolicyName="p", PolicyDocument=policy(statement("s3:*")))
        refused("DeleteConflict", 409, admin.delete_user, UserName=bucket)
        admin.delete_user_policy(UserName=bucket, PolicyName="p")
        with group(bucket, bucket):
            refused("DeleteConflict", 409, admin.delete_user, UserName=bucket)


@covers("iam.PutUserPolicy")
def test_a_new_user_may_nothing(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with user(bucket) as keys:
        other = client(keys)
        for call, named in [(other.get_object, {"Key": "k"}), (other.put_object, {"Key": "k"}), (other.list_objects_v2, {}),
                            (other.head_bucket, {}), (other.delete_object, {"Key": "k"}), (other.delete_bucket, {})]:
            denied(call, Bucket=bucket, **named)
        denied(other.list_buckets)
        denied(other.create_bucket, Bucket=bucket + "-x")
        for call, named in [("list_users", {}), ("create_user", {"UserName": bucket + "-x"})]:
            refused("AccessDenied", 403, getattr(iam(keys), call), **named)


@covers("iam.PutUserPolicy", "iam.GetUserPolicy", "iam.ListUserPolicies", "iam.DeleteUserPolicy")
def test_inline_policies_of_a_user(s3, bucket):
    admin = iam()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    document = policy(statement("s3:GetObject", resource=objects_of(bucket)))
    with user(bucket) as keys:
        other = client(keys)
        admin.put_user_policy(UserName=bucket, PolicyName="read", PolicyDocument=document)
        assert read(other, bucket) == b"x"
        denied(other.put_object, Bucket=bucket, Key="k")
        found = admin.get_user_policy(UserName=bucket, PolicyName="read")
        assert found["PolicyDocument"] == json.loads(document) and found["PolicyName"] == "read"
        admin.put_user_policy(UserName=bucket, PolicyName="write", PolicyDocument=policy(
            statement("s3:PutObject", resource=objects_of(bucket))))
        assert sorted(admin.list_user_policies(UserName=bucket)["PolicyNames"]) == ["read", "write"]
        other.put_object(Bucket=bucket, Key="k", Body=b"y")
        admin.put_user_policy(UserName=bucket, PolicyName="deny", PolicyDocument=policy(
            statement("s3:*", Effect="Deny")))
        denied(read, other, bucket)
        admin.delete_user_policy(UserName=bucket, PolicyName="deny")
        assert read(other, bucket) == b"y"
        admin.delete_user_policy(UserName=bucket, PolicyName="read")
        denied(read, other, bucket)
        refused("NoSuchEntity", 404, admin.get_user_policy, UserName=bucket, PolicyName="read")
        refused("NoSuchEntity", 404, admin.delete_user_policy, UserName=bucket, PolicyName="read")


@covers("iam.PutUserPolicy", "iam.CreatePolicy", "iam.CreateRole")
def test_documents_that_are_malformed(s3, bucket):
    admin = iam()
    wrong = ["nonsense", "{}", policy(), policy({**statement("s3:*"), "Effect": "Perhaps"}), policy({"Action": "s3:*"}),
             policy({"Resource": "*"}), policy({**statement("s3:*"), "Principal": "*"}),
             policy({**statement("s3:*"), "Condition": {"Sounds": {"a": "b"}}})]
    with user(bucket):
        for text in wrong:
            malformed = ("MalformedPolicyDocument", "ValidationError")
            refused(malformed, 400, admin.put_user_policy, UserName=bucket, PolicyName="p", PolicyDocument=text)
            refused(malformed, 400, admin.create_policy, PolicyName=bucket, PolicyDocument=text)
        assert "p" not in admin.list_user_policies(UserName=bucket)["PolicyNames"]
    for text in ["{", policy(statement("s3:*")), policy({"Principal": {"AWS": "nonsense"}, "Action": "sts:AssumeRole"}),
                 policy({"Principal": "*", "Action": "s3:GetObject"})]:
        refused("MalformedPolicyDocument", 400, admin.create_role, RoleName=bucket, AssumeRolePolicyDocument=text)


@covers("iam.CreatePolicy", "iam.GetPolicy", "iam.AttachUserPolicy", "iam.DetachUserPolicy", "iam.ListAttachedUserPolicies",
        "iam.ListPolicies", "iam.DeletePolicy", "iam.ListEntitiesForPolicy")
def test_managed_policies_hold_for_those_they_are_attached_to(s3, bucket):
    admin = iam()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with user(bucket) as keys, managed(bucket, statement("s3:GetObject", resource=objects_of(bucket))) as arn:
        assert arn == f"arn:aws:iam::{account_id()}:policy{PATH}{bucket}"
        refused("EntityAlreadyExists", 409, admin.create_policy, PolicyName=bucket, PolicyDocument=policy(statement("s3:*")))
        denied(read, client(keys), bucket)
        for _ in range(2):
            admin.attach_user_policy(UserName=bucket, PolicyArn=arn)
        assert read(client(keys), bucket) == b"x"
        assert admin.list_attached_user_policies(UserName=bucket)["AttachedPolicies"] == [
            {"PolicyName": bucket, "PolicyArn": arn}]
        found = admin.get_policy(PolicyArn=arn)["Policy"]
        assert (found["AttachmentCount"], found["DefaultVersionId"], found["PolicyName"]) == (1, "v1", bucket)
        assert arn in [one["Arn"] for one in admin.list_policies(Scope="Local", PathPrefix=PATH)["Policies"]]
        assert [one["UserName"] for one in admin.list_entities_for_policy(PolicyArn=arn)["PolicyUsers"]] == [bucket]
        refused("DeleteConflict", 409, admin.delete_policy, PolicyArn=arn)
        admin.detach_user_policy(UserName=bucket, PolicyArn=arn)
        denied(read, client(keys), bucket)
        refused("NoSuchEntity", 404, admin.detach_user_policy, UserName=bucket, PolicyArn=arn)
    refused("NoSuchEntity", 404, admin.get_policy, PolicyArn=arn)


@covers("iam.CreatePolicyVersion", "iam.SetDefaultPolicyVersion", "iam.GetPolicyVersion", "iam.ListPolicyVersions",
        "iam.DeletePolicyVersion")
def test_the_default_version_of_a_policy_is_what_holds(s3, bucket):
    admin = iam()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    reads, writes = (policy(statement(f"s3:{act}Object", resource=objects_of(bucket))) for act in ["Get", "Put"])
    with user(bucket) as keys, managed(bucket, statement("s3:GetObject", resource=objects_of(bucket))) as arn:
        admin.attach_user_policy(UserName=bucket, PolicyArn=arn)
        new = admin.create_policy_version(PolicyArn=arn, PolicyDocument=writes)["PolicyVersion"]
        assert (new["VersionId"], new["IsDefaultVersion"]) == ("v2", False)
        assert read(client(keys), bucket) == b"x"
        admin.set_default_policy_version(PolicyArn=arn, VersionId="v2")
        denied(read, client(keys), bucket)
        client(keys).put_object(Bucket=bucket, Key="k", Body=b"y")
        assert admin.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"] == json.loads(reads)
        refused("DeleteConflict", 409, admin.delete_policy_version, PolicyArn=arn, VersionId="v2")
        admin.create_policy_version(PolicyArn=arn, PolicyDocument=reads, SetAsDefault=True)
        assert read(client(keys), bucket) == b"y"
        for _ in range(2):
            admin.create_policy_version(PolicyArn=arn, PolicyDocument=reads)
        refused("LimitExceeded", 409, admin.create_policy_version, PolicyArn=arn, PolicyDocument=reads)
        found = admin.list_policy_versions(PolicyArn=arn)["Versions"]
        assert sorted(one["VersionId"] for one in found) == ["v1", "v2", "v3", "v4", "v5"]
        assert [one["VersionId"] for one in found if one["IsDefaultVersion"]] == ["v3"]
        admin.delete_policy_version(PolicyArn=arn, VersionId="v1")
        assert admin.create_policy_version(PolicyArn=arn, PolicyDocument=reads)["PolicyVersion"]["VersionId"] == "v6"
        refused("NoSuchEntity", 404, admin.get_policy_version, PolicyArn=arn, VersionId="v1")
        admin.detach_user_policy(UserName=bucket, PolicyArn=arn)


@covers("iam.CreateGroup", "iam.GetGroup", "iam.AddUserToGroup", "iam.RemoveUserFromGroup", "iam.ListGroups",
        "iam.ListGroupsForUser", "iam.PutGroupPolicy", "iam.AttachGroupPolicy", "iam.DeleteGroup", "iam.GetGroupPolicy")
def test_members_of_a_group_may_what_the_group_may(s3, bucket):
    admin = iam()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with user(bucket) as keys, managed(bucket, statement("s3:PutObject", resource=objects_of(bucket))) as arn:
        with group(bucket, bucket):
            refused("EntityAlreadyExists", 409, admin.create_group, GroupName=bucket)
            found = admin.get_group(GroupName=bucket)
            assert found["Group"]["Arn"] == f"arn:aws:iam::{account_id()}:group{PATH}{bucket}"
            assert [one["UserName"] for one in found["Users"]] == [bucket]
            assert [one["GroupName"] for one in admin.list_groups_for_user(UserName=bucket)["Groups"]] == [bucket]
            assert bucket in [one["GroupName"] for one in admin.list_groups(PathPrefix=PATH)["Groups"]]
            document = policy(statement("s3:GetObject", resource=objects_of(bucket)))
            admin.put_group_policy(GroupName=bucket, PolicyName="inline", PolicyDocument=document)
            assert admin.get_group_policy(GroupName=bucket, PolicyName="inline")["PolicyDocument"] == json.loads(document)
            assert read(client(keys), bucket) == b"x"
            denied(client(keys).put_object, Bucket=bucket, Key="k")
            admin.attach_group_policy(GroupName=bucket, PolicyArn=arn)
            client(keys).put_object(Bucket=bucket, Key="k", Body=b"y")
            refused("DeleteConflict", 409, admin.delete_group, GroupName=bucket)
            admin.remove_user_from_group(GroupName=bucket, UserName=bucket)
            denied(read, client(keys), bucket)
            admin.add_user_to_group(GroupName=bucket, UserName=bucket)
            admin.put_user_policy(UserName=bucket, PolicyName="deny", PolicyDocument=policy(
                statement("s3:GetObject", Effect="Deny")))
            denied(read, client(keys), bucket)
        refused("NoSuchEntity", 404, admin.get_group, GroupName=bucket)
        refused("NoSuchEntity", 404, admin.add_user_to_group, GroupName=bucket, UserName=bucket)


@covers("iam.PutUserPolicy", "ListBuckets", "CreateBucket")
def test_what_a_user_makes_belongs_to_the_account(s3, bucket):
    name = f"{bucket}-user"
    with user(bucket, statement("s3:CreateBucket", "s3:ListAllMyBuckets", "s3:PutObject")) as keys:
        other = client(keys)
        other.create_bucket(Bucket=name)
        other.put_object(Bucket=name, Key="k", Body=b"x")
        owner = s3.list_buckets()["Owner"]["ID"]
        assert name in [one["Name"] for one in other.list_buckets()["Buckets"]]
        assert other.list_buckets()["Owner"]["ID"] == owner
        denied(other.delete_bucket, Bucket=name)
    assert read(s3, name) == b"x"
    assert s3.list_objects_v2(Bucket=name, FetchOwner=True)["Contents"][0]["Owner"]["ID"] == owner
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)


@covers("iam.PutUserPolicy")
def test_a_policy_that_names_its_user_by_a_variable(s3, bucket):
    home = lambda name: f"home/{name}/k"
    one, two = f"{bucket}-1", f"{bucket}-2"
    statements = [statement("s3:GetObject", resource=bucket_arn(bucket) + "/home/${aws:username}/*"),
                  statement("s3:ListBucket", resource=bucket_arn(bucket),
                            Condition={"StringLike": {"s3:prefix": "home/${aws:username}/*"}})]
    with user(one, *statements) as first, user(two, *statements) as second:
        for name in [one, two]:
            s3.put_object(Bucket=bucket, Key=home(name), Body=b"x")
        assert read(client(first), bucket, home(one)) == b"x" == read(client(second), bucket, home(two))
        denied(read, client(first), bucket, home(two))
        assert client(first).list_objects_v2(Bucket=bucket, Prefix=f"home/{one}/")["KeyCount"] == 1
        denied(client(first).list_objects_v2, Bucket=bucket, Prefix="home/")


@covers("PutBucketPolicy")
def test_bucket_policies_name_users(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with user(bucket) as keys, user(bucket + "-all", statement("s3:*")) as strong:
        arn = iam().get_user(UserName=bucket)["User"]["Arn"]
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(
            {"Principal": {"AWS": arn}, "Action": "s3:GetObject", "Resource": objects_of(bucket)}))
        assert read(client(keys), bucket) == b"x"
        denied(client(keys).list_objects_v2, Bucket=bucket)
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(
            {"Principal": {"AWS": iam().get_user(UserName=bucket + "-all")["User"]["Arn"]}, "Action": "s3:GetObject",
             "Resource": objects_of(bucket), "Effect": "Deny"}))
        denied(read, client(strong), bucket)
        assert client(strong).list_objects_v2(Bucket=bucket)["KeyCount"] == 1
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(
            {"Principal": {"AWS": own_root()}, "Action": "s3:GetObject", "Resource": objects_of(bucket)}))
        denied(read, client(keys), bucket)
        assert read(client(strong), bucket) == b"x"
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(
            {"Principal": {"AWS": "*"}, "Action": "s3:GetObject", "Resource": objects_of(bucket),
             "Condition": {"StringEquals": {"aws:username": bucket}}}))
        assert read(client(keys), bucket) == b"x"


@covers("PutBucketPolicy", "iam.PutUserPolicy")
def test_users_of_other_accounts_need_both_policies(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    allow = statement("s3:GetObject", resource=objects_of(bucket))
    shared = {"Principal": {"AWS": ALT.arn}, "Action": "s3:GetObject", "Resource": objects_of(bucket)}
    with user(bucket, owner=ALT) as weak, user(bucket + "-2", allow, owner=ALT) as strong:
        denied(read, client(strong), bucket)
        s3.put_bucket_policy(Bucket=bucket, Policy=policy(shared))
        assert read(client(strong), bucket) == b"x"
        denied(read, client(weak), bucket)
        assert bucket not in [one["UserName"] for one in iam().list_users()["Users"]]
        refused("NoSuchEntity", 404, iam().get_user, UserName=bucket)


@covers("iam.PutUserPermissionsBoundary", "iam.DeleteUserPermissionsBoundary")
def test_a_boundary_limits_what_policies_allow(s3, bucket):
    admin = iam()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with managed(bucket, statement("s3:GetObject")) as arn, user(bucket, statement("s3:*")) as keys:
        admin.put_user_permissions_boundary(UserName=bucket, PermissionsBoundary=arn)
        assert admin.get_user(UserName=bucket)["User"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == arn
        assert read(client(keys), bucket) == b"x"
        denied(client(keys).put_object, Bucket=bucket, Key="k")
        admin.delete_user_permissions_boundary(UserName=bucket)
        client(keys).put_object(Bucket=bucket, Key="k", Body=b"x")


@covers("iam.TagUser", "iam.ListUserTags", "iam.UntagUser")
def test_tags_of_a_user_and_conditions_on_them(s3, bucket):
    admin = iam()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    team = {"StringEquals": {"aws:PrincipalTag/team": "blue"}}
    with user(bucket, statement("s3:GetObject", resource=objects_of(bucket), Condition=team)) as keys:
        denied(read, client(keys), bucket)
        admin.tag_user(UserName=bucket, Tags=[{"Key": "team", "Value": "blue"}, {"Key": "a", "Value": ""}])
        tags = {one["Key"]: one["Value"] for one in admin.list_user_tags(UserName=bucket)["Tags"]}
        assert tags == {"team": "blue", "a": ""}
        assert read(client(keys), bucket) == b"x"
        admin.untag_user(UserName=bucket, TagKeys=["team"])
        denied(read, client(keys), bucket)


@covers("iam.CreateUser", "iam.CreateAccessKey")
def test_users_manage_others_as_far_as_they_are_allowed(s3, bucket):
    own = f"arn:aws:iam::{account_id()}:user{PATH}{bucket}-made"
    rights = statement("iam:CreateUser", "iam:GetUser", "iam:DeleteUser", "iam:CreateAccessKey", "iam:DeleteAccessKey",
                       "iam:ListAccessKeys", resource=own)
    with user(bucket, rights) as keys:
        other = iam(keys)
        assert other.create_user(UserName=f"{bucket}-made", Path=PATH)["User"]["Arn"] == own
        refused("AccessDenied", 403, other.create_user, UserName=f"{bucket}-else", Path=PATH)
        refused("AccessDenied", 403, other.put_user_policy, UserName=f"{bucket}-made", PolicyName="p",
                PolicyDocument=policy(statement("*")))
        key = other.create_access_key(UserName=f"{bucket}-made")["AccessKey"]
        denied(client((key["AccessKeyId"], key["SecretAccessKey"])).list_buckets)
        other.delete_access_key(UserName=f"{bucket}-made", AccessKeyId=key["AccessKeyId"])
        other.delete_user(UserName=f"{bucket}-made")


@covers("iam.GetUser")
def test_requests_that_no_operation_answers(s3, bucket):
    def call(body, keys=(ACCESS_KEY, SECRET_KEY), name="iam"):
        request = botocore.awsrequest.AWSRequest(method="POST", url=f"{ENDPOINT}/", data=body, headers={
            "Content-Type": "application/x-www-form-urlencoded"})
        botocore.auth.SigV4Auth(botocore.credentials.Credentials(*keys), name, REGION).add_auth(request)
        headers = [(field, value) for field, value in request.headers.items()]
        return exchange("POST", "/", headers, body.encode())
    status, _, answer = call("Action=Fly&Version=2010-05-08")
    assert status == 400 and b"<Code>InvalidAction</Code>" in answer and b"<ErrorResponse" in answer, (status, answer)
    status, _, answer = call("Action=ListUsers&Version=2011-06-15")
    assert status == 400 and b"<Code>InvalidAction</Code>" in answer, (status, answer)
    status, _, answer = call("Action=ListUsers&Version=2010-05-08&MaxItems=many")
    assert status == 400 and b"<Code>MalformedInput</Code>" in answer, (status, answer)
    status, _, answer = call("Action=ListUsers&Version=2010-05-08", ("nobody", "x" * 20))
    assert status == 403 and b"<Code>InvalidClientTokenId</Code>" in answer, (status, answer)
    status, _, answer = call("Action=ListUsers&Version=2010-05-08", (ACCESS_KEY, "x" * 20))
    assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in answer, (status, answer)
    status, _, answer = call("Action=ListUsers&Version=2010-05-08")
    assert status == 200 and b"<ListUsersResponse" in answer and b"<RequestId>" in answer, (status, answer)
    assert status_of(service("iam").list_users(MaxItems=1)) == 200
    asked = botocore.awsrequest.AWSRequest(method="GET", url=f"{ENDPOINT}/?Action=ListUsers&Version=2010-05-08")
    botocore.auth.SigV4Auth(botocore.credentials.Credentials(ACCESS_KEY, SECRET_KEY), "iam", REGION).add_auth(asked)
    status, _, answer = exchange("GET", "/?Action=ListUsers&Version=2010-05-08", list(asked.headers.items()))
    assert status == 200 and b"<ListUsersResponse" in answer, (status, answer)


@covers("iam.GetUser", "iam.GetRole", "iam.PutUserPolicy", "iam.ListAccessKeys")
def test_what_cannot_be_a_name_is_not_looked_for(s3, bucket):
    admin = iam()
    for name in ["no/such", "a" * 129]:
        for call in [admin.get_user, admin.delete_user, admin.list_access_keys, admin.list_user_policies]:
            refused("ValidationError", 400, call, UserName=name)
        refused("ValidationError", 400, admin.get_role, RoleName=name)
        refused("ValidationError", 400, admin.get_user_policy, UserName=bucket, PolicyName=name)
    refused("ValidationError", 400, admin.put_user_policy, UserName=bucket, PolicyName="p", PolicyDocument="\U0001f600")
    refused("NoSuchEntity", 404, admin.get_user, UserName=bucket)


@covers("ListBuckets", "iam.PutUserPolicy")
def test_conditions_in_the_policies_of_users(s3, bucket):
    name = another(s3, bucket, "x")
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    for condition, allowed in [({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True),
                               ({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, False),
                               ({"StringEquals": {"s3:ResourceAccount": account_id()}}, True),
                               ({"StringEquals": {"s3:ResourceAccount": ALT.id}}, False),
                               ({"Bool": {"aws:MultiFactorAuthPresent": "true"}}, False)]:
        with user(bucket, statement("s3:GetObject", Condition=condition)) as keys:
            if allowed:
                assert read(client(keys), name) == b"x", condition
            else:
                denied(read, client(keys), name)


@covers("CreateBucket", "iam.PutUserPolicy")
def test_a_bucket_is_made_with_tags_by_who_may_tag(s3, bucket):
    blue, red = [[{"Key": "team", "Value": colour}] for colour in ("blue", "red")]

    def make(keys, tags=None):
        named = {"CreateBucketConfiguration": {"Tags": tags}} if tags else {}
        return functools.partial(client(keys).create_bucket, Bucket=bucket + "-x", **named)
    with user(bucket, statement("s3:CreateBucket")) as keys:
        denied(make(keys, blue))
        make(keys)()
    s3.delete_bucket(Bucket=bucket + "-x")
    only = {"StringEquals": {"aws:RequestTag/team": "blue"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}
    with user(bucket, statement("s3:CreateBucket", "s3:TagResource", Condition=only)) as keys:
        denied(make(keys)), denied(make(keys, red)), denied(make(keys, blue + [{"Key": "other", "Value": ""}]))
        # As a key of conditions it is the same tag.
        denied(make(keys, blue + [{"Key": "Team", "Value": "red"}]))
        make(keys, blue)()
    assert s3.get_bucket_tagging(Bucket=bucket + "-x")["TagSet"] == blue


@covers("CreateBucket", "iam.PutUserPolicy")
def test_conditions_on_where_a_user_makes_buckets(s3, bucket):
    name, there = f"{bucket}-made", "eu-west-1"
    only = {"StringEquals": {"s3:LocationConstraint": there}}
    with user(bucket, statement("s3:CreateBucket", Condition=only)) as keys:
        make = lambda **named: client(keys, region_name=there).create_bucket(Bucket=name, **named)
        denied(make)
        denied(make, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
        make(CreateBucketConfiguration={"LocationConstraint": there})
    s3.delete_bucket(Bucket=name)
    with user(bucket, statement("s3:CreateBucket"), statement("s3:CreateBucket", Effect="Deny", Condition=only)) as keys:
        denied(client(keys, region_name=there).create_bucket, Bucket=name,
               CreateBucketConfiguration={"LocationConstraint": there})


run(globals())
