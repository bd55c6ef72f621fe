# server: SHERD_SIGV2=urls
"""Roles, and the credentials that `sts` gives for a time."""

import datetime
import json
import urllib.request

from _identities import PATH, own_root, read, role, statement, temporary, trust, user
from _support import ALT, account_id, bucket_arn, client, covers, denied, iam, objects_of, policy, refused, run, sts


@covers("sts.GetCallerIdentity")
def test_everybody_is_told_who_they_are(s3, bucket):
    own = account_id()
    assert len(own) == 12 and own.isdigit()
    assert sts().get_caller_identity()["Arn"] == f"arn:aws:iam::{own}:root"
    found = sts(ALT).get_caller_identity()
    assert (found["Account"], found["Arn"]) == (ALT.id, ALT.arn)
    with user(bucket) as keys:
        found = sts(keys).get_caller_identity()
        assert (found["Account"], found["Arn"]) == (own, f"arn:aws:iam::{own}:user{PATH}{bucket}")
        assert found["UserId"] == iam().get_user(UserName=bucket)["User"]["UserId"]
    refused(("InvalidClientTokenId", "InvalidAccessKeyId"), 403, sts(keys).get_caller_identity)


@covers("iam.CreateRole", "iam.GetRole", "iam.ListRoles", "iam.DeleteRole", "iam.UpdateAssumeRolePolicy", "iam.UpdateRole",
        "iam.PutRolePolicy", "iam.GetRolePolicy", "iam.AttachRolePolicy")
def test_roles_are_made_found_changed_and_deleted(s3, bucket):
    admin, trusted = iam(), trust({"AWS": own_root()})
    with role(bucket, trusted, Description="of a test", MaxSessionDuration=7200) as arn:
        found = admin.get_role(RoleName=bucket)["Role"]
        assert (found["Arn"], found["Path"], found["Description"], found["MaxSessionDuration"]) == (
            arn, PATH, "of a test", 7200)
        assert arn == f"arn:aws:iam::{account_id()}:role{PATH}{bucket}"
        assert found["AssumeRolePolicyDocument"] == json.loads(trusted)
        refused("EntityAlreadyExists", 409, admin.create_role, RoleName=bucket, AssumeRolePolicyDocument=trusted)
        assert bucket in [one["RoleName"] for one in admin.list_roles(PathPrefix=PATH)["Roles"]]
        admin.update_role(RoleName=bucket, Description="changed", MaxSessionDuration=3600)
        changed = trust({"AWS": ALT.arn})
        admin.update_assume_role_policy(RoleName=bucket, PolicyDocument=changed)
        found = admin.get_role(RoleName=bucket)["Role"]
        assert found["AssumeRolePolicyDocument"] == json.loads(changed) and found["Description"] == "changed"
        document = policy(statement("s3:*"))
        admin.put_role_policy(RoleName=bucket, PolicyName="inline", PolicyDocument=document)
        assert admin.get_role_policy(RoleName=bucket, PolicyName="inline")["PolicyDocument"] == json.loads(document)
        refused("DeleteConflict", 409, admin.delete_role, RoleName=bucket)
        refused("ValidationError", 400, admin.update_role, RoleName=bucket, MaxSessionDuration=43_201)
    refused("NoSuchEntity", 404, admin.get_role, RoleName=bucket)
    refused("NoSuchEntity", 404, admin.delete_role, RoleName=bucket)


