// Uploads in parts, streams, and the checksums that this SDK sends and verifies.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { Readable } from "node:stream";

import {
  AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CreateMultipartUploadCommand, HeadObjectCommand,
  ListMultipartUploadsCommand, NoSuchUpload, UploadPartCommand, UploadPartCopyCommand, paginateListParts,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";

import { PART, bytes, check, content, get, put, read, refused, s3, same } from "./setup.mjs";

/** One upload to key `k`. */
async function begin(bucket, more) {
  const object = { Bucket: bucket, Key: "k" };
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...object, ...more }));
  const upload = { ...object, UploadId };
  return {
    upload,
    part: async (PartNumber, Body, more) => {
      const sent = await s3.send(new UploadPartCommand({ ...upload, PartNumber, Body, ...more }));
      return { ...sent, PartNumber };
    },
    complete: (Parts, more) => {
      const done = { ...upload, MultipartUpload: { Parts }, ...more };
      return s3.send(new CompleteMultipartUploadCommand(done));
    },
    abort: () => s3.send(new AbortMultipartUploadCommand(upload)),
  };
}

check("parts become one object", async (bucket) => {
  const bodies = [content(PART, 1), content(PART + 1, 2), content(5, 3)];
  const { part, complete } = await begin(bucket, { Metadata: { a: "1" } });
  const parts = [];
  for (const number of [3, 1, 2]) parts[number - 1] = await part(number, bodies[number - 1]);
  const done = await complete(parts);
  assert.match(done.ETag, /-3"$/);
  assert.ok(done.Location && done.Bucket === bucket && done.Key === "k");
  const found = await get(bucket, "k");
  assert.deepEqual([found.ETag, found.Metadata], [done.ETag, { a: "1" }]);
  same(await bytes(found), Buffer.concat(bodies));
  for (const [index, body] of bodies.entries()) {
    const one = await get(bucket, "k", { PartNumber: index + 1 });
    assert.deepEqual([one.PartsCount, one.ContentLength], [3, body.length]);
    same(await bytes(one), body, `part ${index + 1}`);
  }
});

check("parts are listed, copied, refused and given up", async (bucket) => {
  await put(bucket, "from", content(2 * PART, 4));
  const { upload, part, complete, abort } = await begin(bucket);
  const source = { ...upload, CopySource: `${bucket}/from`, CopySourceRange: "bytes=10-19" };
  const copied = await s3.send(new UploadPartCopyCommand({ ...source, PartNumber: 1 }));
  const parts = [{ PartNumber: 1, ETag: copied.CopyPartResult.ETag }, await part(2, "x"), await part(10_000, "y")];
  const found = [];
  for await (const page of paginateListParts({ client: s3, pageSize: 2 }, upload)) {
    // After the last part it asks once more.
    found.push((page.Parts ?? []).map((one) => [one.PartNumber, one.Size]));
  }
  assert.deepEqual(found, [[[1, 10], [2, 1]], [[10_000, 1]], []]);
  await refused(complete(parts), 400, "EntityTooSmall");
  await refused(complete([parts[1], parts[0]]), 400, "InvalidPartOrder");
  await refused(complete([{ PartNumber: 3, ETag: parts[1].ETag }]), 400, "InvalidPart");
  const listed = await s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
  assert.deepEqual(listed.Uploads.map((one) => [one.Key, one.UploadId]), [["k", upload.UploadId]]);
  await abort();
  assert.ok((await refused(abort(), 404, "NoSuchUpload")) instanceof NoSuchUpload);
});

check("a stream of 64 MiB goes in parts and in one piece, and comes", async (bucket) => {
  const body = content(64 << 20, 7);
  const digest = createHash("sha256").update(body).digest("hex");
  fs.writeFileSync("large", body);
  const params = { Bucket: bucket, Key: "parts", Body: fs.createReadStream("large"), ContentType: "text/x" };
  const upload = new Upload({ client: s3, params, partSize: 8 << 20, queueSize: 3 });
  let loaded = 0;
  upload.on("httpUploadProgress", (progress) => { loaded = Math.max(loaded, progress.loaded); });
  assert.match((await upload.done()).ETag, /-8"$/);
  assert.equal(loaded, body.length);
  await put(bucket, "whole", fs.createReadStream("large"), { ContentLength: body.length });
  for (const key of ["parts", "whole"]) {
    const hash = createHash("sha256");
    for await (const piece of (await get(bucket, key)).Body) hash.update(piece);
    assert.equal(hash.digest("hex"), digest, key);
  }
  fs.unlinkSync("large");
});

check("an upload that is given up leaves nothing", async (bucket) => {
  const pieces = Readable.from(Array(40).fill(content(1 << 20)));
  const params = { Bucket: bucket, Key: "k", Body: pieces };
  const upload = new Upload({ client: s3, params, partSize: PART, queueSize: 1 });
  upload.on("httpUploadProgress", () => upload.abort());
  await assert.rejects(upload.done(), { name: "AbortError" });
  await refused(get(bucket, "k"), 404, "NoSuchKey");
  const listed = async () => (await s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? [];
  const end = Date.now() + 60_000;
  while ((await listed()).length > 0) assert.ok(Date.now() < end, "the SDK gives its upload up");
});

const KNOWN = {
  CRC32: "y/Q5Jg==", CRC32C: "4waSgw==", CRC64NVME: "rosUhgp5mIg=", SHA1: "98O8HYCOBHMq32eZZczDTKeuNEE=",
  SHA256: "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
};

check("checksums by header and by trailer", async (bucket) => {
  for (const [algorithm, known] of Object.entries(KNOWN)) {
    const field = `Checksum${algorithm}`;
    const file = "digits";
    fs.writeFileSync(file, "123456789");
    for (const body of [Buffer.from("123456789"), fs.createReadStream(file)]) {
      const sent = await put(bucket, "k", body, { ChecksumAlgorithm: algorithm, ContentLength: 9 });
      assert.equal(sent[field], known, algorithm);
      const found = await get(bucket, "k", { ChecksumMode: "ENABLED" });
      assert.deepEqual([found[field], found.ChecksumType, found.ContentEncoding], [known, "FULL_OBJECT", undefined]);
      assert.equal((await bytes(found)).toString(), "123456789");
    }
    const wrong = Buffer.alloc(Buffer.from(known, "base64").length).toString("base64");
    await refused(put(bucket, "bad", "123456789", { [field]: wrong }), 400, "BadDigest");
  }
  assert.equal((await put(bucket, "k", "123456789")).ChecksumCRC32, KNOWN.CRC32, "by default");
  await refused(get(bucket, "bad"), 404, "NoSuchKey");
});

check("checksums of objects of parts", async (bucket) => {
  const bodies = [content(PART, 8), content(9, 9)];
  const kinds = [["SHA256", "COMPOSITE"], ["CRC32C", "COMPOSITE"], ["CRC32", "FULL_OBJECT"]];
  for (const [ChecksumAlgorithm, ChecksumType] of kinds) {
    const { part, complete } = await begin(bucket, { ChecksumAlgorithm, ChecksumType });
    const parts = [];
    for (const [index, body] of bodies.entries()) parts.push(await part(index + 1, body, { ChecksumAlgorithm }));
    const field = `Checksum${ChecksumAlgorithm}`;
    assert.ok(parts.every((one) => one[field]));
    const done = await complete(parts, { ChecksumType });
    assert.equal(done[field].endsWith("-2"), ChecksumType === "COMPOSITE");
    const found = await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: "k", ChecksumMode: "ENABLED" }));
    assert.deepEqual([found[field], found.ChecksumType], [done[field], ChecksumType]);
    same(await read(bucket, "k", { ChecksumMode: "ENABLED" }), Buffer.concat(bodies));
  }
});
