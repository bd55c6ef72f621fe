"""Access control lists: canned, by header and by XML, on buckets and objects, between accounts."""

from _support import (ALL_USERS, ALT, AUTHENTICATED_USERS, LOG_DELIVERY, TENANT, account_id, anonymous, client, content,
                      covers, denied, fetch, raw, refused, run, status_of, told, versioned, with_acls)

FULL = "FULL_CONTROL"
SCHEMA = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def owner_of(s3):
    return s3.list_buckets()["Owner"]["ID"]


def grants(acl):
    """(who, what) of each grant, in any order: an id or a group's address."""
    return sorted((one["Grantee"].get("ID") or one["Grantee"]["URI"], one["Permission"]) for one in acl["Grants"])


def canonical(id_, permission):
    return {"Grantee": {"Type": "CanonicalUser", "ID": id_}, "Permission": permission}


def group(uri, permission):
    return {"Grantee": {"Type": "Group", "URI": uri}, "Permission": permission}


def acp(s3, *entries):
    return {"Owner": {"ID": owner_of(s3)}, "Grants": list(entries)}


def read(s3, bucket, key="k", **named):
    return s3.get_object(Bucket=bucket, Key=key, **named)["Body"].read()


def put(s3, bucket, key="k", **named):
    return s3.put_object(Bucket=bucket, Key=key, Body=b"x", **named)


@covers("GetBucketAcl", "GetObjectAcl")
def test_what_nobody_shared_is_its_owners(s3, bucket):
    name, owner = with_acls(s3, bucket), owner_of(s3)
    put(s3, name)
    for acl in [s3.get_bucket_acl(Bucket=name), s3.get_object_acl(Bucket=name, Key="k")]:
        assert acl["Owner"]["ID"] == owner and grants(acl) == [(owner, FULL)]
        assert acl["Grants"][0]["Grantee"]["Type"] == "CanonicalUser"
    for other in [client(ALT), anonymous()]:
        for call, named in [(other.list_objects_v2, {}), (other.get_bucket_acl, {}), (other.get_object, {"Key": "k"}),
                            (other.get_object_acl, {"Key": "k"}), (other.put_object, {"Key": "k"}),
                            (other.delete_object, {"Key": "k"}), (other.head_bucket, {}), (other.head_object, {"Key": "k"})]:
            denied(call, Bucket=name, **named)
    refused("NoSuchBucket", 404, s3.get_bucket_acl, Bucket=name + "-absent")
    refused("NoSuchKey", 404, s3.get_object_acl, Bucket=name, Key="absent")
    refused("NoSuchKey", 404, s3.put_object_acl, Bucket=name, Key="absent", ACL="private")


CANNED = {
    "private": [],
    "public-read": [(ALL_USERS, "READ")],
    "public-read-write": [(ALL_USERS, "READ"), (ALL_USERS, "WRITE")],
    "authenticated-read": [(AUTHENTICATED_USERS, "READ")],
}


@covers("PutBucketAcl", "GetBucketAcl")
def test_canned_lists_of_buckets(s3, bucket):
    name, owner = with_acls(s3, bucket), owner_of(s3)
    for canned, more in {**CANNED, "log-delivery-write": [(LOG_DELIVERY, "READ_ACP"), (LOG_DELIVERY, "WRITE")]}.items():
        s3.put_bucket_acl(Bucket=name, ACL=canned)
        assert grants(s3.get_bucket_acl(Bucket=name)) == sorted([(owner, FULL), *more]), canned
    refused("InvalidArgument", 400, s3.put_bucket_acl, Bucket=name, ACL="public")
    refused("NoSuchBucket", 404, s3.put_bucket_acl, Bucket=name + "-absent", ACL="private")


@covers("CreateBucket")
def test_canned_lists_with_a_new_bucket(s3, bucket):
    name = f"{bucket}-new"
    refused("InvalidArgument", 400, s3.create_bucket, Bucket=name, ObjectOwnership="ObjectWriter", ACL="public")
    refused("NoSuchBucket", 404, s3.head_bucket, Bucket=name)
    owner = owner_of(s3)
    name = with_acls(s3, bucket, "read", GrantRead=f'id="{ALT.canonical_id}"', GrantFullControl=f'id="{owner}"')
    assert grants(s3.get_bucket_acl(Bucket=name)) == sorted([(ALT.canonical_id, "READ"), (owner, FULL)])
    assert client(ALT).list_objects_v2(Bucket=name)["KeyCount"] == 0


