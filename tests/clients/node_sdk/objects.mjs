// Objects: written, read in ranges and under conditions, copied, tagged, encrypted, deleted; and by signed URLs.

import assert from "node:assert/strict";

import {
  CopyObjectCommand, DeleteObjectCommand, DeleteObjectTaggingCommand, DeleteObjectsCommand, GetObjectAttributesCommand,
  GetObjectCommand, GetObjectTaggingCommand, HeadObjectCommand, ListObjectsV2Command, NoSuchKey, NotFound,
  PutObjectCommand, PutObjectTaggingCommand, waitUntilObjectExists, waitUntilObjectNotExists,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

import { bytes, check, content, get, put, read, refused, s3, same } from "./setup.mjs";

const head = (Bucket, Key, more) => s3.send(new HeadObjectCommand({ Bucket, Key, ...more }));

check("objects of any size come back", async (bucket) => {
  for (const length of [0, 1, 1000, 65_536, (1 << 20) + 1, (9 << 20) + 13]) {
    const body = content(length);
    await put(bucket, "k", body);
    const found = await get(bucket, "k");
    assert.equal(found.ContentLength, length);
    same(await bytes(found), body, length);
  }
});

check("headers and metadata come back", async (bucket) => {
  const given = {
    ContentType: "text/x-mine; a=b", CacheControl: "max-age=5", ContentLanguage: "de", ContentEncoding: "identity",
    ContentDisposition: 'attachment; filename="a b"', Metadata: { colour: "light blue", empty: "" },
  };
  const { ETag } = await put(bucket, "k", "hello", { ...given, Expires: new Date(2e12) });
  const found = await head(bucket, "k");
  for (const name of Object.keys(given)) assert.deepEqual(found[name], given[name], name);
  assert.deepEqual([found.ContentLength, found.ETag, found.AcceptRanges], [5, ETag, "bytes"]);
  assert.equal(found.ExpiresString, "Wed, 18 May 2033 03:33:20 GMT");
  assert.ok(Math.abs(Date.now() - found.LastModified) < 60_000);
  const other = await get(bucket, "k", { ResponseContentType: "text/y", ResponseCacheControl: "no-store" });
  assert.deepEqual([other.ContentType, other.CacheControl], ["text/y", "no-store"]);
  assert.equal((await bytes(other)).toString(), "hello");
  const attributes = ["ETag", "ObjectSize", "StorageClass", "Checksum"];
  const asked = { Bucket: bucket, Key: "k", ObjectAttributes: attributes };
  const told = await s3.send(new GetObjectAttributesCommand(asked));
  assert.deepEqual([told.ObjectSize, told.StorageClass], [5, "STANDARD"]);
});

check("ranges", async (bucket) => {
  const body = content(3_000_000, 2);
  await put(bucket, "k", body);
  for (const [Range, from, to] of [
    ["bytes=0-0", 0, 1], ["bytes=1048575-1048577", 1_048_575, 1_048_578], ["bytes=-5", 2_999_995, 3_000_000],
    ["bytes=2000000-", 2_000_000, 3_000_000], ["bytes=10-9999999", 10, 3_000_000],
  ]) {
    const found = await get(bucket, "k", { Range });
    assert.equal(found.ContentRange, `bytes ${from}-${to - 1}/3000000`);
    same(await bytes(found), body.subarray(from, to), Range);
  }
  await refused(get(bucket, "k", { Range: "bytes=3000000-" }), 416, "InvalidRange");
});

check("conditions of reads and writes", async (bucket) => {
  const { ETag } = await put(bucket, "k", "1", { IfNoneMatch: "*" });
  await refused(put(bucket, "k", "2", { IfNoneMatch: "*" }), 412, "PreconditionFailed");
  await refused(put(bucket, "k", "2", { IfMatch: '"other"' }), 412, "PreconditionFailed");
  await refused(put(bucket, "absent", "2", { IfMatch: ETag }), 404, "NoSuchKey");
  const { LastModified } = await head(bucket, "k", { IfMatch: ETag });
  await refused(get(bucket, "k", { IfNoneMatch: ETag }), 304);
  await refused(get(bucket, "k", { IfModifiedSince: LastModified }), 304);
  await refused(get(bucket, "k", { IfMatch: '"other"' }), 412, "PreconditionFailed");
  await refused(get(bucket, "k", { IfUnmodifiedSince: new Date(LastModified - 60_000) }), 412, "PreconditionFailed");
  await put(bucket, "k", "3", { IfMatch: ETag });
  assert.equal((await read(bucket, "k")).toString(), "3");
  const stale = new DeleteObjectCommand({ Bucket: bucket, Key: "k", IfMatch: ETag });
  await refused(s3.send(stale), 412, "PreconditionFailed");
});

check("errors are of the SDK's classes", async (bucket) => {
  const absent = await refused(get(bucket, "absent"), 404, "NoSuchKey");
  assert.ok(absent instanceof NoSuchKey && absent.$metadata.requestId && absent.message);
  assert.ok((await refused(head(bucket, "absent"), 404, "NotFound")) instanceof NotFound);
  await refused(get(`${bucket}-absent`, "k"), 404, "NoSuchBucket");
  await refused(put(bucket, "k".repeat(1025), ""), 400, "KeyTooLongError");
  await refused(put(bucket, "k", "", { StorageClass: "NONE" }), 400, "InvalidStorageClass");
});

check("keys of any letters", async (bucket) => {
  const short = ["a b", "a+b", "%41", "ü/日本/🦀", "?a=b&c#d", "//a//", "'\"<>&", "-_.!~*'()", "a\rb\n\tc"];
  const keys = [...short, "ü".repeat(512)];
  for (const key of keys) {
    await put(bucket, key, key);
    assert.equal((await read(bucket, key)).toString(), key);
    const listed = await s3.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: key }));
    assert.deepEqual(listed.Contents.map((one) => one.Key), [key]);
  }
  const Objects = [...keys, "absent"].map((Key) => ({ Key }));
  const answer = await s3.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects } }));
  assert.deepEqual(answer.Deleted.map((one) => one.Key).sort(), [...keys, "absent"].sort());
  assert.equal((await s3.send(new ListObjectsV2Command({ Bucket: bucket }))).KeyCount, 0);
});

