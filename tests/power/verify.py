"""Compares the store with the ledgers, and settles what was in doubt."""

import json

from ledger import Body

NO_MATCH = object()


def verify(s3, ledgers, buckets, journal, full=True):
    """Reports violations to the journal. Reads all that changed since the last time, or everything if `full`."""
    plain, versioned, locked = buckets
    listed = s3.list_objects(plain)
    for ledger in ledgers:
        for name, key in ledger.keys.items():
            verify_key(s3, plain, name, key, listed.pop(name, None), journal, full)
        for rename in ledger.renames:
            verify_rename(ledger, rename, journal)
        ledger.renames = []
    for name in listed:
        journal.violation("phantom", name, f"listed, and never written: {listed[name]}")
    for bucket, of in ((versioned, lambda ledger: ledger.versions), (locked, lambda ledger: ledger.locked)):
        found = s3.list_versions(bucket)
        for ledger in ledgers:
            for name, key in of(ledger).items():
                verify_versions(s3, bucket, name, key, found.pop(name, []), journal, full)
        for name, rows in found.items():
            journal.violation("phantom", name, f"versions listed, and never written: {rows}")
    for ledger in ledgers:
        ledger.uploads = [upload for upload in ledger.uploads if verify_upload(s3, plain, upload, journal)]
        verify_buckets(s3, ledger, journal)


def verify_key(s3, bucket, name, key, entry, journal, full):
    expected = f"possible {key.possible}"
    if entry is None:
        if None not in key.possible:
            answer = s3.read("GET", f"/{bucket}/{name}")
            journal.violation("lost", name, f"not listed, GET answers {answer.status}; {expected}")
        elif full or key.touched:
            answer = s3.read("GET", f"/{bucket}/{name}")
            if answer.status != 404:
                journal.violation("listing", name, f"not listed, GET answers {answer.status}; {expected}")
        key.possible, key.touched = [None], False
        return
    fitting = [state for state in key.possible if state and state.fits(*entry)]
    if not fitting:
        known = [state for state in key.history if state.fits(*entry)]
        kind = "resurrected" if key.possible == [None] else "stale" if known else "corrupt"
        journal.violation(kind, name, f"listed as {entry}; {expected}; tried before: {known}")
        key.possible, key.touched = [known[-1] if known else Body(*entry)], False
        return
    if full or key.touched:
        fitting = verify_content(s3, bucket, name, fitting, expected, journal) or fitting
    if fitting[-1].etag is None:
        fitting[-1].etag = entry[1]
    key.possible, key.touched = [fitting[-1]], False


def verify_content(s3, bucket, name, fitting, expected, journal):
    """Those of the states that GET answers with; none is a violation."""
    answers = []
    for state in fitting:
        answer = s3.read("GET", f"/{bucket}/{name}", headers=state.key_headers())
        if answer.done and answer.body == state.bytes():
            if answer.etag and state.etag and answer.etag != state.etag:
                journal.violation("metadata", name, f"GET has ETag {answer.etag}; {expected}")
            return [state]
        answers.append(f"{answer.status} {answer.code() if not answer.done else ''} with {len(answer.body)} bytes")
        kind = "corrupt" if answer.done else "unreadable"
    journal.violation(kind, name, f"GET answers {answers}; {expected}")
    return []


def verify_rename(ledger, rename, journal):
    """Under one of its names, and under one only. Both were settled before."""
    at = [ledger.keys[name].possible[0] for name in (rename.source, rename.target)]
    places = sum(state is not None and state.generation == rename.body.generation for state in at)
    if places != 1:
        kind = "lost" if places == 0 else "resurrected"
        journal.violation(kind, rename.source, f"renamed to {rename.target}: {rename.body} is in {places} places: {at}")


def verify_versions(s3, bucket, name, key, rows, journal, full):
    rows = rows[::-1]
    ids = [row[0] for row in rows]
    expected = f"acknowledged {key.rows}, removed {key.removed}, in doubt {key.doubts}, {key.doubted_removals}; found {rows}"
    if rows and [row[2] for row in rows] != [False] * (len(rows) - 1) + [True]:
        journal.violation("listing", name, f"the latest is not the newest; {expected}")
    for version in key.removed & set(ids):
        journal.violation("resurrected", name, f"version {version} was removed; {expected}")
    must = [(version, body) for version, body in key.rows if version not in key.removed]
    for version, _ in must:
        if version not in ids and version not in key.doubted_removals:
            journal.violation("lost", name, f"version {version}; {expected}")
    order = [version for version, _ in must if version in ids]
    if order != [version for version in ids if version in order]:
        journal.violation("stale", name, f"versions are out of order; {expected}")
    settled = settle_versions(s3, bucket, name, key, rows, expected, journal, full)
    if full or key.touched:
        latest = s3.read("GET", f"/{bucket}/{name}")
        wanted = settled[-1][1] if settled else None
        if (wanted is None) != (latest.status == 404) or (wanted and latest.body != wanted.bytes()):
            journal.violation("stale", name, f"GET answers {latest.status} with {len(latest.body)} bytes; {expected}")
        verify_holds(s3, bucket, name, key, ids, journal)
    gone = {version for version, _ in key.rows if version not in ids}
    key.holds = {version: hold for version, hold in key.holds.items() if version in ids}
    key.rows, key.removed = settled, key.removed | gone
    key.doubts, key.doubted_removals, key.touched = [], set(), False