@covers("PutObjectAcl", "GetObjectAcl", "PutObject", "CopyObject", "CreateMultipartUpload")
def test_canned_lists_of_objects_by_every_kind_of_write(s3, bucket):
    name, owner = with_acls(s3, bucket), owner_of(s3)
    put(s3, name, "from")
    for canned, more in {**CANNED, "bucket-owner-read": [], "bucket-owner-full-control": []}.items():
        put(s3, name, "put", ACL=canned)
        s3.copy_object(Bucket=name, Key="copy", CopySource=f"{name}/from", ACL=canned)
        upload = dict(Bucket=name, Key="parts", UploadId=s3.create_multipart_upload(
            Bucket=name, Key="parts", ACL=canned)["UploadId"])
        parts = [{"PartNumber": 1, "ETag": s3.upload_part(PartNumber=1, Body=content(10), **upload)["ETag"]}]
        s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)
        s3.put_object_acl(Bucket=name, Key="from", ACL=canned)
        for key in ["put", "copy", "parts", "from"]:
            assert grants(s3.get_object_acl(Bucket=name, Key=key)) == sorted([(owner, FULL), *more]), (canned, key)
    refused("InvalidArgument", 400, put, s3, name, ACL="public")


@covers("PutObjectAcl", "GetObject")
def test_what_the_public_may_read_by_canned_lists(s3, bucket):
    name = with_acls(s3, bucket)
    put(s3, name, "public", ACL="public-read"), put(s3, name, "private")
    put(s3, name, "members", ACL="authenticated-read")
    nobody, other = anonymous(), client(ALT)
    assert read(nobody, name, "public") == b"x" == read(other, name, "public")
    assert fetch("GET", f"/{name}/public")[0] == 200 == fetch("HEAD", f"/{name}/public")[0]
    denied(read, nobody, name, "members")
    assert read(other, name, "members") == b"x"
    for who in [nobody, other]:
        denied(read, who, name, "private")
        denied(put, who, name, "public")
        denied(who.get_object_acl, Bucket=name, Key="public")
        denied(who.list_objects_v2, Bucket=name)
    s3.put_object_acl(Bucket=name, Key="public", ACL="private")
    denied(read, nobody, name, "public")


@covers("PutBucketAcl", "ListObjectsV2", "PutObject")
def test_what_the_public_may_do_in_an_open_bucket(s3, bucket):
    name, nobody = with_acls(s3, bucket), anonymous()
    put(s3, name, "private")
    s3.put_bucket_acl(Bucket=name, ACL="public-read")
    assert [one["Key"] for one in nobody.list_objects_v2(Bucket=name)["Contents"]] == ["private"]
    assert status_of(nobody.head_bucket(Bucket=name)) == 200
    denied(read, nobody, name, "private")
    refused("NoSuchKey", 404, read, nobody, name, "absent")
    denied(put, nobody, name, "new")
    s3.put_bucket_acl(Bucket=name, ACL="public-read-write")
    put(nobody, name, "new")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=name)["Contents"]] == ["new", "private"]
    denied(nobody.put_bucket_acl, Bucket=name, ACL="private")
    denied(nobody.delete_bucket, Bucket=name)
    s3.put_bucket_acl(Bucket=name, ACL="authenticated-read")
    denied(nobody.list_objects_v2, Bucket=name)
    assert client(ALT).list_objects_v2(Bucket=name)["KeyCount"] == 2
    denied(put, client(ALT), name, "other")


