"""Requests as a tenant makes them, signed byte for byte as they are sent, on a connection that stays open."""

import hashlib
import hmac
import http.client
import time
import typing
import urllib.parse

REGION = "us-east-1"
ANSWER_SECONDS_MAX = 120


class Key(typing.NamedTuple):
    """An access key, and the token of a session."""

    access: str
    secret: str
    token: str = ""


class Request(typing.NamedTuple):
    """A request as it is sent. `query` is already encoded, its parameters in the order in which they are signed."""

    method: str
    path: str
    query: str = ""
    headers: tuple = ()
    body: bytes = b""
    key: Key | None = None
    service: str = "s3"
    payload: str = ""


class Answer(typing.NamedTuple):
    status: int
    headers: dict
    body: bytes

    def code(self):
        """The error code of an XML answer; the status where it has none."""
        begin = self.body.find(b"<Code>")
        return self.body[begin + 6:self.body.find(b"</Code>")].decode() if begin >= 0 else str(self.status)


def quote(text):
    return urllib.parse.quote(text, safe="-_.~")


def query_of(**parameters):
    """Encoded, and in the order of canonical requests. An underscore stands for a hyphen."""
    pairs = sorted((quote(name.replace("_", "-")), quote(str(value))) for name, value in parameters.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def _sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signed_headers(request, host):
    """The request's headers with those of Signature Version 4."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    payload = request.payload or hashlib.sha256(request.body).hexdigest()
    headers = list(request.headers)
    if request.key is None:
        return headers
    headers += [("x-amz-date", now), ("x-amz-content-sha256", payload)]
    if request.key.token:
        headers.append(("x-amz-security-token", request.key.token))
    canonical = sorted((name.lower(), value.strip()) for name, value in [*headers, ("host", host)])
    names = ";".join(name for name, _ in canonical)
    text = "\n".join([request.method, request.path, request.query,
                      *(f"{name}:{value}" for name, value in canonical), "", names, payload])
    scope = f"{now[:8]}/{REGION}/{request.service}/aws4_request"
    secret = ("AWS4" + request.key.secret).encode()
    for part in scope.split("/"):
        secret = _sign(secret, part)
    digest = hashlib.sha256(text.encode()).hexdigest()
    signature = hmac.new(secret, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}".encode(), hashlib.sha256).hexdigest()
    credential = f"{request.key.access}/{scope}"
    headers.append(("authorization",
                    f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"))
    return headers


class Connection:
    """One connection to one address, opened again where the server closed it."""

    def __init__(self, address):
        self.address = address
        self.open = None

    def close(self):
        if self.open:
            self.open.close()
        self.open = None

    def send(self, request):
        for attempt in (1, 2):
            fresh = self.open is None
            if fresh:
                self.open = http.client.HTTPConnection(self.address, timeout=ANSWER_SECONDS_MAX)
            try:
                return self._exchange(request)
            except (ConnectionError, http.client.RemoteDisconnected):
                self.close()
                if fresh or attempt == 2:
                    raise

    def _exchange(self, request):
        target = request.path + (f"?{request.query}" if request.query else "")
        self.open.putrequest(request.method, target, skip_accept_encoding=True)
        for name, value in signed_headers(request, self.address):
            self.open.putheader(name, value)
        if request.body or request.method in ("PUT", "POST"):
            self.open.putheader("content-length", str(len(request.body)))
        self.open.endheaders()
        try:
            if request.body:
                self.open.send(request.body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # The answer came before the body was taken.
        answer = self.open.getresponse()
        found = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        if answer.will_close:
            self.close()
        return found