check("what waits for an object", async (bucket) => {
  const object = { Bucket: bucket, Key: "k" };
  const waiting = waitUntilObjectExists({ client: s3, maxWaitTime: 60, minDelay: 1, maxDelay: 1 }, object);
  await put(bucket, "k", "");
  assert.equal((await waiting).state, "SUCCESS");
  await s3.send(new DeleteObjectCommand(object));
  const gone = await waitUntilObjectNotExists({ client: s3, maxWaitTime: 60 }, object);
  assert.equal(gone.state, "SUCCESS");
});

check("tags", async (bucket) => {
  const object = { Bucket: bucket, Key: "k" };
  const tags = async () => (await s3.send(new GetObjectTaggingCommand(object))).TagSet;
  await put(bucket, "k", "x", { Tagging: "a=1&b=x%20y%2B" });
  assert.deepEqual(await tags(), [{ Key: "a", Value: "1" }, { Key: "b", Value: "x y+" }]);
  const found = await get(bucket, "k");
  assert.deepEqual([found.TagCount, (await bytes(found)).toString()], [2, "x"]);
  await s3.send(new PutObjectTaggingCommand({ ...object, Tagging: { TagSet: [{ Key: "c", Value: "ü @/:" }] } }));
  assert.deepEqual(await tags(), [{ Key: "c", Value: "ü @/:" }]);
  const eleven = Array.from({ length: 11 }, (_, index) => ({ Key: `${index}`, Value: "" }));
  await refused(s3.send(new PutObjectTaggingCommand({ ...object, Tagging: { TagSet: eleven } })), 400, "BadRequest");
  await s3.send(new DeleteObjectTaggingCommand(object));
  assert.deepEqual(await tags(), []);
});

