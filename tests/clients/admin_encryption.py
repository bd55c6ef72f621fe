"""Named encryption keys by `sherd admin`: made, rotated, disabled; what they and the root key wrap is wrapped anew, and
objects read as before. The server is the script's own, started again with other root keys."""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import time
import urllib.parse

import run as runner
from _admin import admin, admin_refuses
from _support import ALT, PART, TENANT, WORK, boto3, botocore, content, refused, run, until

ROOT = pathlib.Path(WORK) / "server"
KEYS = ROOT / "root.keys"
FIRST, SECOND = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
# Of the accounts' file.
ROOTS_KEYS = len([ALT, TENANT])


class Store:
    """A server whose root keys are those of the file, the first line the current one."""

    def __init__(self, *root_keys):
        KEYS.write_text("".join(f"{key}\n" for key in root_keys))
        self.server = runner.Server(os.environ["BINARY"], ROOT, {"SHERD_ROOT_KEY_FILE": str(KEYS)})
        self.s3 = self.client("s3", s3={"addressing_style": "path"})
        self.iam = self.client("iam")

    def client(self, service, keys=(runner.ACCESS_KEY, runner.SECRET_KEY), **settings):
        return boto3.client(service, endpoint_url=f"http://{self.server.s3}", region_name="us-east-1",
                            config=botocore.config.Config(**settings),
                            aws_access_key_id=keys[0], aws_secret_access_key=keys[1])

    def admin(self, *arguments, **named):
        return admin("encryption-key", *arguments, url=f"http://{self.server.admin}", **named)

    def refuses(self, word, *arguments):
        admin_refuses(word, "encryption-key", *arguments, url=f"http://{self.server.admin}")

    def keys(self):
        return {one["id"]: one for one in self.admin("list")["keys"]}

    def roots(self):
        """Of the current root key and the others: how many versions of encryption keys and access keys each has."""
        found = self.admin("list")["root_keys"]
        counts = lambda current: [(one["encryption_keys"], one["access_keys"]) for one in found
                                  if one["current"] is current]
        [current] = counts(True)
        return current, counts(False)


@contextlib.contextmanager
def store(*root_keys):
    ROOT.mkdir(exist_ok=True)
    one = Store(*root_keys)
    try:
        yield one
        assert one.server.stop()
    finally:
        one.server.process.kill()


def read(s3, bucket, key="k", **named):
    return s3.get_object(Bucket=bucket, Key=key, **named)["Body"].read()


def encrypted(key_id):
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key_id}


def test_named_keys_are_made_rotated_and_disabled(_, bucket):
    with store(FIRST) as one:
        s3 = one.s3
        s3.create_bucket(Bucket=bucket)
        refused("KMS.NotFoundException", 400, s3.put_object, Bucket=bucket, Key="k", Body=b"x", **encrypted("payroll"))
        made = one.admin("create", "payroll", "--description", "Salaries", "--alias", "team/pay")
        assert (made["id"], made["version"], made["enabled"]) == ("payroll", 1, True)
        one.refuses("already", "create", "payroll")
        one.refuses("is not a name for a key", "create", "not/a/name")
        s3.put_object(Bucket=bucket, Key="k", Body=b"one", **encrypted("payroll"))
        s3.put_object(Bucket=bucket, Key="alias", Body=b"two", **encrypted("alias/team/pay"))
        assert one.admin("rotate", "payroll")["version"] == 2
        assert read(s3, bucket) == b"one" and read(s3, bucket, "alias") == b"two"
        one.admin("disable", "payroll")
        refused("KMS.DisabledException", 400, read, s3, bucket)
        refused("KMS.DisabledException", 400, s3.put_object, Bucket=bucket, Key="x", Body=b"", **encrypted("payroll"))
        one.admin("enable", "payroll")
        assert read(s3, bucket) == b"one"
        one.refuses("store's own", "disable", "sse-s3")
        one.refuses("no key", "rotate", "absent")


STYLE = {"s3": {"addressing_style": "path"}}


