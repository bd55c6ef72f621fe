"""A small S3 client: one connection, Signature Version 4, and an outcome that says what is known of the operation. The SDKs
retry and pool behind the caller's back; a ledger has to know what became of each request."""

import datetime
import hashlib
import hmac
import http.client
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree

ACCESS, SECRET, REGION = "power-access-key", "power-secret-key-0123456789", "us-east-1"


class Doubt(Exception):
    """A request that was sent, at least in part; its outcome is unknown."""


class NotSent(Exception):
    """A request that found no connection; it had no effect."""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def done(self):
        return 200 <= self.status < 300

    @property
    def etag(self):
        return self.headers.get("etag", "").strip('"')

    def xml(self):
        root = ElementTree.fromstring(self.body)
        for element in root.iter():
            element.tag = element.tag.rsplit("}", 1)[-1]
        return root

    def code(self):
        try:
            return self.xml().findtext("Code") or ""
        except ElementTree.ParseError:
            return ""


class S3:
    def __init__(self, port, access=ACCESS, secret=SECRET, timeout=20):
        self.port, self.access, self.secret, self.timeout = port, access, secret, timeout
        self.connection = None
        self.key = (None, None)

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def _sign(self, method, path, query, headers):
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        headers["x-amz-date"], headers["x-amz-content-sha256"] = stamp, "UNSIGNED-PAYLOAD"
        headers["host"] = f"127.0.0.1:{self.port}"
        names = sorted(headers)
        canonical = "\n".join(
            [method, path, query, *(f"{name}:{headers[name].strip()}" for name in names), "", ";".join(names), "UNSIGNED-PAYLOAD"]
        )
        scope = f"{day}/{REGION}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        if self.key[0] != day:
            key = f"AWS4{self.secret}".encode()
            for part in (day, REGION, "s3", "aws4_request"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            self.key = (day, key)
        signature = hmac.new(self.key[1], text.encode(), hashlib.sha256).hexdigest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
        )

    def call(self, method, path, query=None, headers=None, body=b""):
        """Returns an answer of any status; raises NotSent or Doubt."""
        path = urllib.parse.quote(path, safe="/-_.~")
        pairs = sorted((query or {}).items())
        text = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(str(v), safe='-_.~')}" for k, v in pairs)
        headers = {name.lower(): value for name, value in (headers or {}).items()}
        self._sign(method, path, text, headers)
        if self.connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
            try:
                connection.connect()
            except OSError as error:
                raise NotSent(str(error)) from None
            self.connection = connection
        try:
            self.connection.request(method, path + (f"?{text}" if text else ""), body=body, headers=headers)
            response = self.connection.getresponse()
            content = response.read()
            fields = {name.lower(): value for name, value in response.getheaders()}
            if fields.get("connection", "").lower() == "close":
                self.close()
            return Answer(response.status, fields, content)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Doubt(f"{type(error).__name__}: {error}") from None

    def read(self, method, path, query=None, headers=None, tries=6):
        """As `call`, with retries: for requests that change nothing."""
        for attempt in range(tries):
            try:
                answer = self.call(method, path, query, headers)
                if answer.status < 500:
                    return answer
            except (Doubt, NotSent) as error:
                answer = Answer(599, {}, str(error).encode())
            time.sleep(0.1 * 2**attempt)
        return answer

    def list_objects(self, bucket):
        """{key: (size, etag)} of all objects, in the order of the listing."""
        found, query = {}, {"list-type": "2"}
        while True:
            answer = self.read("GET", f"/{bucket}", query)
            if not answer.done:
                raise RuntimeError(f"listing {bucket}: {answer.status} {answer.body[:300]!r}")
            root = answer.xml()
            for entry in root.iter("Contents"):
                key = entry.findtext("Key")
                if key in found:
                    raise RuntimeError(f"listing {bucket}: {key} comes twice")
                found[key] = (int(entry.findtext("Size")), (entry.findtext("ETag") or "").strip('"'))
            if root.findtext("IsTruncated") != "true":
                return found
            query["continuation-token"] = root.findtext("NextContinuationToken")

    def list_versions(self, bucket):
        """{key: [(version id, is a delete marker, is latest), ...]}, newest first."""
        found, query = {}, {"versions": ""}
        while True:
            answer = self.read("GET", f"/{bucket}", query)
            if not answer.done:
                raise RuntimeError(f"listing versions of {bucket}: {answer.status} {answer.body[:300]!r}")
            root = answer.xml()
            for entry in root:
                if entry.tag in ("Version", "DeleteMarker"):
                    row = (entry.findtext("VersionId"), entry.tag == "DeleteMarker", entry.findtext("IsLatest") == "true")
                    found.setdefault(entry.findtext("Key"), []).append(row)
            if root.findtext("IsTruncated") != "true":
                return found
            query["key-marker"] = root.findtext("NextKeyMarker")
            query["version-id-marker"] = root.findtext("NextVersionIdMarker")