@covers("sts.AssumeRole")
def test_a_role_is_assumed_by_those_it_trusts(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    reads = statement("s3:GetObject", resource=objects_of(bucket))
    with role(bucket, trust({"AWS": own_root()}), reads) as arn, \
            user(bucket, statement("sts:AssumeRole", resource=arn)) as keys, user(bucket + "-weak") as weak:
        answer = sts(keys).assume_role(RoleArn=arn, RoleSessionName="mine")
        assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{account_id()}:assumed-role/{bucket}/mine"
        assert answer["Credentials"]["Expiration"] and answer["AssumedRoleUser"]["AssumedRoleId"].endswith(":mine")
        temporary_keys, token = temporary(answer)
        assert sts(temporary_keys, token).get_caller_identity()["Arn"] == answer["AssumedRoleUser"]["Arn"]
        other = client(temporary_keys, token)
        assert read(other, bucket) == b"x"
        denied(other.put_object, Bucket=bucket, Key="k")
        denied(read, client(keys), bucket)
        refused("AccessDenied", 403, sts(weak).assume_role, RoleArn=arn, RoleSessionName="mine")
        refused("AccessDenied", 403, sts(ALT).assume_role, RoleArn=arn, RoleSessionName="mine")
        refused("AccessDenied", 403, sts(keys).assume_role, RoleArn=arn + "-absent", RoleSessionName="mine")
    refused(("AccessDenied", "InvalidAccessKeyId", "InvalidToken"), (400, 403), read, other, bucket)


@covers("sts.AssumeRole")
def test_a_roles_own_tags_are_conditions_of_assuming_it(s3, bucket):
    tagged = lambda key: {"StringEquals": {key: "Engineering"}}
    with user(bucket, statement("sts:AssumeRole")) as keys:
        for number, key in enumerate(["aws:ResourceTag/Department", "iam:ResourceTag/Department"]):
            for tags in [[], [{"Key": "Department", "Value": "Marketing"}], [{"Key": "Department", "Value": "Engineering"}]]:
                with role(f"{bucket}-{number}", trust({"AWS": own_root()}, Condition=tagged(key)), Tags=tags) as arn:
                    assume = lambda: sts(keys).assume_role(RoleArn=arn, RoleSessionName="mine")
                    if tags and tags[0]["Value"] == "Engineering":
                        assert assume()["Credentials"]["SessionToken"]
                    else:
                        refused("AccessDenied", 403, assume)


@covers("sts.AssumeRole", "GetObject")
def test_temporary_keys_are_nothing_without_their_token(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with role(bucket, trust({"AWS": own_root()}), statement("s3:*")) as arn, \
            user(bucket, statement("sts:AssumeRole", resource=arn)) as keys:
        temporary_keys, token = temporary(sts(keys).assume_role(RoleArn=arn, RoleSessionName="mine"))
        assert read(client(temporary_keys, token), bucket) == b"x"
        refused(("InvalidAccessKeyId", "InvalidToken"), (400, 403), read, client(temporary_keys), bucket)
        refused("InvalidToken", 400, read, client(temporary_keys, token[:-8] + "AAAAAAA="), bucket)
        refused("InvalidToken", 400, read, client(temporary_keys, "nonsense"), bucket)
        refused("InvalidToken", 400, read, client(keys, token), bucket)
        for version, parameter in [("s3v4", "X-Amz-Security-Token"), ("s3", "x-amz-security-token")]:
            url = client(temporary_keys, token, signature_version=version).generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": "k"})
            assert parameter in url and urllib.request.urlopen(url).read() == b"x", version


@covers("sts.AssumeRole")
def test_a_session_policy_limits_a_role(s3, bucket):
    for key in ["a/k", "b/k"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    with role(bucket, trust({"AWS": own_root()}), statement("s3:GetObject", resource=objects_of(bucket))) as arn, \
            user(bucket, statement("sts:AssumeRole", resource=arn)) as keys:
        limited = policy(statement("s3:*", resource=f"{bucket_arn(bucket)}/a/*"))
        other = client(*temporary(sts(keys).assume_role(RoleArn=arn, RoleSessionName="mine", Policy=limited)))
        assert read(other, bucket, "a/k") == b"x"
        denied(read, other, bucket, "b/k")
        denied(other.put_object, Bucket=bucket, Key="a/k")
        refused("MalformedPolicyDocument", 400, sts(keys).assume_role, RoleArn=arn, RoleSessionName="mine", Policy="nonsense")


@covers("sts.AssumeRole")
def test_how_long_a_role_may_be_assumed(s3, bucket):
    with role(bucket, trust({"AWS": own_root()}), statement("s3:*"), MaxSessionDuration=7200) as arn, \
            user(bucket, statement("sts:AssumeRole", resource=arn)) as keys:
        assume = lambda **named: sts(keys).assume_role(RoleArn=arn, RoleSessionName="mine", **named)
        for seconds, named in [(900, {"DurationSeconds": 900}), (7200, {"DurationSeconds": 7200}), (3600, {})]:
            left = assume(**named)["Credentials"]["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
            assert abs(left.total_seconds() - seconds) < 60, named
        for seconds in [7201, 43_201]:
            refused("ValidationError", 400, assume, DurationSeconds=seconds)
        refused("ValidationError", 400, sts(keys).assume_role, RoleArn=arn, RoleSessionName="a b")


@covers("sts.AssumeRole")
def test_a_role_for_another_account_and_a_secret_between_them(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    trusted = trust({"AWS": ALT.arn}, Condition={"StringEquals": {"sts:ExternalId": "between us"}})
    with role(bucket, trusted, statement("s3:GetObject", resource=objects_of(bucket))) as arn, \
            user(bucket, statement("sts:AssumeRole", resource=arn), owner=ALT) as keys:
        refused("AccessDenied", 403, sts(keys).assume_role, RoleArn=arn, RoleSessionName="mine")
        refused("AccessDenied", 403, sts(keys).assume_role, RoleArn=arn, RoleSessionName="mine", ExternalId="other")
        answer = sts(keys).assume_role(RoleArn=arn, RoleSessionName="mine", ExternalId="between us")
        assert read(client(*temporary(answer)), bucket) == b"x"
        denied(read, client(keys), bucket)


@covers("PutBucketPolicy", "sts.AssumeRole")
def test_bucket_policies_name_roles_and_sessions(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with role(bucket, trust({"AWS": own_root()})) as arn, user(bucket, statement("sts:AssumeRole", resource=arn)) as keys:
        answer = sts(keys).assume_role(RoleArn=arn, RoleSessionName="mine")
        other = client(*temporary(answer))
        denied(read, other, bucket)
        for principal in [arn, answer["AssumedRoleUser"]["Arn"]]:
            s3.put_bucket_policy(Bucket=bucket, Policy=policy(
                {"Principal": {"AWS": principal}, "Action": "s3:GetObject", "Resource": objects_of(bucket)}))
            assert read(other, bucket) == b"x", principal
        s3.delete_bucket_policy(Bucket=bucket)
        denied(read, other, bucket)


@covers("sts.GetSessionToken")
def test_session_tokens_stand_for_the_user(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with user(bucket, statement("s3:GetObject", resource=objects_of(bucket))) as keys:
        temporary_keys, token = temporary(sts(keys).get_session_token(DurationSeconds=900))
        assert temporary_keys[0] != keys[0]
        other = client(temporary_keys, token)
        assert read(other, bucket) == b"x"
        denied(other.put_object, Bucket=bucket, Key="k")
        assert sts(temporary_keys, token).get_caller_identity()["Arn"] == sts(keys).get_caller_identity()["Arn"]
        iam().put_user_policy(UserName=bucket, PolicyName="deny", PolicyDocument=policy(statement("s3:*", Effect="Deny")))
        denied(read, other, bucket)
    refused(("InvalidAccessKeyId", "InvalidToken", "AccessDenied"), (400, 403), read, other, bucket)
    refused("ValidationError", 400, sts().get_session_token, DurationSeconds=129_601)


run(globals())
