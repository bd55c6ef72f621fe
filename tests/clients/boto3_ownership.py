"""Who owns what is written into a bucket, whether its ACLs count, and what keeps the public out."""

from _support import (ALL_USERS, ALT, anonymous, another, bucket_arn, client, covers, denied, objects_of, policy, raw,
                      refused, run, status_of, with_acls)

EVERYTHING = dict(BlockPublicAcls=True, IgnorePublicAcls=True, BlockPublicPolicy=True, RestrictPublicBuckets=True)


def controls(*kinds):
    return {"Rules": [{"ObjectOwnership": kind} for kind in kinds]}


def owned(s3, bucket, kind):
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=controls(kind))


def ownership(s3, bucket):
    return [one["ObjectOwnership"] for one in s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]]


def put(s3, bucket, key="k", **named):
    return s3.put_object(Bucket=bucket, Key=key, Body=b"x", **named)


def read(s3, bucket, key="k"):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def block(s3, bucket, **settings):
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={**dict.fromkeys(EVERYTHING, False), **settings})


def blocked(s3, bucket):
    return s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]


def public(bucket):
    return policy({"Principal": "*", "Action": "s3:GetObject", "Resource": objects_of(bucket)})


@covers("PutBucketOwnershipControls", "GetBucketOwnershipControls", "DeleteBucketOwnershipControls", "CreateBucket")
def test_ownership_is_given_at_creation_and_changed(s3, bucket):
    for number, kind in enumerate(["BucketOwnerPreferred", "ObjectWriter", "BucketOwnerEnforced"]):
        name = another(s3, bucket, f"n{number}", ObjectOwnership=kind)
        assert ownership(s3, name) == [kind]
    for kind in ["ObjectWriter", "BucketOwnerEnforced", "BucketOwnerPreferred"]:
        owned(s3, bucket, kind)
        assert ownership(s3, bucket) == [kind]
    for _ in range(2):
        assert status_of(s3.delete_bucket_ownership_controls(Bucket=bucket)) == 204
        refused("OwnershipControlsNotFoundError", 404, ownership, s3, bucket)


@covers("PutBucketOwnershipControls", "CreateBucket")
def test_ownership_that_is_none(s3, bucket):
    for kinds in [[], ["ObjectWriter", "BucketOwnerPreferred"], ["Everybody"], [""]]:
        refused("MalformedXML", 400, s3.put_bucket_ownership_controls, Bucket=bucket, OwnershipControls=controls(*kinds))
    refused("InvalidArgument", 400, s3.create_bucket, Bucket=bucket + "-x", ObjectOwnership="Everybody")
    refused("NoSuchBucket", 404, ownership, s3, bucket + "-absent")
    refused("NoSuchBucket", 404, owned, s3, bucket + "-absent", "ObjectWriter")
    status, _, body = raw("PUT", f"/{bucket}", query="ownershipControls=", body=b"<OwnershipControls>")
    assert (status, b"<Code>MalformedXML</Code>" in body) == (400, True), (status, body)


@covers("PutBucketAcl", "PutObjectAcl", "GetBucketAcl", "GetObjectAcl", "PutObject")
def test_where_the_owner_is_enforced_there_are_no_lists(s3, bucket):
    name = another(s3, bucket, "enforced", ObjectOwnership="BucketOwnerEnforced")
    put(s3, name)
    none = "AccessControlListNotSupported"
    refused(none, 400, s3.put_bucket_acl, Bucket=name, ACL="public-read")
    refused(none, 400, s3.put_object_acl, Bucket=name, Key="k", ACL="public-read")
    refused(none, 400, s3.put_bucket_acl, Bucket=name, GrantRead=f'id="{ALT.canonical_id}"')
    refused(none, 400, s3.put_bucket_acl, Bucket=name, ACL="private")
    refused(none, 400, s3.put_object_acl, Bucket=name, Key="k", ACL="private")
    refused(none, 400, put, s3, name, "new", ACL="private")
    refused(none, 400, put, s3, name, "new", ACL="public-read")
    refused(none, 400, put, s3, name, "new", GrantRead=f'id="{ALT.canonical_id}"')
    refused(none, 400, s3.create_multipart_upload, Bucket=name, Key="new", ACL="public-read")
    refused(none, 400, s3.copy_object, Bucket=name, Key="new", CopySource=f"{name}/k", ACL="public-read")
    put(s3, name, "full", ACL="bucket-owner-full-control")
    for acl in [s3.get_bucket_acl(Bucket=name), s3.get_object_acl(Bucket=name, Key="full")]:
        assert [one["Permission"] for one in acl["Grants"]] == ["FULL_CONTROL"]
        assert acl["Grants"][0]["Grantee"]["ID"] == acl["Owner"]["ID"]
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=name)["Contents"]] == ["full", "k"]


