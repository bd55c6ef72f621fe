"""Conditions in bucket policies: on requests, on those who make them, on tags, lists, encryption and time."""

import datetime
import urllib.error
import urllib.request

from _policies import impose, public_bucket, put, read, to, to_all, under
from _support import (ALT, ENDPOINT, REGION, TENANT, another, bucket_arn, client, covers, denied, fetch, objects_of, raw, run,
                      soon, told, with_acls)


@covers("ListObjects", "ListObjectsV2", "ListObjectVersions")
def test_conditions_on_what_is_listed(s3, bucket):
    other = client(ALT)
    put(s3, bucket, "public/1"), put(s3, bucket, "private/1")
    under(s3, bucket, {"StringEquals": {"s3:prefix": ["public/", "open/"]}}, "s3:ListBucket")
    for call in [other.list_objects, other.list_objects_v2]:
        assert [one["Key"] for one in call(Bucket=bucket, Prefix="public/")["Contents"]] == ["public/1"]
        assert "Contents" not in call(Bucket=bucket, Prefix="open/")
        for named in [{}, {"Prefix": "private/"}, {"Prefix": "public/1"}, {"Prefix": ""}]:
            denied(call, Bucket=bucket, **named)
    denied(other.list_object_versions, Bucket=bucket, Prefix="public/")
    under(s3, bucket, {"StringLike": {"s3:prefix": "public/*"}}, "s3:ListBucket")
    other.list_objects_v2(Bucket=bucket, Prefix="public/1")
    under(s3, bucket, {"StringEquals": {"s3:delimiter": "/", "s3:prefix": ""}}, "s3:ListBucket")
    assert len(other.list_objects_v2(Bucket=bucket, Prefix="", Delimiter="/")["CommonPrefixes"]) == 2
    denied(other.list_objects_v2, Bucket=bucket, Prefix="", Delimiter="-")
    under(s3, bucket, {"NumericLessThanEquals": {"s3:max-keys": "2"}}, "s3:ListBucket")
    other.list_objects_v2(Bucket=bucket, MaxKeys=2), other.list_objects(Bucket=bucket, MaxKeys=1)
    denied(other.list_objects_v2, Bucket=bucket, MaxKeys=3)
    denied(other.list_objects_v2, Bucket=bucket)


