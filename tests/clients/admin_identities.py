"""Users, groups, keys and policies by `sherd admin`, and what it says of who may do what; each change is looked at from
the other side, by IAM and S3."""

import pathlib

from _admin import admin, admin_refuses, run_admin
from _support import (ALT, WORK, anonymous, bucket_arn, client, denied, iam, objects_of, policy, raw, refused, run,
                      with_acls)

READ = {"Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}


def file_of(name, *statements):
    path = pathlib.Path(WORK) / f"{name}.json"
    path.write_text(policy(*statements))
    return str(path)


def explain(*arguments, allowed):
    told = admin("policy", "explain", *arguments, code=0 if allowed else 1)
    assert told["allowed"] == allowed, told
    return told


def about(action, resource):
    return "--action", action, "--resource", resource


def test_users_and_groups_are_made_shown_and_deleted(s3, bucket):
    made = admin("user", "create", bucket, "--path", "/team/")
    assert made["UserName"] == bucket and made["Arn"].endswith(f":user/team/{bucket}")
    assert iam().get_user(UserName=bucket)["User"]["UserId"] == made["UserId"]
    assert bucket in [one["UserName"] for one in admin("user", "list")]
    admin_refuses("EntityAlreadyExists", "user", "create", bucket)
    group = f"{bucket}-group"
    assert admin("group", "create", group)["GroupName"] == group
    admin("group", "add", group, bucket)
    admin("group", "attach", group, "AmazonS3ReadOnlyAccess")
    shown = admin("group", "show", group)
    assert [one["UserName"] for one in shown["Users"]] == [bucket]
    assert [one["PolicyName"] for one in shown["AttachedPolicies"]] == ["AmazonS3ReadOnlyAccess"]
    assert [one["GroupName"] for one in admin("user", "show", bucket)["Groups"]] == [group]
    admin_refuses("DeleteConflict", "group", "delete", group)
    admin("group", "remove", group, bucket)
    admin("group", "detach", group, "AmazonS3ReadOnlyAccess")
    admin("group", "add", group, bucket)
    admin("group", "delete", group, "--force")
    assert admin("user", "delete", bucket) == {}
    refused("NoSuchEntity", 404, iam().get_user, UserName=bucket)
    admin_refuses("NoSuchEntity", "user", "show", bucket)


def test_lists_have_all_pages(s3, bucket):
    names = [f"{bucket}-{number}" for number in range(5)]
    for name in names:
        admin("user", "create", name)
    assert set(names) <= {one["UserName"] for one in admin("user", "list")}
    _, table, _ = run_admin("user", "list")
    assert all(name in table for name in names) and table.startswith("NAME")
    for name in names:
        admin("user", "delete", name)


def test_keys_work_until_they_are_deactivated_or_deleted(s3, bucket):
    admin("user", "create", bucket)
    admin("user", "attach", bucket, "AmazonS3FullAccess")
    made = admin("key", "create", "--user", bucket)
    key, secret = made["AccessKeyId"], made["SecretAccessKey"]
    as_user = client((key, secret))
    as_user.put_object(Bucket=bucket, Key="k", Body=b"x")
    admin("key", "deactivate", key)
    refused("InvalidAccessKeyId", 403, as_user.get_object, Bucket=bucket, Key="k")
    assert [one["Status"] for one in admin("key", "list", "--user", bucket)] == ["Inactive"]
    admin("key", "activate", key)
    assert as_user.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    admin_refuses("DeleteConflict", "user", "delete", bucket)
    admin("key", "delete", key)
    refused("InvalidAccessKeyId", 403, as_user.get_object, Bucket=bucket, Key="k")
    admin_refuses("NoSuchEntity", "key", "delete", key)
    admin("key", "create", "--user", bucket)
    admin("user", "delete", bucket, "--force")
    refused("NoSuchEntity", 404, iam().list_access_keys, UserName=bucket)


def test_keys_of_a_root_are_its_accounts(s3, bucket):
    made = admin("key", "create", "--root", "--account", ALT.id)
    key = made["AccessKeyId"]
    try:
        client((key, made["SecretAccessKey"])).list_buckets()
        assert key in [one["AccessKeyId"] for one in admin("key", "list", "--root", "--account", ALT.id)]
        assert key not in [one["AccessKeyId"] for one in admin("key", "list", "--root")]
        admin_refuses("NoSuchEntity", "key", "delete", key)
    finally:
        admin("key", "delete", key, "--account", ALT.id)
    admin_refuses("NoSuchEntity", "user", "list", "--account", "999999999999")


def test_a_service_key_may_do_no_more_than_its_policy(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    admin("user", "create", bucket)
    admin("user", "attach", bucket, "AmazonS3FullAccess")
    limits = file_of("limits", READ)
    made = admin("key", "create", "--user", bucket, "--service", "reader", "--policy", limits, "--expires", "1d")
    assert made["Service"]["Name"] == "reader" and made["Service"]["ExpirationDate"]
    service = client((made["AccessKeyId"], made["SecretAccessKey"]))
    assert service.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    denied(service.put_object, Bucket=bucket, Key="k", Body=b"y")
    told = explain("--key", made["AccessKeyId"], *about("s3:PutObject", f"{bucket_arn(bucket)}/k"), allowed=False)
    assert "session" in told["reason"]
    explain("--user", bucket, *about("s3:PutObject", f"{bucket_arn(bucket)}/k"), allowed=True)
    [listed] = admin("key", "list", "--user", bucket)
    assert listed["Service"]["PolicyDocument"]["Statement"][0]["Action"] == READ["Action"]
    admin("user", "delete", bucket, "--force")


def test_policies_are_made_of_files_updated_and_deleted(s3, bucket):
    made = admin("policy", "create", bucket, file_of("one", READ), "--description", "To read")
    assert made["PolicyName"] == bucket and made["Description"] == "To read"
    admin_refuses("MalformedPolicyDocument", "policy", "create", f"{bucket}-bad", file_of("bad", {"Action": 7}))
    assert bucket in [one["PolicyName"] for one in admin("policy", "list")]
    names = [one["PolicyName"] for one in admin("policy", "list", "--all")]
    assert bucket in names and "AdministratorAccess" in names
    shown = admin("policy", "show", bucket)
    assert shown["PolicyVersion"]["Document"]["Statement"][0]["Action"] == READ["Action"]
    # Five versions are kept, and the oldest makes room.
    for number in range(7):
        statement = {**READ, "Sid": f"Number{number}"}
        assert admin("policy", "update", bucket, file_of("next", statement))["IsDefaultVersion"] is True
    shown = admin("policy", "show", made["Arn"])
    assert shown["PolicyVersion"]["Document"]["Statement"][0]["Sid"] == "Number6"
    assert len(iam().list_policy_versions(PolicyArn=made["Arn"])["Versions"]) == 5
    admin("user", "create", bucket)
    admin("user", "attach", bucket, bucket)
    assert [one["UserName"] for one in admin("policy", "show", bucket)["PolicyUsers"]] == [bucket]
    admin_refuses("DeleteConflict", "policy", "delete", bucket)
    assert len(iam().list_policy_versions(PolicyArn=made["Arn"])["Versions"]) == 5
    admin("user", "detach", bucket, bucket)
    admin("user", "delete", bucket)
    admin("policy", "delete", bucket)
    admin_refuses("no policy", "policy", "show", bucket)


def test_a_decision_is_explained_as_it_is_made(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="team=a")
    key, arn = f"{bucket_arn(bucket)}/k", bucket_arn(bucket)
    admin("user", "create", bucket)
    made = admin("key", "create", "--user", bucket)
    as_user = client((made["AccessKeyId"], made["SecretAccessKey"]))
    told = explain("--user", bucket, *about("s3:GetObject", key), allowed=False)
    assert "no policy of the identity" in told["reason"] and told["who"].endswith(f":user/{bucket}")
    assert told["object"]["tags"] == [["team", "a"]] and told["bucket"]["ownership"] == "BucketOwnerEnforced"
    denied(as_user.get_object, Bucket=bucket, Key="k")
    iam().put_user_policy(UserName=bucket, PolicyName="inline", PolicyDocument=policy({**READ, "Sid": "Reads"}))
    told = explain("--user", bucket, *about("s3:getobject", key), allowed=True)
    assert told["action"] == "s3:GetObject"
    assert told["statements"] == [{"place": "identity", "policy": f"{bucket}/inline", "sid": "Reads", "number": 1}]
    as_user.get_object(Bucket=bucket, Key="k")
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(
        {"Effect": "Allow", "Principal": {"AWS": ALT.id}, "Action": "s3:GetObject", "Resource": objects_of(bucket)},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": objects_of(bucket),
         "Condition": {"StringEquals": {"s3:ExistingObjectTag/team": "a"}}}))
    told = explain("--key", made["AccessKeyId"], *about("s3:GetObject", key), allowed=False)
    assert told["statements"] == [{"place": "bucket", "policy": "", "sid": None, "number": 2}]
    denied(as_user.get_object, Bucket=bucket, Key="k")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    explain("--key", made["AccessKeyId"], *about("s3:GetObject", key), allowed=True)
    told = explain("--key", ALT.access_key, *about("s3:GetObject", key), allowed=True)
    assert [one["place"] for one in told["statements"]] == ["bucket"]
    explain("--key", ALT.access_key, *about("s3:DeleteObject", key), allowed=False)
    # To read what is not there is to list.
    told = explain("--user", bucket, *about("s3:GetObject", f"{arn}/absent"), allowed=True)
    assert (told["action"], told["resource"], told["object"]) == ("s3:ListBucket", arn, None)
    explain("--key", ALT.access_key, *about("s3:GetObject", f"{arn}/absent"), allowed=False)
    s3.delete_bucket_policy(Bucket=bucket)
    admin("user", "delete", bucket, "--force")


