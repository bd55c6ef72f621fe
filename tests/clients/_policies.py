"""What the scripts about bucket policies share."""

from _support import ALT, another, bucket_arn, objects_of, policy


def impose(s3, bucket, *statements):
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(*statements))


def to(account, *actions, resource, **more):
    """A statement for one account."""
    return {"Principal": {"AWS": account.arn}, "Action": list(actions), "Resource": resource, **more}


def to_all(*actions, resource, **more):
    return {"Principal": "*", "Action": list(actions), "Resource": resource, **more}


def read(s3, bucket, key="k", **named):
    return s3.get_object(Bucket=bucket, Key=key, **named)["Body"].read()


def put(s3, bucket, key="k", **named):
    return s3.put_object(Bucket=bucket, Key=key, Body=b"x", **named)


def public_bucket(s3, bucket, suffix="public"):
    """A bucket that may have public policies."""
    name = another(s3, bucket, suffix)
    s3.delete_public_access_block(Bucket=name)
    return name


def under(s3, bucket, condition, *actions, resource=None):
    """Allows the account alt these actions under a condition only."""
    resource = resource or [bucket_arn(bucket), objects_of(bucket)]
    if len(actions) == 1:
        resource = bucket_arn(bucket) if "List" in actions[0] else objects_of(bucket)
    impose(s3, bucket, to(ALT, *actions, resource=resource, Condition=condition))
