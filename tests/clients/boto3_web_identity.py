# server: SHERD_OIDC_KEYS=https://login.example.com={WORK}/jwks.json
"""Roles for those whom another server has identified: signed tokens (OpenID Connect), verified by the keys of a file."""

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import random
import time

from _support import (ENDPOINT, REGION, WORK, account_id, boto3, botocore, client, covers, denied, iam, objects_of,
                      policy, refused, run, sts)

ISSUER = "https://login.example.com"
HOST = ISSUER.removeprefix("https://")
AUDIENCE = "clients-of-sherd"
EXPONENT = 65537
# What RSA puts before a SHA-256 digest (RFC 8017, 9.2).
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def prepare():
    """Makes the key that tokens are signed with, and the file by which the server verifies them."""
    key = make_key()
    work = pathlib.Path(WORK)
    work.joinpath("key.json").write_text(json.dumps(key))
    public = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "first", "n": number(key["n"]), "e": number(EXPONENT)}
    work.joinpath("jwks.json").write_text(json.dumps({"keys": [public]}))


def make_key():
    while True:
        p, q = prime(1024), prime(1024)
        if p != q and (p - 1) % EXPONENT and (q - 1) % EXPONENT:
            return {"n": p * q, "d": pow(EXPONENT, -1, (p - 1) * (q - 1))}


def prime(bits):
    chance = random.SystemRandom()
    small = [n for n in range(3, 2000, 2) if all(n % m for m in range(3, int(n ** 0.5) + 1, 2))]
    while True:
        # The two highest bits are set, so that the product has all its bits.
        n = chance.getrandbits(bits) | (3 << (bits - 2)) | 1
        if all(n % m for m in small) and all(probably_prime(n, chance.randrange(2, n - 1)) for _ in range(20)):
            return n


