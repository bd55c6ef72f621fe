"""The worst legal input of each operation: what a tenant asks for to cost the most. `cases` yields (operation, what is bad
about it, a function from a number to the request)."""

import base64
import hashlib

import documents
from client import Request, query_of
from world import DELETES, FORM, digest, form

KIB = 1 << 10
# What a request may have before its body, less what it has anyhow.
HEAD_BYTES = 30 * KIB
SMALL, TAGS, CORS, WEBSITE, POLICY = 64 * KIB, 128 * KIB, 64 * KIB, 256 * KIB, 256 * KIB
NOTIFICATION, LIFECYCLE, LIST = 512 * KIB, KIB * KIB, 4 * KIB * KIB

# Operations whose body is XML: the subresource, the root, an element of its list, the bound of the body.
CONFIGURATIONS = {
    "PutBucketAccelerateConfiguration": ("accelerate", "AccelerateConfiguration", "<Status>Enabled</Status>", SMALL),
    "PutBucketAcl": ("acl", "AccessControlPolicy", "<Grant><Permission>READ</Permission></Grant>", TAGS),
    "PutBucketAnalyticsConfiguration": ("analytics", "AnalyticsConfiguration", "<Tag><Key>k</Key><Value>v</Value></Tag>", SMALL),
    "PutBucketCors": ("cors", "CORSConfiguration", "<CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule>", CORS),
    "PutBucketEncryption": ("encryption", "ServerSideEncryptionConfiguration", "<Rule></Rule>", SMALL),
    "PutBucketIntelligentTieringConfiguration": ("intelligent-tiering", "IntelligentTieringConfiguration",
                                                 "<Tiering><Days>90</Days></Tiering>", SMALL),
    "PutBucketInventoryConfiguration": ("inventory", "InventoryConfiguration", "<Field>Size</Field>", SMALL),
    "PutBucketLifecycleConfiguration": ("lifecycle", "LifecycleConfiguration", "<Rule><Status>Enabled</Status></Rule>", LIFECYCLE),
    "PutBucketLogging": ("logging", "BucketLoggingStatus", "<Grant></Grant>", SMALL),
    "PutBucketMetricsConfiguration": ("metrics", "MetricsConfiguration", "<Tag><Key>k</Key><Value>v</Value></Tag>", SMALL),
    "PutBucketNotificationConfiguration": ("notification", "NotificationConfiguration",
                                           "<QueueConfiguration><Event>s3:ObjectCreated:*</Event></QueueConfiguration>", NOTIFICATION),
    "PutBucketOwnershipControls": ("ownershipControls", "OwnershipControls", "<Rule></Rule>", SMALL),
    "PutBucketRequestPayment": ("requestPayment", "RequestPaymentConfiguration", "<Payer>Requester</Payer>", SMALL),
    "PutBucketTagging": ("tagging", "Tagging", "<Tag><Key>k</Key><Value>v</Value></Tag>", TAGS),
    "PutBucketVersioning": ("versioning", "VersioningConfiguration", "<Status>Enabled</Status>", SMALL),
    "PutBucketWebsite": ("website", "WebsiteConfiguration", "<RoutingRule></RoutingRule>", WEBSITE),
    "PutObjectLockConfiguration": ("object-lock", "ObjectLockConfiguration", "<Rule></Rule>", SMALL),
    "PutPublicAccessBlock": ("publicAccessBlock", "PublicAccessBlockConfiguration", "<BlockPublicAcls>true</BlockPublicAcls>", SMALL),
}
OF_OBJECTS = {
    "PutObjectAcl": ("acl", "AccessControlPolicy", "<Grant><Permission>READ</Permission></Grant>", TAGS),
    "PutObjectLegalHold": ("legal-hold", "LegalHold", "<Status>ON</Status>", SMALL),
    "PutObjectRetention": ("retention", "Retention", "<Mode>GOVERNANCE</Mode>", SMALL),
    "PutObjectTagging": ("tagging", "Tagging", "<Tag><Key>k</Key><Value>v</Value></Tag>", TAGS),
}
WITH_IDS = ("analytics", "intelligent-tiering", "inventory", "metrics")
# Operations that read or delete something of a bucket or an object, and the query that names it.
BUCKET_GETS = {
    "GetBucketAccelerateConfiguration": "accelerate", "GetBucketAcl": "acl", "GetBucketAnalyticsConfiguration": "analytics",
    "GetBucketCors": "cors", "GetBucketEncryption": "encryption", "GetBucketIntelligentTieringConfiguration": "intelligent-tiering",
    "GetBucketInventoryConfiguration": "inventory", "GetBucketLifecycleConfiguration": "lifecycle", "GetBucketLocation": "location",
    "GetBucketLogging": "logging", "GetBucketMetricsConfiguration": "metrics", "GetBucketNotificationConfiguration": "notification",
    "GetBucketOwnershipControls": "ownershipControls", "GetBucketPolicy": "policy", "GetBucketPolicyStatus": "policyStatus",
    "GetBucketRequestPayment": "requestPayment", "GetBucketTagging": "tagging", "GetBucketVersioning": "versioning",
    "GetBucketWebsite": "website", "GetObjectLockConfiguration": "object-lock", "GetPublicAccessBlock": "publicAccessBlock",
    "ListBucketAnalyticsConfigurations": "analytics", "ListBucketIntelligentTieringConfigurations": "intelligent-tiering",
    "ListBucketInventoryConfigurations": "inventory", "ListBucketMetricsConfigurations": "metrics",
}
BUCKET_DELETES = {
    "DeleteBucketAnalyticsConfiguration": "analytics", "DeleteBucketCors": "cors", "DeleteBucketEncryption": "encryption",
    "DeleteBucketIntelligentTieringConfiguration": "intelligent-tiering", "DeleteBucketInventoryConfiguration": "inventory",
    "DeleteBucketLifecycle": "lifecycle", "DeleteBucketMetricsConfiguration": "metrics",
    "DeleteBucketOwnershipControls": "ownershipControls", "DeleteBucketPolicy": "policy", "DeleteBucketTagging": "tagging",
    "DeleteBucketWebsite": "website", "DeletePublicAccessBlock": "publicAccessBlock",
}
OBJECT_GETS = {
    "GetObjectAcl": "acl", "GetObjectAttributes": "attributes", "GetObjectLegalHold": "legal-hold",
    "GetObjectRetention": "retention", "GetObjectTagging": "tagging",
}


