// Buckets and what is listed of them: pages, directories, versions.

import assert from "node:assert/strict";

import {
  BucketAlreadyExists, CreateBucketCommand, DeleteBucketCommand, DeleteBucketTaggingCommand, DeleteObjectCommand,
  GetBucketLocationCommand, GetBucketTaggingCommand, GetBucketVersioningCommand, HeadBucketCommand,
  ListObjectVersionsCommand, ListObjectsV2Command, NoSuchBucket, PutBucketTaggingCommand, PutBucketVersioningCommand,
  paginateListBuckets, paginateListObjectsV2, waitUntilBucketExists,
} from "@aws-sdk/client-s3";

import { check, client, get, put, read, refused, s3 } from "./setup.mjs";

check("a bucket is made, found and deleted", async (bucket) => {
  const Bucket = `${bucket}-other`;
  await s3.send(new CreateBucketCommand({ Bucket }));
  assert.equal((await waitUntilBucketExists({ client: s3, maxWaitTime: 10 }, { Bucket })).state, "SUCCESS");
  assert.equal((await s3.send(new HeadBucketCommand({ Bucket }))).BucketRegion, "us-east-1");
  assert.equal((await s3.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint, undefined);
  assert.equal((await s3.send(new GetBucketVersioningCommand({ Bucket }))).Status, undefined);
  const found = [];
  for await (const page of paginateListBuckets({ client: s3, pageSize: 1 }, { Prefix: bucket })) {
    found.push(...(page.Buckets ?? []).map((one) => one.Name));
  }
  assert.deepEqual(found, [bucket, Bucket]);
  await put(Bucket, "k", "");
  await refused(s3.send(new DeleteBucketCommand({ Bucket })), 409, "BucketNotEmpty");
  await s3.send(new DeleteObjectCommand({ Bucket, Key: "k" }));
  await s3.send(new DeleteBucketCommand({ Bucket }));
  await refused(s3.send(new HeadBucketCommand({ Bucket })), 404, "NotFound");
  const gone = await refused(s3.send(new ListObjectsV2Command({ Bucket })), 404, "NoSuchBucket");
  assert.ok(gone instanceof NoSuchBucket);
  const other = client(process.env.ALT_ACCESS_KEY, process.env.ALT_SECRET_KEY);
  const taken = other.send(new CreateBucketCommand({ Bucket: bucket }));
  assert.ok((await refused(taken, 409, "BucketAlreadyExists")) instanceof BucketAlreadyExists);
  await refused(other.send(new ListObjectsV2Command({ Bucket: bucket })), 403, "AccessDenied");
});

check("tags of a bucket", async (bucket) => {
  await refused(s3.send(new GetBucketTaggingCommand({ Bucket: bucket })), 404, "NoSuchTagSet");
  const TagSet = [{ Key: "team", Value: "störe" }];
  await s3.send(new PutBucketTaggingCommand({ Bucket: bucket, Tagging: { TagSet } }));
  assert.deepEqual((await s3.send(new GetBucketTaggingCommand({ Bucket: bucket }))).TagSet, TagSet);
  await s3.send(new DeleteBucketTaggingCommand({ Bucket: bucket }));
});

check("lists come in pages", async (bucket) => {
  const keys = Array.from({ length: 25 }, (_, index) => `key-${String(index).padStart(3, "0")}`);
  for (const key of keys) await put(bucket, key, "x");
  const found = [];
  for await (const page of paginateListObjectsV2({ client: s3, pageSize: 10 }, { Bucket: bucket })) {
    found.push(page.Contents.map((one) => one.Key));
  }
  assert.deepEqual([found.map((page) => page.length), found.flat()], [[10, 10, 5], keys]);
  const rest = await s3.send(new ListObjectsV2Command({ Bucket: bucket, StartAfter: "key-019", FetchOwner: true }));
  assert.deepEqual(rest.Contents.map((one) => one.Key), keys.slice(20));
  assert.ok(rest.Contents.every((one) => one.Owner.ID && one.Size === 1 && one.LastModified instanceof Date));
});

check("lists by directories", async (bucket) => {
  for (const key of ["a", "b/1", "b/2/x", "b/2/y", "c/1", "d"]) await put(bucket, key, "x");
  const wanted = [["", ["a", "d"], ["b/", "c/"]], ["b/", ["b/1"], ["b/2/"]], ["none/", [], []]];
  for (const pageSize of [1, 2, 1000]) {
    for (const [Prefix, keys, directories] of wanted) {
      const [found, asked] = [[[], []], { Bucket: bucket, Prefix, Delimiter: "/" }];
      for await (const page of paginateListObjectsV2({ client: s3, pageSize }, asked)) {
        found[0].push(...(page.Contents ?? []).map((one) => one.Key));
        found[1].push(...(page.CommonPrefixes ?? []).map((one) => one.Prefix));
      }
      assert.deepEqual(found, [keys, directories], `${Prefix} ${pageSize}`);
    }
  }
});

check("versions and delete markers", async (bucket) => {
  const enabled = { Bucket: bucket, VersioningConfiguration: { Status: "Enabled" } };
  await s3.send(new PutBucketVersioningCommand(enabled));
  assert.equal((await s3.send(new GetBucketVersioningCommand({ Bucket: bucket }))).Status, "Enabled");
  const first = (await put(bucket, "k", "first")).VersionId;
  const second = (await put(bucket, "k", "second")).VersionId;
  assert.equal((await read(bucket, "k", { VersionId: first })).toString(), "first");
  const remove = (VersionId) => s3.send(new DeleteObjectCommand({ Bucket: bucket, Key: "k", VersionId }));
  const marker = await remove();
  assert.equal(marker.DeleteMarker, true);
  await refused(get(bucket, "k"), 404, "NoSuchKey");
  await refused(get(bucket, "k", { VersionId: marker.VersionId }), 405, "MethodNotAllowed");
  const listed = await s3.send(new ListObjectVersionsCommand({ Bucket: bucket }));
  assert.deepEqual(listed.Versions.map((one) => [one.VersionId, one.IsLatest]), [[second, false], [first, false]]);
  assert.deepEqual(listed.DeleteMarkers.map((one) => [one.VersionId, one.IsLatest]), [[marker.VersionId, true]]);
  await remove(marker.VersionId);
  assert.equal((await read(bucket, "k")).toString(), "second");
  await remove(second);
  assert.equal((await read(bucket, "k")).toString(), "first");
  await refused(get(bucket, "k", { VersionId: second }), 404, "NoSuchVersion");
});