def settle_versions(s3, bucket, name, key, rows, expected, journal, full):
    """The versions found, each with its body."""
    known, settled = dict(key.rows), []
    ids = [row[0] for row in rows]
    for at, (version, marker, _) in enumerate(rows):
        body = known.get(version)
        if version in known and version not in key.removed:
            if marker != (body is None):
                journal.violation("corrupt", name, f"version {version} became another kind; {expected}")
            if body and (full or key.touched):
                answer = s3.read("GET", f"/{bucket}/{name}", {"versionId": version})
                if not answer.done or answer.body != body.bytes():
                    kind = "corrupt" if answer.done else "unreadable"
                    detail = f"version {version}: {answer.status}, {len(answer.body)} bytes; {expected}"
                    journal.violation(kind, name, detail)
        elif version not in key.removed:
            # Of an operation in doubt, or of nobody; newer than all that was acknowledged before.
            body = match_doubt(s3, bucket, name, key, version, marker)
            if body is NO_MATCH:
                journal.violation("phantom", name, f"version {version}; {expected}")
                body = None if marker else Body(0)
            if any(other in known for other in ids[at + 1 :]):
                detail = f"version {version} of an operation in doubt is older than acknowledged ones; {expected}"
                journal.violation("stale", name, detail)
        settled.append((version, body))
    return settled


def match_doubt(s3, bucket, name, key, version, marker):
    for doubt in key.doubts:
        if marker and doubt is None:
            key.doubts.remove(doubt)
            return None
        if not marker and doubt is not None:
            answer = s3.read("GET", f"/{bucket}/{name}", {"versionId": version})
            if answer.done and answer.body == doubt.bytes():
                key.doubts.remove(doubt)
                return doubt
    return NO_MATCH


def verify_holds(s3, bucket, name, key, ids, journal):
    """Legal holds are as acknowledged."""
    for version, possible in key.holds.items():
        if version not in ids:
            continue
        answer = s3.read("HEAD", f"/{bucket}/{name}", {"versionId": version})
        found = answer.headers.get("x-amz-object-lock-legal-hold", "OFF")
        if found not in possible:
            journal.violation("lock", name, f"version {version}: legal hold {found}, possible {possible}")
        key.holds[version] = [found]


def verify_upload(s3, bucket, upload, journal):
    """Whether the client may go on with it."""
    answer = s3.read("GET", f"/{bucket}/{upload.key}", {"uploadId": upload.id})
    if answer.status == 404:
        if upload.state == "open":
            journal.violation("lost", upload.key, f"upload {upload.id} with parts {upload.parts}")
        return False
    if not answer.done:
        journal.violation("unreadable", upload.key, f"parts of upload {upload.id}: {answer.status}")
        return True
    if upload.state == "gone":
        journal.violation("resurrected", upload.key, f"upload {upload.id} was completed or aborted")
        return False
    found = {int(part.findtext("PartNumber")): (part.findtext("ETag") or "").strip('"') for part in answer.xml().iter("Part")}
    for number, part in upload.parts.items():
        if found.get(number) != part.etag and number not in upload.doubted_parts:
            journal.violation("lost", upload.key, f"part {number} {part} of upload {upload.id}: found {found}")
    upload.state = "open"
    # An upload with a part in doubt is abandoned.
    return not upload.doubted_parts and set(found) == set(upload.parts)


def verify_buckets(s3, ledger, journal):
    for name, possible in list(ledger.buckets.items()):
        found = documents_of(s3, name)
        if found not in possible:
            kind = "lost" if found is None else "resurrected" if possible == [None] else "stale"
            journal.violation(kind, name, f"bucket with documents {found!r}; possible {possible}")
        ledger.buckets[name] = [found]


def documents_of(s3, bucket):
    """The bucket's documents by kind, or None where it is not there."""
    found = []
    for kind, read in (("cors", value_of_cors), ("policy", value_of_policy), ("tagging", value_of_tagging)):
        answer = s3.read("GET", f"/{bucket}", {kind: ""})
        if answer.done:
            found.append((kind, read(answer)))
        elif answer.code() == "NoSuchBucket":
            return None
        elif answer.status != 404:
            found.append((kind, f"status {answer.status}"))
    return tuple(found)


def value_of_cors(answer):
    return answer.xml().findtext(".//AllowedOrigin").removeprefix("https://").removesuffix(".test")


def value_of_policy(answer):
    return json.loads(answer.body)["Statement"][0]["Sid"].removeprefix("s")


def value_of_tagging(answer):
    return answer.xml().findtext(".//Value")