@covers("PutBucketAcl")
def test_each_permission_on_a_bucket_lets_others_do_so_much(s3, bucket):
    name, other, third = with_acls(s3, bucket), client(ALT), client(TENANT)
    put(s3, name)
    may = {
        "list": lambda who: who.list_objects_v2(Bucket=name),
        "uploads": lambda who: who.list_multipart_uploads(Bucket=name),
        "write": lambda who: put(who, name, "theirs"),
        "read list": lambda who: who.get_bucket_acl(Bucket=name),
        "read object": lambda who: read(who, name),
    }
    allowed = {"READ": {"list", "uploads"}, "WRITE": {"write"}, "READ_ACP": {"read list"}, "WRITE_ACP": set(),
               FULL: {"list", "uploads", "write", "read list"}}
    for permission, acts in allowed.items():
        own = canonical(owner_of(s3), FULL)
        s3.put_bucket_acl(Bucket=name, AccessControlPolicy=acp(s3, own, canonical(ALT.canonical_id, permission)))
        for act, do in may.items():
            do(other) if act in acts else denied(do, other)
            denied(do, third)
        new = acp(s3, own, canonical(ALT.canonical_id, permission), group(LOG_DELIVERY, "WRITE"))
        change = lambda: other.put_bucket_acl(Bucket=name, AccessControlPolicy=new)
        change() if permission in ("WRITE_ACP", FULL) else denied(change)
        shown = grants(s3.get_bucket_acl(Bucket=name))
        assert ((LOG_DELIVERY, "WRITE") in shown) == (permission in ("WRITE_ACP", FULL)), permission


@covers("PutObjectAcl")
def test_each_permission_on_an_object_lets_others_do_so_much(s3, bucket):
    name, other, third = with_acls(s3, bucket), client(ALT), client(TENANT)
    put(s3, name)
    may = {
        "read": lambda who: read(who, name),
        "head": lambda who: who.head_object(Bucket=name, Key="k"),
        "read list": lambda who: who.get_object_acl(Bucket=name, Key="k"),
        "write": lambda who: put(who, name),
        "delete": lambda who: who.delete_object(Bucket=name, Key="k"),
    }
    allowed = {"READ": {"read", "head"}, "READ_ACP": {"read list"}, "WRITE_ACP": set(), FULL: {"read", "head", "read list"}}
    for permission, acts in allowed.items():
        own = canonical(owner_of(s3), FULL)
        policy = acp(s3, own, canonical(ALT.canonical_id, permission))
        s3.put_object_acl(Bucket=name, Key="k", AccessControlPolicy=policy)
        for act, do in may.items():
            do(other) if act in acts else denied(do, other)
            denied(do, third)
        change = lambda: other.put_object_acl(Bucket=name, Key="k", AccessControlPolicy=acp(s3, own))
        change() if permission in ("WRITE_ACP", FULL) else denied(change)
        assert len(s3.get_object_acl(Bucket=name, Key="k")["Grants"]) == (1 if permission in ("WRITE_ACP", FULL) else 2)


@covers("PutObject", "PutObjectAcl", "PutBucketAcl")
def test_grants_by_header_in_every_form(s3, bucket):
    name, owner = with_acls(s3, bucket), owner_of(s3)
    sent = dict(GrantRead=f'id="{ALT.canonical_id}", uri="{ALL_USERS}"', GrantReadACP=f'emailAddress="{TENANT.email}"',
                GrantWriteACP=f"id={ALT.canonical_id}", GrantFullControl=f'id="{owner}"')
    wanted = sorted([(ALT.canonical_id, "READ"), (ALL_USERS, "READ"), (TENANT.canonical_id, "READ_ACP"),
                     (ALT.canonical_id, "WRITE_ACP"), (owner, FULL)])
    put(s3, name, **sent)
    assert grants(s3.get_object_acl(Bucket=name, Key="k")) == wanted
    put(s3, name, "later")
    s3.put_object_acl(Bucket=name, Key="later", **sent)
    assert grants(s3.get_object_acl(Bucket=name, Key="later")) == wanted
    s3.put_bucket_acl(Bucket=name, GrantWrite=f'uri="{AUTHENTICATED_USERS}"', **sent)
    assert grants(s3.get_bucket_acl(Bucket=name)) == sorted([*wanted, (AUTHENTICATED_USERS, "WRITE")])
    assert read(anonymous(), name) == b"x"


