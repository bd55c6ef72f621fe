"""Limits on the rates of requests and bytes, set by `sherd admin`: what an SDK makes of SlowDown, and bodies that wait."""

import concurrent.futures
import time

from _admin import admin, admin_refuses
from _support import ALT, anonymous, botocore, client, content, refused, run

# Requests within which one is over a limit of a few a second.
REQUESTS = 200
LEAST_BYTES = 64 << 10


def limit(bucket, *limits):
    return admin("rate-limit", "set", "--bucket", bucket, *limits)


def slowed_down(s3, bucket):
    """The first answer that is an error, of many requests at a time."""
    def ask(_):
        try:
            s3.head_bucket(Bucket=bucket)
            s3.list_objects_v2(Bucket=bucket)
        except botocore.exceptions.ClientError as error:
            return error.response
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return next(filter(None, pool.map(ask, range(REQUESTS))), None)


def test_without_retries_a_client_over_its_limit_is_told_to_slow_down(s3, bucket):
    assert slowed_down(s3, bucket) is None
    limit(bucket, "--requests", "2")

    def ask_until_refused():
        for _ in range(REQUESTS):
            s3.list_objects_v2(Bucket=bucket)
    told = refused("SlowDown", 503, ask_until_refused)
    assert told["Error"]["Message"] == "The account or the bucket is over a limit of its requests or bytes: try again later, with fewer requests at a time.", told
    assert told["ResponseMetadata"]["RetryAttempts"] == 0
    limit(bucket, "--requests", "none")
    assert slowed_down(s3, bucket) is None


def test_an_sdk_that_tries_again_gets_all_of_its_requests_through(s3, bucket):
    limit(bucket, "--requests", "20")
    patient = client(retries={"max_attempts": 20, "mode": "standard"}, max_pool_connections=8)
    put = lambda number: patient.put_object(Bucket=bucket, Key=f"{number:03}", Body=b"x")["ResponseMetadata"]
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(put, range(80)))
    took = time.monotonic() - began
    assert took >= (80 - 20) / 20 - 0.1, f"80 requests of 20 a second in {took} s"
    assert sum(answer["RetryAttempts"] for answer in answers) > 0, "none was slowed down"
    limit(bucket, "--requests", "none")
    assert len(s3.list_objects_v2(Bucket=bucket)["Contents"]) == 80


def test_bodies_wait_for_their_limit_and_come_whole(s3, bucket):
    limit(bucket, "--received", "64KiB", "--sent", "64KiB")
    body = content(3 * LEAST_BYTES)

    def get():
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    for step in [lambda: s3.put_object(Bucket=bucket, Key="k", Body=body), get]:
        began = time.monotonic()
        step()
        took = time.monotonic() - began
        assert took >= 1.9, f"three seconds' bytes, one of them at once, in {took} s"
    limit(bucket, "--received", "none", "--sent", "none")


def test_an_account_is_limited_in_all_of_its_buckets_and_nobody_else(s3, bucket):
    alt = client(ALT)
    admin("rate-limit", "set", "--account", ALT.id, "--requests", "1")
    try:
        def ask_until_refused():
            for _ in range(REQUESTS):
                alt.list_buckets()
        refused("SlowDown", 503, ask_until_refused)
        assert slowed_down(s3, bucket) is None
        [limits] = [one for one in admin("rate-limit", "list") if one["account"] == ALT.id]
        assert limits["requests_per_second"] == 1 and limits["sent_bytes_per_second"] is None, limits
    finally:
        admin("rate-limit", "set", "--account", ALT.id, "--requests", "none")
    assert all(one["account"] != ALT.id for one in admin("rate-limit", "list"))


def test_who_may_not_ask_does_not_use_the_limits_of_a_bucket_up(s3, bucket):
    limit(bucket, "--requests", "1")
    nobody = anonymous()
    for _ in range(20):
        refused("AccessDenied", 403, nobody.list_objects_v2, Bucket=bucket)
    s3.list_objects_v2(Bucket=bucket)
    limit(bucket, "--requests", "none")


def test_limits_of_what_is_not_there_are_refused(s3, bucket):
    admin_refuses("there is no bucket", "rate-limit", "set", "--bucket", "absent-1", "--requests", "1")
    admin_refuses("there is no account", "rate-limit", "set", "--account", "999999999999", "--requests", "1")
    admin_refuses("at least 65536", "rate-limit", "set", "--bucket", bucket, "--sent", "1KiB")


run(globals())