check("copies", async (bucket) => {
  const body = content(2_000_000, 3);
  const { ETag } = await put(bucket, "from ü", body, { Metadata: { a: "1" }, ContentType: "text/x" });
  const CopySource = `${bucket}/${encodeURIComponent("from ü")}`;
  const copy = (more) => s3.send(new CopyObjectCommand({ Bucket: bucket, Key: "to", CopySource, ...more }));
  const copied = await copy({ CopySourceIfMatch: ETag });
  assert.equal(copied.CopyObjectResult.ETag, ETag);
  assert.ok(copied.CopyObjectResult.LastModified instanceof Date);
  const found = await get(bucket, "to");
  assert.deepEqual([found.Metadata, found.ContentType], [{ a: "1" }, "text/x"]);
  same(await bytes(found), body);
  await copy({ MetadataDirective: "REPLACE", Metadata: { b: "2" } });
  assert.deepEqual((await head(bucket, "to")).Metadata, { b: "2" });
  await refused(copy({ CopySourceIfNoneMatch: ETag }), 412, "PreconditionFailed");
  await refused(copy({ CopySource: `${bucket}/absent` }), 404, "NoSuchKey");
  await refused(copy({ Key: "from ü" }), 400, "InvalidRequest");
});

check("keys of the client and of the store encrypt", async (bucket) => {
  const body = content(3_000_000, 4);
  const mine = { SSECustomerAlgorithm: "AES256", SSECustomerKey: content(32, 5) };
  const other = { SSECustomerAlgorithm: "AES256", SSECustomerKey: content(32, 6) };
  assert.ok((await put(bucket, "k", body, mine)).SSECustomerKeyMD5);
  const found = await get(bucket, "k", { ...mine, Range: "bytes=1000000-1999999" });
  assert.equal(found.SSECustomerAlgorithm, "AES256");
  same(await bytes(found), body.subarray(1_000_000, 2_000_000));
  await refused(get(bucket, "k"), 400, "InvalidRequest");
  await refused(get(bucket, "k", other), 400, "InvalidRequest");
  const source = { CopySourceSSECustomerAlgorithm: "AES256", CopySourceSSECustomerKey: mine.SSECustomerKey };
  const encrypted = { CopySource: `${bucket}/k`, ServerSideEncryption: "AES256", ...source };
  await s3.send(new CopyObjectCommand({ Bucket: bucket, Key: "to", ...encrypted }));
  assert.equal((await head(bucket, "to")).ServerSideEncryption, "AES256");
  same(await read(bucket, "to"), body);
});

check("signed urls", async (bucket) => {
  const sign = (command, more) => getSignedUrl(s3, command, { expiresIn: 60, ...more });
  const object = { Bucket: bucket, Key: "a b/ü" };
  const written = await fetch(await sign(new PutObjectCommand({ ...object, ContentType: "text/x" })), {
    method: "PUT", body: "by url", headers: { "content-type": "text/x" },
  });
  assert.deepEqual([written.status, await written.text()], [200, ""]);
  const url = await sign(new GetObjectCommand({ ...object, ResponseContentType: "text/y" }));
  const answer = await fetch(url);
  assert.deepEqual([answer.status, answer.headers.get("content-type"), await answer.text()], [200, "text/y", "by url"]);
  const ranged = await fetch(url, { headers: { range: "bytes=3-4" } });
  assert.deepEqual([ranged.status, await ranged.text()], [206, "ur"]);
  for (const changed of [url.replace("X-Amz-Expires=60", "X-Amz-Expires=61"), url.replace("text%2Fy", "text%2Fz")]) {
    const error = await fetch(changed);
    assert.equal(error.status, 403);
    assert.match(await error.text(), /<Code>SignatureDoesNotMatch<\/Code>/);
  }
  const described = await sign(new PutObjectCommand({ ...object, Metadata: { a: "1" }, Tagging: "t=1", StorageClass: "STANDARD_IA" }));
  assert.match(described, /x-amz-meta-a=1/);
  assert.equal((await fetch(described, { method: "PUT", body: "described" })).status, 200);
  const found = await head(bucket, object.Key);
  assert.deepEqual([found.Metadata, found.TagCount ?? 1, found.StorageClass], [{ a: "1" }, 1, "STANDARD_IA"]);
  assert.equal((await fetch(described.replace("meta-a=1", "meta-a=2"), { method: "PUT", body: "" })).status, 403);
  const signingDate = new Date(Date.now() - 3_600_000);
  const expired = await fetch(await sign(new GetObjectCommand(object), { signingDate }));
  assert.equal(expired.status, 403);
  assert.match(await expired.text(), /expired/);
});