@covers("PutObjectAcl", "PutBucketAcl", "PutObject")
def test_grants_to_nobody_known_are_refused(s3, bucket):
    name = with_acls(s3, bucket)
    put(s3, name)
    calls = [lambda grant: s3.put_object_acl(Bucket=name, Key="k", GrantRead=grant),
             lambda grant: s3.put_bucket_acl(Bucket=name, GrantRead=grant), lambda grant: put(s3, name, GrantRead=grant)]
    for call in calls:
        refused("InvalidArgument", 400, call, f'id="{"0" * 64}"')
        refused("InvalidArgument", 400, call, 'id="short"')
        refused("InvalidArgument", 400, call, 'uri="http://acs.amazonaws.com/groups/global/Nobody"')
        refused("UnresolvableGrantByEmailAddress", 400, call, 'emailAddress="nobody@example.com"')
        refused("InvalidArgument", 400, call, 'name="alt"')
        refused("InvalidArgument", 400, call, "nonsense")
    for entry in [canonical("0" * 64, "READ"), group("http://example.com/everybody", "READ")]:
        refused("InvalidArgument", 400, s3.put_object_acl, Bucket=name, Key="k", AccessControlPolicy=acp(s3, entry))
    assert grants(s3.get_object_acl(Bucket=name, Key="k")) == [(owner_of(s3), FULL)]


@covers("PutObjectAcl")
def test_a_grant_by_email_is_kept_by_id(s3, bucket):
    name = with_acls(s3, bucket)
    put(s3, name)
    entry = {"Grantee": {"Type": "AmazonCustomerByEmail", "EmailAddress": ALT.email}, "Permission": "READ"}
    s3.put_object_acl(Bucket=name, Key="k", AccessControlPolicy=acp(s3, entry))
    assert grants(s3.get_object_acl(Bucket=name, Key="k")) == [(ALT.canonical_id, "READ")]
    assert read(client(ALT), name) == b"x"
    entry["Grantee"]["EmailAddress"] = "nobody@example.com"
    refused("UnresolvableGrantByEmailAddress", 400, s3.put_object_acl, Bucket=name, Key="k",
            AccessControlPolicy=acp(s3, entry))


@covers("PutObjectAcl", "PutBucketAcl")
def test_lists_are_given_in_one_way_only(s3, bucket):
    name = with_acls(s3, bucket)
    put(s3, name)
    grant = f'id="{ALT.canonical_id}"'
    policy = acp(s3, canonical(ALT.canonical_id, "READ"))
    for call, key in [(s3.put_bucket_acl, {}), (s3.put_object_acl, {"Key": "k"})]:
        refused("InvalidRequest", 400, call, Bucket=name, ACL="private", GrantRead=grant, **key)
        refused("UnexpectedContent", 400, call, Bucket=name, ACL="private", AccessControlPolicy=policy, **key)
        refused("UnexpectedContent", 400, call, Bucket=name, GrantRead=grant, AccessControlPolicy=policy, **key)
    refused("InvalidRequest", 400, put, s3, name, ACL="private", GrantRead=grant)
    for path in [f"/{name}", f"/{name}/k"]:
        status, _, body = raw("PUT", path, query="acl=")
        assert status == 400 and (b"<Code>MissingSecurityHeader<" in body or b"<Code>Malformed" in body), (status, body)


@covers("PutObjectAcl", "PutBucketAcl")
def test_xml_of_lists_that_is_malformed(s3, bucket):
    name, owner = with_acls(s3, bucket), owner_of(s3)
    put(s3, name)
    grantee = f'<Grantee {SCHEMA} xsi:type="CanonicalUser"><ID>{owner}</ID></Grantee>'
    grant = lambda inside: f"<AccessControlList><Grant>{inside}</Grant></AccessControlList>"
    own = f"<Owner><ID>{owner}</ID></Owner>"
    bodies = [
        grant(f"{grantee}<Permission>READ</Permission>"),
        "<Owner></Owner>" + grant(f"{grantee}<Permission>READ</Permission>"),
        own + grant(f"{grantee}<Permission>DELETE</Permission>"),
        own + grant(f"{grantee}<Permission></Permission>"),
        own + grant(grantee),
        own + grant("<Permission>READ</Permission>"),
        own + grant(f'<Grantee {SCHEMA} xsi:type="Robot"><ID>{owner}</ID></Grantee><Permission>READ</Permission>'),
    ]
    for body in bodies:
        for path in [f"/{name}", f"/{name}/k"]:
            status, _, answer = raw("PUT", path, query="acl=",
                                    body=f"<AccessControlPolicy>{body}</AccessControlPolicy>".encode())
            assert status == 400, (path, body, status, answer)
            assert b"<Code>MalformedACLError</Code>" in answer or b"<Code>MalformedXML</Code>" in answer, (body, answer)
    assert grants(s3.get_bucket_acl(Bucket=name)) == [(owner, FULL)] == grants(s3.get_object_acl(Bucket=name, Key="k"))