@covers("CreateBucket", "PutBucketOwnershipControls")
def test_a_shared_bucket_cannot_become_enforced(s3, bucket):
    wrong = ("InvalidBucketAclWithObjectOwnership", "InvalidBucketAclWithBlockPublicAccessError")
    refused(wrong, 400, s3.create_bucket, Bucket=bucket + "-x", ObjectOwnership="BucketOwnerEnforced", ACL="public-read")
    name = with_acls(s3, bucket)
    s3.put_bucket_acl(Bucket=name, ACL="public-read")
    refused("InvalidBucketAclWithObjectOwnership", 400, owned, s3, name, "BucketOwnerEnforced")
    assert ownership(s3, name) == ["ObjectWriter"]
    s3.put_bucket_acl(Bucket=name, ACL="private")
    owned(s3, name, "BucketOwnerEnforced")


@covers("PutObject", "PutBucketOwnershipControls", "GetObjectAcl")
def test_who_owns_what_others_write(s3, bucket):
    name, other, owner = with_acls(s3, bucket), client(ALT), s3.list_buckets()["Owner"]["ID"]
    s3.put_bucket_policy(Bucket=name, Policy=policy(
        {"Principal": {"AWS": ALT.arn}, "Action": ["s3:PutObject", "s3:PutObjectAcl"], "Resource": objects_of(name)}))
    full = dict(ACL="bucket-owner-full-control")
    owned(s3, name, "BucketOwnerPreferred")
    for named, expected in [({}, ALT.canonical_id), (full, owner)]:
        upload = dict(Bucket=name, Key="u", UploadId=other.create_multipart_upload(Bucket=name, Key="u", **named)["UploadId"])
        for found in [other.list_parts(**upload), s3.list_multipart_uploads(Bucket=name)["Uploads"][0]]:
            assert (found["Owner"]["ID"], found["Initiator"]["ID"]) == (expected, ALT.canonical_id)
        s3.abort_multipart_upload(**upload)
    owner_by_key = {}
    for kind in ["ObjectWriter", "BucketOwnerPreferred", "BucketOwnerEnforced"]:
        owned(s3, name, kind)
        put(other, name, f"{kind}/plain")
        put(other, name, f"{kind}/given", **full)
        owner_by_key |= {f"{kind}/plain": ALT.canonical_id, f"{kind}/given": ALT.canonical_id}
        if kind == "BucketOwnerPreferred":
            owner_by_key[f"{kind}/given"] = owner
    owned(s3, name, "ObjectWriter")
    listed = s3.list_objects_v2(Bucket=name, FetchOwner=True)["Contents"]
    found = {one["Key"]: one["Owner"]["ID"] for one in listed if not one["Key"].startswith("BucketOwnerEnforced")}
    assert found == {key: who for key, who in owner_by_key.items() if not key.startswith("BucketOwnerEnforced")}
    assert read(s3, name, "BucketOwnerPreferred/given") == b"x"
    denied(read, s3, name, "ObjectWriter/plain")
    owned(s3, name, "BucketOwnerEnforced")
    for key in owner_by_key:
        assert read(s3, name, key) == b"x", key
        denied(read, other, name, key)
    listed = s3.list_objects_v2(Bucket=name, FetchOwner=True)["Contents"]
    assert {one["Owner"]["ID"] for one in listed} == {owner}


@covers("PutBucketOwnershipControls", "GetObject")
def test_enforcing_the_owner_closes_what_lists_had_opened(s3, bucket):
    name = with_acls(s3, bucket)
    put(s3, name, ACL="public-read")
    assert read(anonymous(), name) == b"x"
    owned(s3, name, "BucketOwnerEnforced")
    denied(read, anonymous(), name)
    owned(s3, name, "ObjectWriter")
    assert read(anonymous(), name) == b"x"