def slow_headers():
    """Long values that the policies of the worst user and bucket compare, and many names besides."""
    headers = [("user-agent", "a" * (8 * KIB - 1)), ("referer", "a" * (8 * KIB - 1))]
    return tuple(headers + [(f"x-amz-meta-{n}", "") for n in range(80)] + [("origin", "a" * 2_000)])


def tiny_headers():
    """As many as there can be. What begins with x-amz- is signed, the rest is not."""
    return tuple((f"x{n:x}", "") for n in range(90))


def long_query(query):
    """Thousands of parameters that mean nothing."""
    more = "&".join(sorted(f"x{n:04}=%2A" for n in range((HEAD_BYTES - len(query)) // 10)))
    return f"{query}&{more}" if query else more


def heads(request, world):
    """The same request with each head that is bad."""
    by_user = request._replace(key=world.user, headers=request.headers + slow_headers())
    return [
        ("policies of a user", by_user),
        ("policies of a session", by_user._replace(key=world.session)),
        ("policies of many versions", request._replace(key=world.padded)),
        ("nobody", by_user._replace(key=None)),
        ("many headers", request._replace(headers=request.headers + tiny_headers())),
        ("a long query", request._replace(query=long_query(request.query))),
    ]


def bare(world):
    """Each operation as a plain request about the worst bucket and its object."""
    bucket, key = "/worst", f"/worst/{world.long_key}"
    with_id = lambda name: {"id": "none"} if name in WITH_IDS else {}
    for name, sub in BUCKET_GETS.items():
        more = {} if name.startswith("List") else with_id(sub)
        yield name, Request("GET", bucket, query_of(**{sub: "", **more}), key=world.root)
    for name, sub in BUCKET_DELETES.items():
        # Of another bucket: the worst one keeps what it has.
        yield name, Request("DELETE", "/spare", query_of(**{sub: "", **with_id(sub)}), key=world.root)
    for name, sub in OBJECT_GETS.items():
        headers = (("x-amz-object-attributes", "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"),) if sub == "attributes" else ()
        yield name, Request("GET", key, query_of(**{sub: ""}), headers, key=world.root)
    for name, (sub, root, item, _) in CONFIGURATIONS.items():
        body = documents.nasty_xml(root, item, 4 * KIB)[0][1]
        yield name, Request("PUT", bucket, query_of(**{sub: "", **with_id(sub)}), (digest(body),), body, world.root)
    for name, (sub, root, item, _) in OF_OBJECTS.items():
        body = documents.nasty_xml(root, item, 4 * KIB)[0][1]
        yield name, Request("PUT", key, query_of(**{sub: ""}), (digest(body),), body, world.root)
    yield "PutBucketPolicy", Request("PUT", bucket, "policy=", (digest(b"{}"),), b"{}", world.root)
    for name, method in [("GetObject", "GET"), ("HeadObject", "HEAD")]:
        yield name, Request(method, key, key=world.root)
    yield "HeadBucket", Request("HEAD", bucket, key=world.root)
    yield "ListObjects", Request("GET", bucket, key=world.root)
    yield "ListObjectsV2", Request("GET", bucket, "list-type=2", key=world.root)
    yield "ListObjectVersions", Request("GET", bucket, "versions=", key=world.root)
    yield "ListMultipartUploads", Request("GET", bucket, "uploads=", key=world.root)
    yield "ListParts", Request("GET", "/parts/pending", query_of(uploadId=world.upload), key=world.root)
    yield "ListBuckets", Request("GET", "/", key=world.root)
    yield "CreateBucket", Request("PUT", "/worst", key=world.root)
    yield "DeleteBucket", Request("DELETE", bucket, key=world.root)
    metadata = tuple((f"x-amz-meta-{n}", "v" * 20) for n in range(70))
    yield "PutObject", Request("PUT", "/worst/put", "", metadata, b"x" * (16 * KIB), world.root)
    yield "CopyObject", Request("PUT", "/worst/copy", "", (("x-amz-copy-source", key),), key=world.root)
    yield "RenameObject", Request("PUT", "/plain/renamed", "renameObject=", (("x-amz-rename-source", "none"),), key=world.root)
    yield "DeleteObject", Request("DELETE", "/worst/none", key=world.root)
    yield "DeleteObjectTagging", Request("DELETE", key, "tagging=", key=world.root)
    yield "CreateMultipartUpload", Request("POST", "/plain/upload", "uploads=", key=world.root)
    yield "AbortMultipartUpload", Request("DELETE", "/parts/pending", query_of(uploadId="none"), key=world.root)
    yield "UploadPart", Request("PUT", "/parts/pending", query_of(partNumber=1, uploadId="none"), (), b"x" * 1024, world.root)
    yield "UploadPartCopy", Request("PUT", "/parts/pending", query_of(partNumber=1, uploadId="none"),
                                    (("x-amz-copy-source", "/parts/part"),), key=world.root)
    # As many names as are compared, and as long as there is room.
    preflight = (("origin", f"https://{'a' * 4_000}"), ("access-control-request-method", "PUT"),
                 ("access-control-request-headers", ",".join(f"{'a' * 77}{n:03}" for n in range(100))))
    yield "OptionsObject", Request("OPTIONS", key, "", preflight)


def bodies(world):
    """Bodies at their bounds, with each content that is bad."""
    def of(name, path, sub, bad, what):
        query = query_of(**{sub: "", **({"id": "i"} if sub in WITH_IDS else {})})
        return name, what, Request("PUT", path, query, (digest(bad),), bad, world.root)
    for name, (sub, root, item, bound) in CONFIGURATIONS.items():
        for what, bad in documents.nasty_xml(root, item, bound):
            yield of(name, "/spare", sub, bad, what)
    for name, (sub, root, item, bound) in OF_OBJECTS.items():
        for what, bad in documents.nasty_xml(root, item, bound):
            yield of(name, "/spare/key", sub, bad, what)
    for what, bad in documents.nasty_json(POLICY):
        yield of("PutBucketPolicy", "/spare", "policy", bad, what)
    yield of("PutBucketPolicy", "/spare", "policy", documents.padded(documents.slow_bucket_policy("spare"), 127 * KIB).encode(), "padded")
    yield of("PutBucketCors", "/spare", "cors", documents.cors(), "100 rules")
    yield of("PutBucketNotificationConfiguration", "/spare", "notification", documents.notification(), "events")
    yield of("PutBucketLifecycleConfiguration", "/spare", "lifecycle", documents.lifecycle(), "1,000 rules")
    yield of("PutBucketWebsite", "/spare", "website", documents.website(), "50 rules")
    yield of("PutBucketTagging", "/spare", "tagging", documents.tags(50), "50 tags")
    yield of("PutBucketAcl", "/spare", "acl", documents.grants(world.canonical_id), "100 grants")
    yield of("PutObjectAcl", "/spare/key", "acl", documents.grants(world.canonical_id), "100 grants")
    for what, bad in documents.nasty_xml("CreateBucketConfiguration", "<Tags><Tag><Key>k</Key><Value>v</Value></Tag></Tags>", TAGS):
        yield "CreateBucket", what, Request("PUT", "/no-bucket-yet", "", (digest(bad),), bad, world.root)
    for what, bad in documents.nasty_xml("Delete", "<Object><Key>k</Key></Object>", LIST):
        yield "DeleteObjects", what, Request("POST", "/spare", "delete=", (digest(bad),), bad, world.root)
    for what, bad in documents.nasty_xml("CompleteMultipartUpload", "<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>", LIST):
        query = query_of(uploadId=world.upload)
        yield "CompleteMultipartUpload", what, Request("POST", "/parts/pending", query, (), bad, world.root)
    for name, sub in [("SelectObjectContent", "select=&select-type=2"), ("RestoreObject", "restore=")]:
        for what, bad in documents.nasty_xml("Request", "<a>b</a>", SMALL)[:2]:
            yield f"{name} (501)", what, Request("POST", "/spare/key", sub, (digest(bad),), bad, world.root)


def listings(world):
    """Pages over what hides the most, or shows the longest."""
    def page(name, bucket, what, **query):
        return name, what, Request("GET", f"/{bucket}", query_of(**query), key=world.root)
    last = world.wide_keys[-1]
    for name, base in [("ListObjects", {}), ("ListObjectsV2", {"list_type": 2}), ("ListObjectVersions", {"versions": ""})]:
        after = {"ListObjects": "marker", "ListObjectsV2": "start_after", "ListObjectVersions": "key_marker"}[name]
        for bucket in ("wide", "deleted", "markers", "names", "large", "versions"):
            yield page(name, bucket, f"{bucket}: a page", **base, encoding_type="url")
            yield page(name, bucket, f"{bucket}: prefixes", **base, delimiter="/")
            yield page(name, bucket, f"{bucket}: one prefix", **base, prefix="0", delimiter="k", max_keys=1)
        yield page(name, "wide", "wide: the end", **base, **{after: last})
        yield page(name, "deleted", "deleted: the end", **base, prefix="099", delimiter="/")
        yield page(name, "wide", "wide: a long delimiter", **base, delimiter="k" * 1_000)
    yield page("ListObjectVersions", "versions", "versions: within a key", versions="", key_marker="key", version_id_marker="null")
    for what, more in [("a page", {}), ("prefixes", {"delimiter": "/"}), ("encoded", {"delimiter": "k", "encoding_type": "url"})]:
        yield page("ListMultipartUploads", "uploads", f"10,000 uploads: {what}", uploads="", **more)
    yield page("ListParts", "parts/pending", "10,000 parts", uploadId=world.upload)
    yield page("ListParts", "parts/pending", "the last parts", uploadId=world.upload, part_number_marker=9_000)


def objects(world):
    """Objects of very many parts, of very many versions; many keys at once."""
    get = lambda what, key, query="", headers=(): Request("GET", key, query, tuple(headers), key=world.root)
    parts, plain = "/parts/object", "/plain/object"
    size = world.sizes.parts
    yield "GetObject", "the last bytes of 10,000 parts", get("", parts, "", [("range", f"bytes={size - 10}-{size - 1}")])
    yield "GetObject", "all of 10,000 parts", get("", parts)
    yield "GetObject", "the last of 10,000 parts", get("", parts, f"partNumber={size}")
    yield "HeadObject", "the last of 10,000 parts", Request("HEAD", parts, f"partNumber={size}", key=world.root)
    attributes = [("x-amz-object-attributes", "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"), ("x-amz-max-parts", "1000")]
    yield "GetObjectAttributes", "10,000 parts", get("", parts, "attributes=", attributes)
    customer = sse_c()
    yield "CopyObject", "an object of 10,000 parts, sealed anew", Request(
        "PUT", "/plain/copy", "", (("x-amz-copy-source", parts), *customer), key=world.root)
    yield "GetObject", "a null version of thousands", get("", "/versions/key", "versionId=null")
    yield "DeleteObject", "a null version of thousands", Request("DELETE", "/versions/key", "versionId=null", key=world.root)
    yield "CopyObject", "an object of 10,000 parts", Request(
        "PUT", "/plain/copy", "", (("x-amz-copy-source", parts),), key=world.root)
    yield "CompleteMultipartUpload", "10,000 parts, the last wrong", lambda n: Request(
        "POST", "/parts/pending", query_of(uploadId=world.upload), (),
        documents.completion([*world.parts_etags[:-1], '"00000000000000000000000000000000"']), world.root)
    yield "CompleteMultipartUpload", "one part of 10,000, and wrong", lambda n: Request(
        "POST", "/parts/pending", query_of(uploadId=world.upload), (),
        documents.completion(['"00000000000000000000000000000000"']), world.root)
    etags = world.parts_etags
    yield "CompleteMultipartUpload", "10,000 parts, again and again", lambda n: Request(
        "POST", "/parts/pending", query_of(uploadId=world.upload), (("if-match", '"none"'),), documents.completion(etags), world.root)
    yield "UploadPartCopy", "a range of 10,000 parts", lambda n: Request(
        "PUT", "/parts/pending", query_of(partNumber=1, uploadId=world.upload),
        (("x-amz-copy-source", parts), ("x-amz-copy-source-range", f"bytes=1-{size - 1}")), key=world.root)
    keys = lambda n: [f"{n:05}{k:04}{'d' * 1_000}" for k in range(DELETES)]
    for what, bucket, key, headers in [
            ("1,000 keys", "spare", world.root, ()), ("1,000 keys, delete markers", "markers", world.root, ()),
            ("1,000 keys by the worst user", "worst", world.user, slow_headers()),
            ("1,000 keys by its session", "worst", world.session, slow_headers()),
            ("1,000 keys by a user with policies of wildcards", "spare", world.wildcards, ()),
            ("1,000 keys by nobody", "worst", None, slow_headers())]:
        def delete(n, bucket=bucket, key=key, headers=headers):
            body = documents.deletes(keys(n))
            return Request("POST", f"/{bucket}", "delete=", (digest(body), *headers), body, key)
        yield "DeleteObjects", what, delete
    yield "DeleteObjects", "1,000 equal versions", lambda n: versions_of_one_key(world)
    yield "DeleteObjects", "1,000 versions of a key, the newest first", lambda n: newest_versions(world)
    yield "PutObject", "append to a copy of 10,000 parts", lambda n: append_to_copy(world, n)
    yield "PutObject", "a key that is replaced a thousand times", lambda n: Request("PUT", plain, "", (), b"", world.root)
    large = bytes(8 << 20)
    checksum = (("x-amz-checksum-sha256", base64.b64encode(hashlib.sha256(large).digest()).decode()),)
    yield "PutObject", "8 MiB", lambda n: Request("PUT", plain, "", (), large, world.root)
    yield "PutObject", "8 MiB with SHA256", lambda n: Request("PUT", plain, "", checksum, large, world.root)
    yield "PutObject", "aws-chunked, a byte a chunk", lambda n: Request(
        "PUT", plain, "", (("content-encoding", "aws-chunked"), ("x-amz-decoded-content-length", str(200_000))),
        b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\n", world.root, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    yield "PutObject", "aws-chunked, long extensions", lambda n: Request(
        "PUT", plain, "", (("content-encoding", "aws-chunked"), ("x-amz-decoded-content-length", str(1_000))),
        (b"1;a=" + b"b" * 2_000 + b"\r\nx\r\n") * 1_000 + b"0\r\n\r\n", world.root, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    yield "PutObject", "8 MiB with SSE-C", lambda n: Request("PUT", "/plain/sealed", "", customer, bytes(8 << 20), world.root)
    yield "GetObject", "8 MiB with SSE-C", Request("GET", "/plain/sealed", "", customer, key=world.root)
    yield "CreateMultipartUpload", "tags and metadata", lambda n: Request(
        "POST", f"/plain/{n}{'k' * 1_000}", "uploads=", (("x-amz-tagging", "&".join(f"{t}={'v' * 250}" for t in range(10))),), key=world.root)
    yield "PostObject", "fields at their bound", lambda n: post(world, 20 * KIB)
    yield "PostObject", "a part without an end", lambda n: post(world, 8 * KIB * KIB)


def sse_c(name="x-amz-server-side-encryption-customer"):
    secret = bytes(range(32))
    return ((f"{name}-algorithm", "AES256"), (f"{name}-key", base64.b64encode(secret).decode()),
            (f"{name}-key-md5", base64.b64encode(hashlib.md5(secret).digest()).decode()))


def versions_of_one_key(world):
    body = documents.deletes(["key"] * DELETES, [f"{n:032x}" for n in range(DELETES)])
    return Request("POST", "/versions", "delete=", (digest(body),), body, world.root)


def newest_versions(world):
    """Deletes the versions of a key that are the newest then: another one takes the place of each."""
    ids, world.pruned = world.pruned[:DELETES], world.pruned[DELETES:]
    body = documents.deletes(["key"] * len(ids), ids)
    return Request("POST", "/pruned", "delete=", (digest(body),), body, world.root)


def append_to_copy(world, number):
    """Appends a byte to one of the copies, in turn."""
    copy = number % len(world.copied_bytes)
    at = world.copied_bytes[copy]
    world.copied_bytes[copy] += 1
    return Request("PUT", f"/parts/copy-{copy}", "", (("x-amz-write-offset-bytes", str(at)),), b"x", world.root)


def post(world, bytes_max):
    """A form of very many fields; nobody signed it."""
    field = lambda n: f'--b\r\nContent-Disposition: form-data; name="x-ignore-{n}"\r\n\r\n\r\n'
    body = documents.filled("", field, '--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nk\r\n'
                            '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--b--\r\n', bytes_max)
    return Request("POST", "/worst", "", (("content-type", "multipart/form-data; boundary=b"),), body)


def identities(world):
    """Calls of IAM and STS."""
    def call(what, action, version="2010-05-08", service="iam", key=None, **parameters):
        body = form(action, version, parameters)
        return f"{service.upper()}: {action}", what, Request("POST", "/", "", FORM, body, key or world.root, service)
    padded = documents.padded(documents.slow_identity_policy(), 120 * KIB)
    for action, parameters in [("ListUsers", {}), ("ListGroups", {}), ("ListPolicies", {"Scope": "Local"}), ("ListRoles", {}),
                               ("GetAccountSummary", {}), ("GetGroup", {"GroupName": "many"}),
                               ("ListEntitiesForPolicy", {"PolicyArn": world.arns[0]}),
                               ("ListPolicyVersions", {"PolicyArn": world.arns[0]}),
                               ("ListGroupsForUser", {"UserName": "worst"}), ("ListAccessKeys", {}),
                               ("GetUser", {"UserName": "worst"}), ("GetPolicy", {"PolicyArn": world.arns[0]})]:
        limits = {"MaxItems": "1000"} if action.startswith("List") else {}
        yield call("many that are large", action, **parameters, **limits)
        yield call("by the worst user", action, key=world.user, **parameters, **limits)
    yield call("a policy of white space", "PutUserPolicy", UserName="worst", PolicyName="p", PolicyDocument=padded)
    yield call("policies of white space", "GetUser", key=world.padded)
    for what, body in documents.nasty_json(255 * KIB // 3):
        yield call(what, "CreatePolicy", PolicyName="refused", PolicyDocument=body.decode())
    many = {f"Tags.member.{n}.Key": str(n) for n in range(1, 4_000)}
    yield call("thousands of tags", "TagUser", UserName="worst", **many)
    yield "IAM: TagUser", "a number without end", Request("POST", "/", "", FORM, form(
        "TagUser", "2010-05-08", {"UserName": "worst", "Tags.member.4000000000.Key": "k", "Tags.member.1.Key": "a"}), world.root, "iam")
    yield "IAM: any", "a body of separators", Request("POST", "/", "", FORM, b"Action=ListUsers" + b"&" * (255 * KIB), world.root, "iam")
    yield "IAM: any", "a body of escapes", Request("POST", "/", "", FORM, b"Action=" + b"%41" * (84 * KIB), world.root, "iam")
    for action, parameters in [("GetCallerIdentity", {}), ("GetSessionToken", {}),
                               ("GetFederationToken", {"Name": "f", "Policy": documents.slow_identity_policy(2_000)})]:
        yield call("by the worst user", action, "2011-06-15", "sts", world.user, **parameters)
    yield call("a token that proves nothing", "AssumeRoleWithWebIdentity", "2011-06-15", "sts", RoleArn=f"arn:aws:iam::{world.id}:role/r",
               RoleSessionName="s", WebIdentityToken=f"{'a' * 10_000}.{'b' * 10_000}.c")


def admin(world):
    """The admin API takes the root key alone: a tenant's requests are those of somebody who is not known."""
    for path in ("info", "iam", "shards", "none/" + "a" * 8_000):
        for what, body in [("nothing", b""), ("a body at its bound", b"[" * (64 * KIB))]:
            yield "Admin: any", what, Request("POST", f"/admin/v1/{path}", "", (), body, world.root, "sherd-admin")


def cases(world):
    for name, request in bare(world):
        yield name, "plain", (lambda n, request=request: request)
        for what, bad in heads(request, world):
            yield name, what, (lambda n, bad=bad: bad)
    for group in (bodies, listings, objects, identities, admin):
        for name, what, request in group(world):
            yield name, what, request if callable(request) else (lambda n, request=request: request)