@covers("PutBucketAcl", "PutObjectAcl")
def test_lists_have_a_hundred_grants_at_most(s3, bucket):
    name, owner = with_acls(s3, bucket), owner_of(s3)
    put(s3, name)
    entries = [canonical(owner, permission) for permission in ["READ", "READ_ACP", "WRITE_ACP", FULL]] * 25
    s3.put_object_acl(Bucket=name, Key="k", AccessControlPolicy=acp(s3, *entries))
    assert {one[1] for one in grants(s3.get_object_acl(Bucket=name, Key="k"))} == {"READ", "READ_ACP", "WRITE_ACP", FULL}
    for call, key in [(s3.put_bucket_acl, {}), (s3.put_object_acl, {"Key": "k"})]:
        refused(("MalformedACLError", "InvalidRequest", "InvalidArgument", "MalformedXML"), 400, call, Bucket=name,
                AccessControlPolicy=acp(s3, *entries, canonical(owner, "READ")), **key)


@covers("PutObjectAcl", "GetObjectAcl", "PutBucketAcl")
def test_an_owner_cannot_lock_itself_out(s3, bucket):
    name, owner = with_acls(s3, bucket), owner_of(s3)
    put(s3, name)
    s3.put_object_acl(Bucket=name, Key="k", AccessControlPolicy=acp(s3))
    assert grants(s3.get_object_acl(Bucket=name, Key="k")) == []
    s3.put_object_acl(Bucket=name, Key="k", ACL="private")
    assert grants(s3.get_object_acl(Bucket=name, Key="k")) == [(owner, FULL)]
    s3.put_bucket_acl(Bucket=name, AccessControlPolicy=acp(s3, canonical(ALT.canonical_id, "READ")))
    assert grants(s3.get_bucket_acl(Bucket=name)) == [(ALT.canonical_id, "READ")]
    s3.put_bucket_acl(Bucket=name, ACL="private")
    assert grants(s3.get_bucket_acl(Bucket=name)) == [(owner, FULL)]


@covers("PutObject", "GetObjectAcl")
def test_who_writes_an_object_owns_it(s3, bucket):
    name, owner, other = with_acls(s3, bucket), owner_of(s3), client(ALT)
    s3.put_bucket_acl(Bucket=name, GrantWrite=f'id="{ALT.canonical_id}"', GrantFullControl=f'id="{owner}"')
    put(other, name, "private")
    put(other, name, "readable", ACL="bucket-owner-read")
    put(other, name, "given", ACL="bucket-owner-full-control")
    assert grants(other.get_object_acl(Bucket=name, Key="private")) == [(ALT.canonical_id, FULL)]
    denied(read, s3, name, "private")
    denied(s3.get_object_acl, Bucket=name, Key="private")
    assert grants(other.get_object_acl(Bucket=name, Key="readable")) == sorted([(ALT.canonical_id, FULL), (owner, "READ")])
    assert read(s3, name, "readable") == b"x"
    denied(s3.get_object_acl, Bucket=name, Key="readable")
    acl = s3.get_object_acl(Bucket=name, Key="given")
    assert acl["Owner"]["ID"] == ALT.canonical_id
    assert grants(acl) == sorted([(ALT.canonical_id, FULL), (owner, FULL)])
    assert read(s3, name, "given") == b"x"
    denied(read, client(TENANT), name, "given")
    owners = {one["Key"]: one["Owner"]["ID"] for one in s3.list_objects_v2(Bucket=name, FetchOwner=True)["Contents"]}
    assert owners == {"private": ALT.canonical_id, "readable": ALT.canonical_id, "given": ALT.canonical_id}
    s3.delete_object(Bucket=name, Key="private")
    refused("NoSuchKey", 404, s3.head_object, Bucket=name, Key="private")


