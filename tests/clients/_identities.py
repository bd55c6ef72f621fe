"""What the scripts about identities share: users, groups, roles and policies that are gone after a test."""

import contextlib

from _support import account_id, iam, policy

PATH = "/clients/"


def statement(*actions, resource="*", **more):
    return {"Action": list(actions), "Resource": resource, **more}


def trust(principal, **more):
    return policy({"Principal": principal, "Action": "sts:AssumeRole", **more})


def own_root():
    return f"arn:aws:iam::{account_id()}:root"


@contextlib.contextmanager
def user(name, *statements, owner=None):
    """A user with an inline policy of these statements, and its key; it is gone afterwards."""
    admin = iam(owner)
    admin.create_user(UserName=name, Path=PATH)
    try:
        if statements:
            admin.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=policy(*statements))
        key = admin.create_access_key(UserName=name)["AccessKey"]
        yield key["AccessKeyId"], key["SecretAccessKey"]
    finally:
        remove_user(admin, name)


def remove_user(admin, name):
    for key in admin.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        admin.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    for one in admin.list_user_policies(UserName=name)["PolicyNames"]:
        admin.delete_user_policy(UserName=name, PolicyName=one)
    for one in admin.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
        admin.detach_user_policy(UserName=name, PolicyArn=one["PolicyArn"])
    for one in admin.list_groups_for_user(UserName=name)["Groups"]:
        admin.remove_user_from_group(GroupName=one["GroupName"], UserName=name)
    admin.delete_user(UserName=name)


@contextlib.contextmanager
def managed(name, *statements):
    """A managed policy's ARN."""
    admin = iam()
    arn = admin.create_policy(PolicyName=name, Path=PATH, PolicyDocument=policy(*statements))["Policy"]["Arn"]
    try:
        yield arn
    finally:
        for version in admin.list_policy_versions(PolicyArn=arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                admin.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
        admin.delete_policy(PolicyArn=arn)


@contextlib.contextmanager
def role(name, trusted, *statements, **settings):
    """A role's ARN."""
    admin = iam()
    arn = admin.create_role(RoleName=name, Path=PATH, AssumeRolePolicyDocument=trusted, **settings)["Role"]["Arn"]
    try:
        if statements:
            admin.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy(*statements))
        yield arn
    finally:
        for one in admin.list_role_policies(RoleName=name)["PolicyNames"]:
            admin.delete_role_policy(RoleName=name, PolicyName=one)
        for one in admin.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
            admin.detach_role_policy(RoleName=name, PolicyArn=one["PolicyArn"])
        admin.delete_role(RoleName=name)


@contextlib.contextmanager
def group(name, *members):
    admin = iam()
    admin.create_group(GroupName=name, Path=PATH)
    try:
        for one in members:
            admin.add_user_to_group(GroupName=name, UserName=one)
        yield name
    finally:
        for one in admin.get_group(GroupName=name)["Users"]:
            admin.remove_user_from_group(GroupName=name, UserName=one["UserName"])
        for one in admin.list_group_policies(GroupName=name)["PolicyNames"]:
            admin.delete_group_policy(GroupName=name, PolicyName=one)
        for one in admin.list_attached_group_policies(GroupName=name)["AttachedPolicies"]:
            admin.detach_group_policy(GroupName=name, PolicyArn=one["PolicyArn"])
        admin.delete_group(GroupName=name)


def temporary(answer):
    """Keys and token of an answer of sts."""
    found = answer["Credentials"]
    return (found["AccessKeyId"], found["SecretAccessKey"]), found["SessionToken"]


def read(s3, bucket, key="k"):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