@covers("PutPublicAccessBlock", "GetPublicAccessBlock", "DeletePublicAccessBlock")
def test_a_public_access_block_comes_back_and_goes(s3, bucket):
    for settings in [EVERYTHING, dict.fromkeys(EVERYTHING, False), {**EVERYTHING, "BlockPublicPolicy": False}]:
        block(s3, bucket, **settings)
        assert blocked(s3, bucket) == settings
    error = refused("InvalidRequest", 400, s3.put_public_access_block, Bucket=bucket, PublicAccessBlockConfiguration={})
    assert error["Error"]["Message"] == "Must specify at least one configuration."
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    assert blocked(s3, bucket) == {**dict.fromkeys(EVERYTHING, False), "BlockPublicAcls": True}
    for _ in range(2):
        assert status_of(s3.delete_public_access_block(Bucket=bucket)) == 204
        refused("NoSuchPublicAccessBlockConfiguration", 404, blocked, s3, bucket)
    refused("NoSuchBucket", 404, block, s3, bucket + "-absent")
    refused("NoSuchBucket", 404, blocked, s3, bucket + "-absent")


@covers("PutPublicAccessBlock")
def test_blocked_lists_are_refused_when_they_are_given(s3, bucket):
    name = with_acls(s3, bucket)
    put(s3, name, "before", ACL="public-read")
    block(s3, name, BlockPublicAcls=True)
    for canned in ["public-read", "public-read-write", "authenticated-read"]:
        denied(s3.put_bucket_acl, Bucket=name, ACL=canned)
        denied(s3.put_object_acl, Bucket=name, Key="before", ACL=canned)
        denied(put, s3, name, "new", ACL=canned)
    denied(put, s3, name, "new", GrantRead=f'uri="{ALL_USERS}"')
    put(s3, name, "new", ACL="private")
    put(s3, name, "granted", GrantRead=f'id="{ALT.canonical_id}"')
    assert read(anonymous(), name, "before") == b"x"


@covers("PutPublicAccessBlock", "GetObject")
def test_ignored_lists_stay_and_open_nothing(s3, bucket):
    name = with_acls(s3, bucket)
    s3.put_bucket_acl(Bucket=name, ACL="public-read")
    put(s3, name, ACL="public-read")
    block(s3, name, IgnorePublicAcls=True)
    denied(read, anonymous(), name)
    denied(anonymous().list_objects_v2, Bucket=name)
    put(s3, name, "new", ACL="public-read")
    denied(read, anonymous(), name, "new")
    assert ALL_USERS in str(s3.get_object_acl(Bucket=name, Key="k")["Grants"])
    put(s3, name, "granted", GrantRead=f'id="{ALT.canonical_id}"')
    assert read(client(ALT), name, "granted") == b"x"
    block(s3, name)
    assert read(anonymous(), name) == b"x"


@covers("PutPublicAccessBlock", "PutBucketPolicy")
def test_blocked_policies_are_refused_when_they_are_given(s3, bucket):
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=public(bucket))
    put(s3, bucket)
    block(s3, bucket, BlockPublicPolicy=True)
    denied(s3.put_bucket_policy, Bucket=bucket, Policy=public(bucket))
    assert read(anonymous(), bucket) == b"x"
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(
        {"Principal": {"AWS": ALT.arn}, "Action": "s3:GetObject", "Resource": objects_of(bucket)}))
    denied(read, anonymous(), bucket)
    assert read(client(ALT), bucket) == b"x"


@covers("PutPublicAccessBlock", "GetObject")
def test_a_restricted_bucket_with_a_public_policy_is_its_accounts_only(s3, bucket):
    s3.delete_public_access_block(Bucket=bucket)
    put(s3, bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=public(bucket))
    assert read(anonymous(), bucket) == b"x" == read(client(ALT), bucket)
    block(s3, bucket, RestrictPublicBuckets=True)
    denied(read, anonymous(), bucket)
    denied(read, client(ALT), bucket)
    assert read(s3, bucket) == b"x"
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(
        {"Principal": {"AWS": ALT.arn}, "Action": "s3:GetObject", "Resource": objects_of(bucket)}))
    assert read(client(ALT), bucket) == b"x"


@covers("PutPublicAccessBlock")
def test_blocks_and_controls_are_the_owners(s3, bucket):
    other = client(ALT)
    for call, named in [
        (other.get_public_access_block, {}), (other.delete_public_access_block, {}),
        (other.put_public_access_block, {"PublicAccessBlockConfiguration": EVERYTHING}),
        (other.get_bucket_ownership_controls, {}), (other.delete_bucket_ownership_controls, {}),
        (other.put_bucket_ownership_controls, {"OwnershipControls": controls("ObjectWriter")}),
    ]:
        denied(call, Bucket=bucket, **named)
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(
        {"Principal": {"AWS": ALT.arn}, "Action": ["s3:GetBucketPublicAccessBlock", "s3:PutBucketPublicAccessBlock"],
         "Resource": bucket_arn(bucket)}))
    block(other, bucket, **EVERYTHING)
    assert blocked(other, bucket) == EVERYTHING


run(globals())