@covers("ListParts", "AbortMultipartUpload")
def test_an_upload_is_for_who_began_it_and_for_the_buckets_owner(s3, bucket):
    name, other, third = with_acls(s3, bucket), client(ALT), client(TENANT)
    s3.put_bucket_acl(Bucket=name, ACL="public-read-write")
    # Who owns what stands under the key has no part in it.
    put(third, name)
    begin = lambda who: dict(Bucket=name, Key="k", UploadId=who.create_multipart_upload(Bucket=name, Key="k")["UploadId"])
    own, another, last = begin(s3), begin(other), begin(other)
    strangers = [(who, own) for who in [other, third, anonymous()]] + [(who, another) for who in [third, anonymous()]]
    for who, upload in strangers:
        denied(who.list_parts, **upload)
        denied(who.abort_multipart_upload, **upload)
    for who, upload in [(s3, own), (other, another), (s3, last)]:
        assert status_of(who.list_parts(**upload)) == 200
        who.abort_multipart_upload(**upload)
        refused("NoSuchUpload", 404, s3.list_parts, **upload)


@covers("PutObjectAcl", "GetObjectAcl")
def test_each_version_has_its_own_list(s3, bucket):
    name, owner, nobody = with_acls(s3, bucket), owner_of(s3), anonymous()
    versioned(s3, name)
    old, new = put(s3, name)["VersionId"], put(s3, name)["VersionId"]
    s3.put_object_acl(Bucket=name, Key="k", VersionId=old, ACL="public-read")
    shared = sorted([(owner, FULL), (ALL_USERS, "READ")])
    assert grants(s3.get_object_acl(Bucket=name, Key="k", VersionId=old)) == shared
    assert grants(s3.get_object_acl(Bucket=name, Key="k", VersionId=new)) == [(owner, FULL)]
    assert grants(s3.get_object_acl(Bucket=name, Key="k")) == [(owner, FULL)]
    assert read(nobody, name, VersionId=old) == b"x"
    denied(read, nobody, name)
    assert len(s3.list_object_versions(Bucket=name)["Versions"]) == 2
    marker = s3.delete_object(Bucket=name, Key="k")["VersionId"]
    refused("MethodNotAllowed", 405, s3.get_object_acl, Bucket=name, Key="k", VersionId=marker)
    refused("MethodNotAllowed", 405, s3.put_object_acl, Bucket=name, Key="k", VersionId=marker, ACL="private")
    refused("NoSuchKey", 404, s3.get_object_acl, Bucket=name, Key="k")


@covers("CopyObject", "PutObject")
def test_lists_are_not_copied_or_kept_on_overwrites(s3, bucket):
    name, owner = with_acls(s3, bucket), owner_of(s3)
    put(s3, name, "from", ACL="public-read")
    s3.copy_object(Bucket=name, Key="to", CopySource=f"{name}/from")
    assert grants(s3.get_object_acl(Bucket=name, Key="to")) == [(owner, FULL)]
    put(s3, name, "from")
    assert grants(s3.get_object_acl(Bucket=name, Key="from")) == [(owner, FULL)]


@covers("ListBuckets", "CreateBucket", "DeleteBucket")
def test_accounts_have_their_own_buckets(s3, bucket):
    other = client(ALT)
    assert bucket not in [one["Name"] for one in other.list_buckets()["Buckets"]]
    assert other.list_buckets()["Owner"]["ID"] == ALT.canonical_id
    refused("BucketAlreadyExists", 409, other.create_bucket, Bucket=bucket)
    denied(other.delete_bucket, Bucket=bucket)
    name = f"{bucket}-alt"
    other.create_bucket(Bucket=name)
    try:
        assert [one["Name"] for one in other.list_buckets(Prefix=name)["Buckets"]] == [name]
        assert name not in [one["Name"] for one in s3.list_buckets()["Buckets"]]
        denied(put, s3, name)
        denied(s3.list_objects_v2, Bucket=name)
        refused("BucketAlreadyExists", 409, s3.create_bucket, Bucket=name)
    finally:
        other.delete_bucket(Bucket=name)
    told(fetch("GET", "/"), 403, "AccessDenied")


@covers("HeadBucket", "GetBucketAcl")
def test_the_owner_that_a_request_expects_is_compared(s3, bucket):
    assert status_of(s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account_id())) == 200
    denied(s3.head_bucket, Bucket=bucket, ExpectedBucketOwner=ALT.id)
    denied(s3.get_bucket_acl, Bucket=bucket, ExpectedBucketOwner=ALT.id)
    put(s3, bucket)
    denied(s3.copy_object, Bucket=bucket, Key="to", CopySource=f"{bucket}/k", ExpectedSourceBucketOwner=ALT.id)


run(globals())