class Tenant:
    """Another account with a bucket, a user of it who may do everything in S3, and a key of the store."""

    def __init__(self, one, bucket, key):
        self.root = one.client("s3", (ALT.access_key, ALT.secret_key), **STYLE)
        self.root.create_bucket(Bucket=bucket)
        one.admin("create", key, "--alias", f"team/{key}")
        self.iam, self.name, self.key = one.client("iam", (ALT.access_key, ALT.secret_key)), bucket, key
        self.iam.create_user(UserName=bucket)
        self.iam.attach_user_policy(UserName=bucket, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
        key = self.iam.create_access_key(UserName=bucket)["AccessKey"]
        self.user = one.client("s3", (key["AccessKeyId"], key["SecretAccessKey"]), signature_version="s3v4", **STYLE)

    def grant(self, *actions):
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": f"arn:aws:kms:*:000000000000:key/{self.key}"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.iam.put_user_policy(UserName=self.name, PolicyName="keys", PolicyDocument=document)

    def revoke(self):
        self.iam.delete_user_policy(UserName=self.name, PolicyName="keys")


def test_the_right_to_a_key_is_checked_again_when_a_body_came_slowly(_, bucket):
    with store(FIRST) as one:
        tenant = Tenant(one, bucket, "slow")

        def put_slowly(meanwhile):
            url = tenant.user.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k", **encrypted("slow")})
            where = urllib.parse.urlsplit(url)
            connection = http.client.HTTPConnection(where.netloc, timeout=30)
            headers = {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "slow",
                       "Content-Length": "100000"}
            connection.putrequest("PUT", f"{where.path}?{where.query}", skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(b"x" * 50_000)
            time.sleep(0.3)
            meanwhile()
            time.sleep(1.3)
            connection.send(b"x" * 50_000)
            answer = connection.getresponse()
            code = b"".join(re.findall(rb"<Code>(\w+)</Code>", answer.read())).decode()
            connection.close()
            return answer.status, code

        tenant.grant("kms:GenerateDataKey", "kms:Decrypt")
        assert put_slowly(tenant.revoke) == (403, "AccessDenied")
        refused("404", 404, tenant.root.head_object, Bucket=bucket, Key="k")
        tenant.grant("kms:GenerateDataKey", "kms:Decrypt")
        assert put_slowly(lambda: None) == (200, "")
        assert read(tenant.user, bucket) == b"x" * 100_000


def test_other_accounts_need_a_grant_for_keys(_, bucket):
    with store(FIRST) as one:
        theirs = Tenant(one, bucket, "ledger")
        tenant, user, granted = theirs.root, theirs.user, theirs.grant

        put = lambda who, key="k", **named: who.put_object(Bucket=bucket, Key=key, Body=b"x", **named)
        # One that is not there is refused in the same words as one that may not be used.
        words = {refused("AccessDenied", 403, put, user, **encrypted(name))["Error"]["Message"]
                 for name in ["ledger", "alias/team/ledger", "absent", "alias/absent"]}
        assert words == {"Access Denied"}
        refused("AccessDenied", 403, user.create_multipart_upload, Bucket=bucket, Key="k", **encrypted("ledger"))
        put(user, "default", ServerSideEncryption="aws:kms")
        assert read(user, bucket, "default") == b"x"
        granted("kms:GenerateDataKey")
        put(user, **encrypted("alias/team/ledger"))
        refused("AccessDenied", 403, put, user, **encrypted("absent"))
        refused("AccessDenied", 403, read, user, bucket)
        copy = dict(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
        refused("AccessDenied", 403, user.copy_object, **copy)
        granted("kms:GenerateDataKey", "kms:Decrypt")
        assert read(user, bucket) == b"x"
        user.copy_object(**copy)
        # The root of an account may do what its policies could allow; the store's own account owns the keys.
        assert read(tenant, bucket) == b"x" and put(tenant, **encrypted("ledger"))
        refused("KMS.NotFoundException", 400, put, tenant, **encrypted("absent"))
        one.iam.create_user(UserName=bucket)
        one.iam.attach_user_policy(UserName=bucket, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
        own = one.iam.create_access_key(UserName=bucket)["AccessKey"]
        own = one.client("s3", (own["AccessKeyId"], own["SecretAccessKey"]), **STYLE)
        own.create_bucket(Bucket=f"{bucket}-own")
        named = dict(Bucket=f"{bucket}-own", Key="k")
        own.put_object(Body=b"x", **named, **encrypted("ledger"))
        assert own.get_object(**named)["Body"].read() == b"x"
        deny = {"Effect": "Deny", "Action": "kms:Decrypt", "Resource": "*"}
        one.iam.put_user_policy(UserName=bucket, PolicyName="no",
                                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
        refused("AccessDenied", 403, own.get_object, **named)


def test_data_keys_are_wrapped_by_the_newest_version_and_bytes_stay(_, bucket):
    with store(FIRST) as one:
        s3 = one.s3
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        one.admin("create", bucket)
        customers = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"c" * 32}
        ways = {"s3": {"ServerSideEncryption": "AES256"}, "kms": encrypted(bucket), "plain": {},
                "dual": {"ServerSideEncryption": "aws:kms:dsse", "SSEKMSKeyId": bucket},
                "context": {**encrypted(bucket), "SSEKMSEncryptionContext": base64.b64encode(b'{"a":"b"}').decode()}}
        versions = {name: [s3.put_object(Bucket=bucket, Key=name, Body=f"{name}{number}".encode(), **how)["VersionId"]
                           for number in range(2)] for name, how in ways.items()}
        s3.put_object(Bucket=bucket, Key="customer", Body=b"mine", **customers)
        s3.delete_object(Bucket=bucket, Key="kms")
        upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", **encrypted(bucket))["UploadId"]
        data = content(PART)
        part = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
        tag = s3.upload_part(PartNumber=1, Body=data, **part)["ETag"]
        one.admin("rewrap")
        assert one.admin("rewrap")["objects"] == 0
        one.admin("rotate", bucket)
        one.admin("rotate", "sse-s3")
        done = one.admin("rewrap")
        # Two versions in each way that the store has the key of, and what other tests left.
        assert done["objects"] >= 2 * (len(ways) - 1) and done["failed"] == 0, done
        assert one.admin("rewrap")["objects"] == 0
        for name, ids in versions.items():
            for number, version in enumerate(ids):
                assert read(s3, bucket, name, VersionId=version) == f"{name}{number}".encode()
        assert read(s3, bucket, "customer", **customers) == b"mine"
        # An upload that was begun before goes on, and is wrapped anew when it is an object.
        s3.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}, **part)
        assert one.admin("rewrap")["objects"] == 1
        assert read(s3, bucket, "parts") == data


def test_many_versions_are_wrapped_anew_page_by_page(_, bucket):
    with store(FIRST) as one:
        s3 = one.s3
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        own = {"ServerSideEncryption": "AES256"}
        put = lambda number: s3.put_object(Bucket=bucket, Key=f"k{number % 3}", Body=b"x", **own)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert len(list(pool.map(put, range(1100)))) == 1100
        one.admin("rotate", "sse-s3")
        assert one.admin("rewrap")["objects"] >= 1100
        assert one.admin("rewrap")["objects"] == 0
        assert read(s3, bucket, "k0") == b"x"


def test_a_new_root_key_takes_over_and_the_former_one_is_not_needed_any_more(_, bucket):
    with store(FIRST) as one:
        one.s3.create_bucket(Bucket=bucket)
        one.s3.put_object(Bucket=bucket, Key="k", Body=b"kept", ServerSideEncryption="AES256")
        one.iam.create_user(UserName=bucket)
        one.iam.attach_user_policy(UserName=bucket, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
        key = one.iam.create_access_key(UserName=bucket)["AccessKey"]
        keys = key["AccessKeyId"], key["SecretAccessKey"]
        until(lambda: one.roots()[0][1] > ROOTS_KEYS, "the keys of the accounts' file and the user's")
        standing, former = one.roots()
        assert standing[0] >= 1 and all(count == (0, 0) for count in former)
    with store(SECOND, FIRST) as one:
        assert one.roots() == ((0, 0), [standing])
        assert not any(key["under_current_root"] for key in one.keys().values())
        as_user = one.client("s3", keys, s3={"addressing_style": "path"})
        assert read(as_user, bucket) == b"kept"
        done = one.admin("rewrap")
        assert done["encryption_keys"] >= 1 and done["access_keys"] >= 1 and done["failed"] == 0, done
        assert one.roots() == (standing, [(0, 0)])
        assert all(key["under_current_root"] for key in one.keys().values())
        again = one.admin("rewrap")
        assert (again["encryption_keys"], again["access_keys"], again["objects"]) == (0, 0, 0)
    with store(SECOND) as one:
        as_user = one.client("s3", keys, s3={"addressing_style": "path"})
        assert read(as_user, bucket) == b"kept" and read(one.s3, bucket) == b"kept"
        assert one.roots() == (standing, [])


run(globals())