def test_conditions_of_a_request_that_is_supposed_are_given(s3, bucket):
    admin("user", "create", bucket)
    from_inside = {"Action": "s3:ListBucket", "Resource": "*",
                   "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}, "StringLike": {"s3:prefix": "home/*"}}}
    iam().put_user_policy(UserName=bucket, PolicyName="inline", PolicyDocument=policy(from_inside))
    asked = "--user", bucket, *about("s3:ListBucket", bucket_arn(bucket)), "--condition"
    met = ["s3:prefix=home/a", "--condition", "aws:SourceIp=192.0.2.7"]
    explain(*asked, *met, allowed=True)
    explain(*asked, "s3:prefix=home/a", allowed=False)
    explain(*asked, "s3:prefix=home/a", "--condition", "aws:SourceIp=198.51.100.7", allowed=False)
    admin_refuses("leave it out", "policy", "explain", *asked, "aws:username=other")
    admin("user", "delete", bucket, "--force")


def test_what_the_public_may_do_is_explained(s3, bucket):
    name = with_acls(s3, bucket)
    s3.put_object(Bucket=name, Key="k", Body=b"x", ACL="public-read")
    asked = "--anonymous", *about("s3:GetObject", f"{bucket_arn(name)}/k")
    told = explain(*asked, allowed=True)
    assert "ACL of the object" in told["reason"] and told["object"]["has_acl"] and told["who"] == "anonymous"
    anonymous().get_object(Bucket=name, Key="k")
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    told = explain(*asked, allowed=False)
    assert told["bucket"]["public_access_block"]["ignore_public_acls"]
    denied(anonymous().get_object, Bucket=name, Key="k")
    s3.delete_public_access_block(Bucket=name)
    s3.put_bucket_policy(Bucket=name, Policy=policy(
        {"Principal": "*", "Action": "s3:ListBucket", "Resource": bucket_arn(name)}))
    listing = "--anonymous", *about("s3:ListBucket", bucket_arn(name))
    assert explain(*listing, allowed=True)["bucket"]["policy_is_public"]
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    assert "public access is restricted" in explain(*listing, allowed=False)["reason"]
    denied(anonymous().list_objects_v2, Bucket=name)


def test_what_makes_no_sense_is_not_explained(s3, bucket):
    for word, arguments in [
        ("not a known action", ["--anonymous", *about("s3:ReadObject", f"{bucket_arn(bucket)}/k")]),
        ("needs the ARN of an object", ["--anonymous", *about("s3:GetObject", bucket_arn(bucket))]),
        ("needs the ARN of a bucket", ["--anonymous", *about("s3:ListBucket", f"{bucket_arn(bucket)}/k")]),
        ("no bucket", ["--anonymous", *about("s3:ListBucket", f"{bucket_arn(bucket)}-absent")]),
        ("NoSuchEntity", ["--user", f"{bucket}-absent", *about("s3:ListBucket", bucket_arn(bucket))]),
        ("no such access key", ["--key", "AKIAABSENT", *about("s3:ListBucket", bucket_arn(bucket))]),
    ]:
        admin_refuses(word, "policy", "explain", *arguments)
    code, _, _ = run_admin("policy", "explain", *about("s3:ListBucket", bucket_arn(bucket)))
    assert code == 2, "nobody was named"


def test_a_root_may_and_needs_no_policy(s3, bucket):
    told = explain("--key", ALT.access_key, *about("s3:CreateBucket", bucket_arn(f"{bucket}-new")), allowed=True)
    assert told["who"] == ALT.arn and "root" in told["reason"]
    assert raw("GET", "/", keys=ALT)[0] == 200
    explain("--key", ALT.access_key, *about("s3:ListAllMyBuckets", "arn:aws:s3:::*"), allowed=True)


run(globals())