@covers("GetObject")
def test_conditions_on_where_a_request_comes_from(s3, bucket):
    other = client(ALT)
    put(s3, bucket)
    here, away = ["127.0.0.0/8", "::1/128"], ["10.11.12.0/24", "2001:db8::/32"]
    for condition, allowed in [
        ({"IpAddress": {"aws:SourceIp": here}}, True), ({"IpAddress": {"aws:SourceIp": away}}, False),
        ({"NotIpAddress": {"aws:SourceIp": away}}, True), ({"NotIpAddress": {"aws:SourceIp": here}}, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, ENDPOINT.startswith("http:")),
        ({"Bool": {"aws:SecureTransport": "true"}}, ENDPOINT.startswith("https:")),
        ({"StringLike": {"aws:UserAgent": "*Boto3*"}}, True), ({"StringLike": {"aws:UserAgent": "robot*"}}, False),
        ({"StringEquals": {"aws:PrincipalAccount": ALT.id}}, True),
        ({"StringEquals": {"aws:PrincipalAccount": TENANT.id}}, False),
        ({"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{ALT.id}:*"}}, True),
        ({"ArnEquals": {"aws:PrincipalArn": TENANT.arn}}, False),
        ({"StringEquals": {"s3:authType": "REST-HEADER"}}, True),
        ({"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}, False),
        ({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}, True),
        ({"StringEquals": {"aws:SourceVpce": "vpce-1"}}, False), ({"Null": {"aws:SourceVpce": "true"}}, True),
        ({"StringEqualsIfExists": {"aws:SourceVpce": "vpce-1"}}, True),
        ({"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}, True),
    ]:
        under(s3, bucket, condition, "s3:GetObject")
        if allowed:
            assert read(other, bucket) == b"x", condition
        else:
            denied(read, other, bucket)


@covers("GetObject")
def test_conditions_on_the_time(s3, bucket):
    other = client(ALT)
    put(s3, bucket)
    text = lambda seconds: soon(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
    now = int(datetime.datetime.now().timestamp())
    for condition, allowed in [
        ({"DateGreaterThan": {"aws:CurrentTime": text(-3600)}, "DateLessThan": {"aws:CurrentTime": text(3600)}}, True),
        ({"DateLessThan": {"aws:CurrentTime": text(-3600)}}, False),
        ({"DateGreaterThanEquals": {"aws:CurrentTime": text(3600)}}, False),
        ({"NumericLessThan": {"aws:EpochTime": str(now + 3600)}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": text(-3600)}, "Bool": {"aws:SecureTransport": "true"}},
         ENDPOINT.startswith("https:")),
    ]:
        under(s3, bucket, condition, "s3:GetObject")
        if allowed:
            assert read(other, bucket) == b"x", condition
        else:
            denied(read, other, bucket)


@covers("GetObject")
def test_conditions_on_the_referer(s3, bucket):
    name = public_bucket(s3, bucket)
    put(s3, name)
    impose(s3, name, to_all("s3:GetObject", resource=objects_of(name), Condition={
        "StringLike": {"aws:Referer": ["http://www.example.com/*", "http://example.com/*"]}}))
    for headers, wanted in [({"Referer": "http://example.com/a.html"}, 200), ({"referer": "http://www.example.com/"}, 200),
                            ({"Referer": "http://example.org/"}, 403), ({}, 403)]:
        assert fetch("GET", f"/{name}/k", headers)[0] == wanted, headers


@covers("GetObject")
def test_conditions_on_how_a_request_is_signed(s3, bucket):
    put(s3, bucket)
    url = client(signature_version="s3v4").generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert urllib.request.urlopen(url).read() == b"x"
    deny = lambda condition: impose(s3, bucket,
                                    to_all("s3:*", resource=objects_of(bucket), Effect="Deny", Condition=condition))
    for condition in [{"StringNotEquals": {"s3:authType": "REST-HEADER"}},
                      {"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}]:
        deny(condition)
        assert read(s3, bucket) == b"x"
        try:
            urllib.request.urlopen(url)
            raise AssertionError(condition)
        except urllib.error.HTTPError as error:
            assert error.code == 403 and b"<Code>AccessDenied</Code>" in error.read()
    deny({"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}})
    assert urllib.request.urlopen(url).read() == b"x"
    deny({"NumericGreaterThan": {"s3:signatureAge": "600000"}})
    assert urllib.request.urlopen(url).read() == b"x"


@covers("GetObject")
def test_conditions_on_the_version_of_tls(s3, bucket):
    other = client(ALT)
    put(s3, bucket)
    for condition, allowed in [({"NumericGreaterThanEquals": {"s3:TlsVersion": "1.2"}}, ENDPOINT.startswith("https:")),
                               ({"NumericLessThan": {"s3:TlsVersion": "1.2"}}, False)]:
        under(s3, bucket, condition, "s3:GetObject")
        if allowed:
            assert read(other, bucket) == b"x", condition
        else:
            denied(read, other, bucket)


@covers("GetObject", "GetObjectTagging", "PutObjectTagging", "GetObjectAcl")
def test_conditions_on_tags_that_an_object_has(s3, bucket):
    other = client(ALT)
    put(s3, bucket, "yes", Tagging="security=public&a=1"), put(s3, bucket, "no", Tagging="security=private")
    put(s3, bucket, "none")
    may = {
        "s3:GetObject": lambda key: read(other, bucket, key),
        "s3:GetObjectTagging": lambda key: other.get_object_tagging(Bucket=bucket, Key=key),
        "s3:GetObjectAcl": lambda key: other.get_object_acl(Bucket=bucket, Key=key),
        "s3:PutObjectTagging": lambda key: other.put_object_tagging(
            Bucket=bucket, Key=key, Tagging={"TagSet": [{"Key": "security", "Value": "public"}]}),
    }
    for action, do in may.items():
        under(s3, bucket, {"StringEquals": {"s3:ExistingObjectTag/security": "public"}}, action)
        do("yes")
        denied(do, "no")
        denied(do, "none")
    s3.put_object_tagging(Bucket=bucket, Key="yes", Tagging={"TagSet": [{"Key": "security", "Value": "private"}]})
    under(s3, bucket, {"StringEquals": {"s3:ExistingObjectTag/security": "public"}}, "s3:GetObject")
    denied(read, other, bucket, "yes")


@covers("PutObject", "PutObjectTagging", "CopyObject")
def test_conditions_on_tags_that_a_request_gives(s3, bucket):
    other = client(ALT)
    put(s3, bucket)
    tag = lambda **pairs: other.put_object_tagging(Bucket=bucket, Key="k", Tagging={
        "TagSet": [{"Key": key, "Value": value} for key, value in pairs.items()]})
    both = "s3:PutObject", "s3:PutObjectTagging"
    on = dict(resource=objects_of(bucket))
    under(s3, bucket, {"StringEquals": {"s3:RequestObjectTag/security": "public"}}, *both, **on)
    put(other, bucket, "new", Tagging="security=public")
    tag(security="public", a="1")
    for text in ["security=private", "a=1"]:
        denied(put, other, bucket, "new", Tagging=text)
    denied(put, other, bucket, "new")
    denied(tag, security="private")
    under(s3, bucket, {"ForAllValues:StringLike": {"s3:RequestObjectTagKeys": ["Owner", "Creation*"]}}, *both, **on)
    tag(Owner="1", CreationDate="2")
    denied(tag, Owner="1", Other="2")
    under(s3, bucket, {"ForAnyValue:StringEquals": {"s3:RequestObjectTagKeys": ["Owner"]}}, *both, **on)
    tag(Owner="1", Other="2")
    denied(tag, Other="2")


@covers("PutObject", "CopyObject", "CreateMultipartUpload")
def test_conditions_on_the_list_that_a_write_gives(s3, bucket):
    name, other = with_acls(s3, bucket), client(ALT)
    own = s3.list_buckets()["Owner"]["ID"]
    actions = "s3:PutObject", "s3:PutObjectAcl"
    under(s3, name, {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}, *actions, resource=objects_of(name))
    put(other, name, ACL="bucket-owner-full-control")
    denied(put, other, name)
    denied(put, other, name, ACL="private")
    denied(other.create_multipart_upload, Bucket=name, Key="k")
    other.put_object_acl(Bucket=name, Key="k", ACL="bucket-owner-full-control")
    impose(s3, name, to(ALT, *actions, resource=objects_of(name)), to(
        ALT, "s3:PutObject", resource=objects_of(name), Effect="Deny",
        Condition={"StringLike": {"s3:x-amz-acl": "public*"}}))
    put(other, name)
    denied(put, other, name, ACL="public-read")
    under(s3, name, {"StringEquals": {"s3:x-amz-grant-full-control": f"id={own}"}}, *actions, resource=objects_of(name))
    put(other, name, GrantFullControl=f"id={own}")
    denied(put, other, name)
    assert read(s3, name) == b"x"


@covers("PutObject")
def test_conditions_on_encryption_that_a_write_asks_for(s3, bucket):
    other = client(ALT)
    deny = lambda condition: to(ALT, "s3:PutObject", resource=objects_of(bucket), Effect="Deny", Condition=condition)
    impose(s3, bucket, to(ALT, "s3:PutObject", resource=objects_of(bucket)),
           deny({"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}),
           deny({"Null": {"s3:x-amz-server-side-encryption": "true"}}))
    denied(put, other, bucket)
    denied(other.create_multipart_upload, Bucket=bucket, Key="k")
    put(other, bucket, ServerSideEncryption="AES256")
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"
    impose(s3, bucket, to_all("s3:PutObject", resource=objects_of(bucket), Effect="Deny", Condition={
        "Null": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "true"}}))
    denied(put, s3, bucket, ServerSideEncryption="aws:kms")
    headers = {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": ""}
    told(raw("PUT", f"/{bucket}/k", b"x", headers=headers), 403, "AccessDenied")
    put(s3, bucket, ServerSideEncryption="aws:kms", SSEKMSKeyId="alias/aws/s3")


@covers("PutObject", "DeleteObject", "DeleteObjects")
def test_conditions_on_preconditions(s3, bucket):
    other = client(ALT)
    impose(s3, bucket, to(ALT, "s3:PutObject", "s3:GetObject", "s3:DeleteObject", resource=objects_of(bucket)),
           to(ALT, "s3:PutObject", resource=objects_of(bucket), Effect="Deny",
              Condition={"Null": {"s3:if-none-match": "true"}}),
           to(ALT, "s3:DeleteObject", resource=objects_of(bucket), Effect="Deny",
              Condition={"Null": {"s3:if-match": "true"}}))
    denied(put, other, bucket)
    denied(put, other, bucket, IfNoneMatch='"another"')
    tag = put(other, bucket, IfNoneMatch="*")["ETag"]
    denied(put, other, bucket, IfNoneMatch='"another"')
    denied(other.delete_object, Bucket=bucket, Key="k")
    delete = lambda **of: other.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", **of}]})
    assert [error["Code"] for error in delete()["Errors"]] == ["AccessDenied"]
    assert "Errors" not in delete(ETag=tag)
    tag = put(other, bucket, IfNoneMatch="*")["ETag"]
    other.delete_object(Bucket=bucket, Key="k", IfMatch=tag)


@covers("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "CopyObject")
def test_conditions_on_preconditions_can_leave_parts_of_uploads_out(s3, bucket):
    other = client(ALT)
    impose(s3, bucket, to(ALT, "s3:PutObject", "s3:GetObject", resource=objects_of(bucket)),
           to(ALT, "s3:PutObject", resource=objects_of(bucket), Effect="Deny",
              Condition={"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}))
    upload = dict(Bucket=bucket, Key="k", UploadId=other.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"])
    parts = [{"PartNumber": 1, "ETag": other.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]}]
    denied(other.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts})
    other.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    denied(put, other, bucket, "another")
    denied(other.copy_object, Bucket=bucket, Key="another", CopySource=f"{bucket}/k")


@covers("PutObject", "DeleteObject", "DeleteObjects")
def test_who_compares_with_what_is_there_must_be_able_to_read_it(s3, bucket):
    other = client(ALT)
    impose(s3, bucket, to(ALT, "s3:PutObject", "s3:DeleteObject", resource=objects_of(bucket)))
    tag = put(s3, bucket)["ETag"]
    denied(put, other, bucket, IfMatch=tag)
    denied(other.delete_object, Bucket=bucket, Key="k", IfMatch=tag)
    delete = lambda **of: other.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", **of}]})
    assert [error["Code"] for error in delete(ETag=tag)["Errors"]] == ["AccessDenied"]
    other.delete_object(Bucket=bucket, Key="k", IfMatch="*")
    put(other, bucket, IfNoneMatch="*")
    impose(s3, bucket, to(ALT, "s3:PutObject", "s3:GetObject", "s3:DeleteObject", resource=objects_of(bucket)))
    put(s3, bucket)
    tag = put(other, bucket, IfMatch=tag)["ETag"]
    assert "Errors" not in delete(ETag=tag)


@covers("CopyObject")
def test_conditions_on_the_source_of_a_copy(s3, bucket):
    other, source = client(ALT), another(s3, bucket, "source")
    for key in ["public/k", "private/k"]:
        put(s3, source, key)
    impose(s3, source, to(ALT, "s3:GetObject", "s3:ListBucket", resource=[bucket_arn(source), objects_of(source)]))
    copy = lambda key, **named: other.copy_object(Bucket=bucket, Key="to", CopySource=f"{source}/{key}", **named)
    denied(copy, "public/k")
    under(s3, bucket, {"StringLike": {"s3:x-amz-copy-source": f"{source}/public/*"}}, "s3:PutObject")
    copy("public/k")
    denied(copy, "private/k")
    denied(put, other, bucket, "to")
    impose(s3, bucket, to(ALT, "s3:PutObject", resource=objects_of(bucket)), to(
        ALT, "s3:PutObject", resource=objects_of(bucket), Effect="Deny",
        Condition={"StringLike": {"s3:x-amz-copy-source": f"{source}/private/*"}}))
    copy("public/k")
    for spelled in [f"{source}/private/k", f"/{source}/private/k", f"{source}/%70rivate/k", f"{source}%2Fprivate%2Fk"]:
        told(raw("PUT", f"/{bucket}/to", headers={"x-amz-copy-source": spelled}, keys=ALT), 403, "AccessDenied")
    under(s3, bucket, {"StringEquals": {"s3:x-amz-metadata-directive": "COPY"}}, "s3:PutObject")
    copy("private/k", MetadataDirective="COPY")
    denied(copy, "private/k")
    denied(copy, "private/k", MetadataDirective="REPLACE")


@covers("PutObjectRetention", "PutObjectLegalHold")
def test_conditions_on_the_lock_that_a_request_gives(s3, bucket):
    name = another(s3, bucket, "lock", ObjectLockEnabledForBucket=True)
    put(s3, name)
    deny = lambda action, condition: impose(s3, name,
                                            to_all(action, resource=objects_of(name), Effect="Deny", Condition=condition))
    retain = lambda days, mode="GOVERNANCE": s3.put_object_retention(
        Bucket=name, Key="k", BypassGovernanceRetention=True,
        Retention={"Mode": mode, "RetainUntilDate": soon(days * 24 * 60 * 60)})
    deny("s3:PutObjectRetention", {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}})
    retain(5)
    denied(retain, 12)
    deny("s3:PutObjectRetention", {"StringEquals": {"s3:object-lock-mode": "COMPLIANCE"}})
    retain(6)
    denied(retain, 7, "COMPLIANCE")
    hold = lambda status: s3.put_object_legal_hold(Bucket=name, Key="k", LegalHold={"Status": status})
    deny("s3:PutObjectLegalHold", {"StringEquals": {"s3:object-lock-legal-hold": "ON"}})
    hold("OFF")
    denied(hold, "ON")
    s3.delete_bucket_policy(Bucket=name)


@covers("PutObject", "PutBucketTagging", "PutBucketInventoryConfiguration")
def test_conditions_on_what_a_request_gives_besides(s3, bucket):
    deny = lambda action, resource, condition: impose(s3, bucket,
                                                      to_all(action, resource=resource, Effect="Deny", Condition=condition))
    deny("s3:PutObject", objects_of(bucket), {"Null": {"s3:x-amz-website-redirect-location": "false"}})
    put(s3, bucket)
    denied(put, s3, bucket, WebsiteRedirectLocation="/elsewhere")
    tag = lambda team: s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": team}]})
    deny("s3:PutBucketTagging", bucket_arn(bucket), {"StringEquals": {"aws:RequestTag/team": "red"}})
    tag("blue")
    denied(tag, "red")
    report = lambda *fields: s3.put_bucket_inventory_configuration(Bucket=bucket, Id="i", InventoryConfiguration={
        "Id": "i", "IsEnabled": False, "IncludedObjectVersions": "Current", "Schedule": {"Frequency": "Weekly"},
        "OptionalFields": list(fields),
        "Destination": {"S3BucketDestination": {"Bucket": bucket_arn(bucket), "Format": "CSV"}}})
    deny("s3:PutInventoryConfiguration", bucket_arn(bucket),
         {"ForAnyValue:StringEquals": {"s3:InventoryAccessibleOptionalFields": "ETag"}})
    report("Size")
    denied(report, "Size", "ETag")


@covers("GetObject")
def test_conditions_on_the_region_that_a_request_is_signed_for(s3, bucket):
    put(s3, bucket)
    impose(s3, bucket, to_all("s3:GetObject", resource=objects_of(bucket), Effect="Deny",
                              Condition={"StringNotEquals": {"aws:RequestedRegion": REGION}}))
    assert read(s3, bucket) == b"x"
    elsewhere = client(region_name="ap-south-1", signature_version="s3v4")
    denied(read, elsewhere, bucket)
    url = elsewhere.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    try:
        urllib.request.urlopen(url)
        raise AssertionError(url)
    except urllib.error.HTTPError as error:
        assert error.code == 403


run(globals())
