// What the tests share: the client, a bucket for each test, and the ways to ask for something to fail.

import assert from "node:assert/strict";
import dns from "node:dns";
import test from "node:test";

import {
  AbortMultipartUploadCommand, CreateBucketCommand, DeleteBucketCommand, DeleteObjectsCommand, GetObjectCommand,
  ListMultipartUploadsCommand, ListObjectVersionsCommand, PutObjectCommand, S3Client,
} from "@aws-sdk/client-s3";

export const PART = 5 << 20;

// The names of buckets are in no DNS; all are where the server is.
dns.lookup = (name, options, callback) => {
  const done = callback ?? options;
  return options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4);
};

export function client(accessKeyId, secretAccessKey) {
  return new S3Client({
    endpoint: process.env.S3_ENDPOINT,
    region: process.env.AWS_DEFAULT_REGION,
    forcePathStyle: process.env.S3_ADDRESSING === "path",
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: 1,
  });
}

export const s3 = client(process.env.AWS_ACCESS_KEY_ID, process.env.AWS_SECRET_ACCESS_KEY);

test.after(() => s3.destroy());

let number = 0;

/** A test with a bucket of its own, which is emptied after it. */
export function check(name, body) {
  const bucket = `${process.env.BUCKET}-${number++}`;
  test(name, async () => {
    await s3.send(new CreateBucketCommand({ Bucket: bucket }));
    try {
      await body(bucket);
    } finally {
      await clear(bucket);
    }
  });
}

/** No test writes more than a page of a list. */
async function clear(bucket) {
  const uploads = await s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
  for (const { Key, UploadId } of uploads.Uploads ?? []) {
    await s3.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId }));
  }
  const page = await s3.send(new ListObjectVersionsCommand({ Bucket: bucket }));
  const entries = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])];
  if (entries.length > 0) {
    const Objects = entries.map(({ Key, VersionId }) => ({ Key, VersionId }));
    const answer = await s3.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects, Quiet: true } }));
    assert.equal(answer.Errors, undefined);
  }
  await s3.send(new DeleteBucketCommand({ Bucket: bucket }));
}

/** Bytes without a short period. */
export function content(length, seed = 1) {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed;
  for (let at = 0; at < words.length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[at] = state ^ (state >>> 13);
  }
  return Buffer.from(words.buffer, 0, length);
}

export const put = (Bucket, Key, Body, more) => s3.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));
export const get = (Bucket, Key, more) => s3.send(new GetObjectCommand({ Bucket, Key, ...more }));

export async function bytes(answer) {
  return Buffer.from(await answer.Body.transformToByteArray());
}

export async function read(bucket, key, more) {
  return bytes(await get(bucket, key, more));
}

/** That bytes are the same, without printing them. */
export function same(found, wanted, what = "") {
  assert.ok(Buffer.compare(Buffer.from(found), Buffer.from(wanted)) === 0, `other bytes ${what}`);
}

/** The error of a call that must fail so. A HEAD has no body, so it has a name of its own. */
export async function refused(call, status, ...names) {
  try {
    await call;
  } catch (error) {
    const found = error.$metadata?.httpStatusCode;
    const right = found === status && (names.length === 0 || names.includes(error.name));
    assert.ok(right, `${found} ${error.name}: ${error.stack}`);
    return error;
  }
  assert.fail(`not refused with ${status} ${names}`);
}