def probably_prime(n, witness):
    """Miller and Rabin."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    x = pow(witness, odd, n)
    if x in (1, n - 1):
        return True
    for _ in range(twos - 1):
        x = x * x % n
        if x == n - 1:
            return True
    return False


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n):
    return encoded(n.to_bytes((n.bit_length() + 7) // 8, "big"))


def token(key=None, header=None, **claims):
    """Signed, for an hour from now, unless the claims say otherwise; a claim that is None is left out."""
    key = key or json.loads(pathlib.Path(WORK, "key.json").read_text())
    now = int(time.time())
    full = {"iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "iat": now, "exp": now + 3600, **claims}
    full = {name: value for name, value in full.items() if value is not None}
    head = {"alg": "RS256", "typ": "JWT", "kid": "first", **(header or {})}
    text = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(full).encode())}"
    length = (key["n"].bit_length() + 7) // 8
    digest = DIGEST_INFO + hashlib.sha256(text.encode()).digest()
    padded = b"\0\1" + b"\xff" * (length - len(digest) - 3) + b"\0" + digest
    return f"{text}.{encoded(pow(int.from_bytes(padded, 'big'), key['d'], key['n']).to_bytes(length, 'big'))}"


def anyone():
    """Who has no key asks without one."""
    config = botocore.config.Config(signature_version=botocore.UNSIGNED, retries={"max_attempts": 0})
    return boto3.client("sts", endpoint_url=ENDPOINT, region_name=REGION, config=config)


def assume(arn, text, **named):
    return anyone().assume_role_with_web_identity(RoleArn=arn, RoleSessionName="mine", WebIdentityToken=text, **named)


def client_of(answer):
    found = answer["Credentials"]
    return client((found["AccessKeyId"], found["SecretAccessKey"]), found["SessionToken"])


@contextlib.contextmanager
def provider():
    admin = iam()
    arn = admin.create_open_id_connect_provider(Url=ISSUER, ClientIDList=[AUDIENCE], ThumbprintList=["0" * 40])[
        "OpenIDConnectProviderArn"]
    try:
        yield arn
    finally:
        admin.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


@contextlib.contextmanager
def role(bucket, federated, condition=None):
    """A role that reads the bucket."""
    admin = iam()
    trusted = policy({"Principal": {"Federated": federated}, "Action": "sts:AssumeRoleWithWebIdentity",
                      **({"Condition": condition} if condition else {})})
    arn = admin.create_role(RoleName=bucket, AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
    try:
        admin.put_role_policy(RoleName=bucket, PolicyName="read", PolicyDocument=policy(
            {"Action": "s3:GetObject", "Resource": objects_of(bucket)}))
        yield arn
    finally:
        admin.delete_role_policy(RoleName=bucket, PolicyName="read")
        admin.delete_role(RoleName=bucket)


@covers("iam.CreateOpenIDConnectProvider", "iam.GetOpenIDConnectProvider", "iam.ListOpenIDConnectProviders",
        "iam.DeleteOpenIDConnectProvider")
def test_providers_are_made_found_and_deleted(s3, bucket):
    admin = iam()
    with provider() as arn:
        assert arn == f"arn:aws:iam::{account_id()}:oidc-provider/{HOST}"
        found = admin.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
        assert found["ClientIDList"] == [AUDIENCE] and found["Url"] == HOST
        assert arn in [one["Arn"] for one in admin.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
        refused("EntityAlreadyExists", 409, admin.create_open_id_connect_provider, Url=ISSUER)
    refused("NoSuchEntity", 404, admin.get_open_id_connect_provider, OpenIDConnectProviderArn=arn)
    for url in ["https://login.example.com?a=b", "https://login.example.com#a", "https://a:b@login.example.com"]:
        refused("InvalidInput", 400, admin.create_open_id_connect_provider, Url=url)
    for url in ["login.example.com", "https://"]:
        refused("ValidationError", 400, admin.create_open_id_connect_provider, Url=url)
    refused("InvalidInput", 400, admin.create_open_id_connect_provider, Url=ISSUER, ThumbprintList=["!" * 40])
    made = admin.create_open_id_connect_provider(Url=ISSUER, ThumbprintList=["AB" * 20])
    found = admin.get_open_id_connect_provider(OpenIDConnectProviderArn=made["OpenIDConnectProviderArn"])
    assert found["ThumbprintList"] == ["AB" * 20]
    admin.delete_open_id_connect_provider(OpenIDConnectProviderArn=made["OpenIDConnectProviderArn"])


@covers("sts.AssumeRoleWithWebIdentity")
def test_a_token_opens_the_role_that_trusts_its_issuer(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with provider() as federated, role(bucket, federated) as arn:
        answer = assume(arn, token())
        assert answer["SubjectFromWebIdentityToken"] == "somebody" and answer["Audience"] == AUDIENCE
        assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{account_id()}:assumed-role/{bucket}/mine"
        other = client_of(answer)
        assert other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
        denied(other.put_object, Bucket=bucket, Key="k")
        found = answer["Credentials"]
        keys = found["AccessKeyId"], found["SecretAccessKey"]
        assert sts(keys, found["SessionToken"]).get_caller_identity()["Arn"] == answer["AssumedRoleUser"]["Arn"]


@covers("sts.AssumeRoleWithWebIdentity")
def test_tokens_that_prove_nothing(s3, bucket):
    now = int(time.time())
    with provider() as federated, role(bucket, federated) as arn:
        good = token()
        head, claims, signature = good.split(".")
        other = encoded(json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "root", "exp": now + 3600}).encode())
        unsigned = encoded(json.dumps({"alg": "none", "typ": "JWT"}).encode())
        for text in ["nonsense", "a.b.c", f"{head}.{claims}", f"{head}.{other}.{signature}", f"{unsigned}.{claims}.",
                     f"{head}.{claims}.{signature[:-4]}AAAA", token(make_key()), token(header={"kid": "other"}),
                     token(header={"alg": "HS256"}), token(iss="https://other.example.com"), token(aud="others"),
                     token(aud="others", azp=AUDIENCE), token(azp="others"), token(exp=None),
                     token(nbf=now + 3600), token(sub=None)]:
            refused(("InvalidIdentityToken", "AccessDenied", "ValidationError"), (400, 403), assume, arn, text)
        refused(("ExpiredTokenException", "ExpiredToken"), 400, assume, arn, token(exp=now - 600, iat=now - 4000))
        assert assume(arn, good)["Audience"] == AUDIENCE


@covers("sts.AssumeRoleWithWebIdentity")
def test_a_provider_without_client_ids_accepts_no_token(s3, bucket):
    admin = iam()
    with provider() as federated, role(bucket, federated) as arn:
        assert assume(arn, token(azp=AUDIENCE))["Audience"] == AUDIENCE
        admin.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=federated, ClientID=AUDIENCE)
        refused("InvalidIdentityToken", 400, assume, arn, token())
        admin.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=federated, ClientID=AUDIENCE)
        assert assume(arn, token())["Audience"] == AUDIENCE


@covers("sts.AssumeRoleWithWebIdentity")
def test_a_role_asks_who_and_for_whom(s3, bucket):
    with provider() as federated:
        condition = {"StringEquals": {f"{HOST}:aud": AUDIENCE}, "StringLike": {f"{HOST}:sub": "team-*"}}
        with role(bucket, federated, condition) as arn:
            assert assume(arn, token(sub="team-1"))["SubjectFromWebIdentityToken"] == "team-1"
            refused("AccessDenied", 403, assume, arn, token(sub="somebody"))
        with role(bucket, f"arn:aws:iam::{account_id()}:oidc-provider/other.example.com") as arn:
            refused("AccessDenied", 403, assume, arn, token())


@covers("sts.AssumeRoleWithWebIdentity")
def test_a_session_of_a_token_is_limited_in_time_and_by_policy(s3, bucket):
    for key in ["a/k", "b/k"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    with provider() as federated, role(bucket, federated) as arn:
        limited = policy({"Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/a/*"})
        answer = assume(arn, token(), Policy=limited, DurationSeconds=900)
        assert abs(answer["Credentials"]["Expiration"].timestamp() - time.time() - 900) < 60
        other = client_of(answer)
        assert other.get_object(Bucket=bucket, Key="a/k")["Body"].read() == b"x"
        denied(other.get_object, Bucket=bucket, Key="b/k")
        refused("ValidationError", 400, assume, arn, token(), DurationSeconds=3601)


@covers("sts.AssumeRoleWithWebIdentity")
def test_without_a_provider_no_token_is_believed(s3, bucket):
    assert os.path.exists(f"{WORK}/jwks.json")
    with role(bucket, f"arn:aws:iam::{account_id()}:oidc-provider/{HOST}") as arn:
        refused(("InvalidIdentityToken", "AccessDenied"), (400, 403), assume, arn, token())


run(globals())
