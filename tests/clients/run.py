#!/usr/bin/env python3
"""Starts the real binary and lets real S3 clients work with it.

    tests/clients/run.py BINARY [NAME...]

Runs every script beside this file (or those whose names contain a NAME): *.sh with bash, *.py with this interpreter.
SHERD_CLIENTS_MODES lists how clients speak to the server, each with the style of addresses (`path`, `virtual`) and, with
`+tls`, over TLS: `path` by default, which all scripts run in. In others (`path+tls`, `virtual`, `virtual+tls`) those run that
heed it: boto3_*.py and *_sdk.sh, unless one of their first lines is `# mode: path`.

A script finds in its environment S3_ENDPOINT, S3_ADMIN, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION,
BUCKET (a name of its own, not created), WORK (an empty directory of its own, where it starts), BINARY (for a script that
starts a server of its own), RESULTS (a file that takes a JSON line for each operation and test), and for each of the further
accounts ALT_ID, ALT_NAME, ALT_EMAIL, ALT_CANONICAL_ID, ALT_ACCESS_KEY, ALT_SECRET_KEY, and so for TENANT. Exit code 0 is
success, 77 means that the client is not installed; its lines that begin with `skipped: ` tell what else was left out.
S3_ADDRESSING is the style of addresses; in virtual style the endpoint's name is S3_DOMAIN, which only the script's own process
can resolve: names below it stand for 127.0.0.1. With TLS the authority that made the server's certificate is in the file
AWS_CA_BUNDLE (SSL_CERT_FILE, NODE_EXTRA_CA_CERTS). The server has one drive (SHERD_CLIENTS_DRIVES changes that).

A script whose first lines say `# server: NAME=VALUE NAME=VALUE` has a server of its own with these settings. In a value,
{WORK} is the script's directory, filled beforehand by the same script when called with --prepare, {PORT} a free port, in
its environment as PORT, and {TLS} a directory with cert.pem and key.pem. With SHERD_TLS_CERT among them it speaks HTTPS. A
script that starts servers of its own and uses no other says `# server: none`. The scripts of the common server run one after
the other, and beside them one at a time of those that do not use it.

SHERD_CLIENTS_REQUIRED says what must not be skipped: with `clients` a client that is not installed fails, with `1` also what a
script leaves out because the machine does not allow it. A script ends within SHERD_CLIENTS_SECONDS (300), with all that it
started. A server whose log tells of a panic fails what ran with it.

What the tests showed in mode `path` is kept in SHERD_CLIENTS_RESULTS (target/clients-results.jsonl); a run of some scripts
replaces their lines only.
"""

import collections
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import typing

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = pathlib.Path(os.environ.get("SHERD_CLIENTS_RESULTS", HERE.parents[1] / "target" / "clients-results.jsonl"))
SCRIPT_SECONDS_MAX = int(os.environ.get("SHERD_CLIENTS_SECONDS", "300"))
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
TIDY_SECONDS_MAX = 5
SETTINGS_LINES_MAX = 10
OUTPUT_LINES_MAX = 60
PANIC_CHARS_MAX = 2000
MISSING = 77
PARTLY_SKIPPED = "skipped: "
REQUIRED = os.environ.get("SHERD_CLIENTS_REQUIRED", "")
NO_SCRIPTS = ("run.py", "matrix.py")
# Where clients look for authorities: AWS's own, OpenSSL, Node.
BUNDLES = ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
ACCESS_KEY = "clients-access-key"
SECRET_KEY = "clients-secret-key-0123456789"
# Reserved by RFC 6761, so nobody's.
DOMAIN = "s3.test"
CERTIFICATES = """
[req]
distinguished_name = name
prompt = no
[name]
CN = tests of clients
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1, DNS:{domain}, DNS:*.{domain}
"""


class Mode(typing.NamedTuple):
    """How clients speak to the server: where the bucket's name is, and whether over TLS."""

    style: str
    tls: bool

    def __str__(self):
        return self.style + ("+tls" if self.tls else "")

    def settings(self):
        """The server's."""
        domain = {"SHERD_DOMAIN": DOMAIN} if self.style == "virtual" else {}
        return domain | ({"SHERD_TLS_CERT": "{TLS}/cert.pem", "SHERD_TLS_KEY": "{TLS}/key.pem"} if self.tls else {})

    def runs(self, script):
        heeds = script.name.startswith("boto3_") or script.name.endswith("_sdk.sh")
        return self == PLAIN or (heeds and f"# mode: {PLAIN}" not in first_lines(script))


MODES = [Mode(style, tls) for style in ("path", "virtual") for tls in (False, True)]
PLAIN = MODES[0]


def modes():
    known = {str(mode): mode for mode in MODES}
    words = os.environ.get("SHERD_CLIENTS_MODES", str(PLAIN)).split(",")
    if not set(words) <= known.keys():
        sys.exit(f"SHERD_CLIENTS_MODES: {','.join(words)}; expected some of {','.join(known)}")
    return [known[word] for word in words]


def certify(directory):
    """Leaves an authority of its own and the server's certificate; whether it could, for want of openssl."""
    directory.mkdir()
    config = directory / "openssl.cnf"
    config.write_text(CERTIFICATES.replace("{domain}", DOMAIN))
    make = ["openssl", "req", "-x509", "-config", str(config), "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2"]
    for name, more in [("authority", ["-keyout", "authority-key.pem", "-out", "authority.pem"]),
                       ("server", ["-CA", "authority.pem", "-CAkey", "authority-key.pem", "-subj", "/CN=server",
                                   "-keyout", "key.pem", "-out", "cert.pem"])]:
        try:
            subprocess.run([*make, "-extensions", name, *more], check=True, cwd=directory, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        except FileNotFoundError:
            return False
        except subprocess.CalledProcessError as error:
            sys.exit(f"no certificate could be made: {error.stderr.decode(errors='replace')}")
    return True


def account(name, number):
    return {
        "id": number,
        "name": name,
        "email": f"{name}@example.com",
        "canonical_id": hashlib.sha256(name.encode()).hexdigest(),
        "keys": [{"access_key": f"{name}-access-key", "secret_key": f"{name}-secret-key-0123456789"}],
        "users": [],
    }


ACCOUNTS = [account("alt", "111111111111"), account("tenant", "222222222222")]


def spawn(binary, root, drives, settings=()):
    """The process, which may not serve yet."""
    environment = {
        "PATH": os.environ["PATH"],
        "SHERD_DATA": ",".join(str(root / f"d{n}") for n in range(1, drives + 1)),
        "SHERD_S3_LISTEN": "127.0.0.1:0",
        "SHERD_ADMIN_LISTEN": "127.0.0.1:0",
        "SHERD_ACCESS_KEY": ACCESS_KEY,
        "SHERD_SECRET_KEY": SECRET_KEY,
        # As AWS has it for new buckets; what needs access control lists says so.
        "SHERD_OBJECT_OWNERSHIP": "BucketOwnerEnforced",
        **dict(settings),
    }
    # One that is started again goes on with its log.
    log = open(root / "server.log", "ab")
    return subprocess.Popen([binary], env=environment, stdout=subprocess.PIPE, stderr=log, text=True)


def start(binary, root, drives, settings=()):
    """The process, and its S3 and admin addresses."""
    process = spawn(binary, root, drives, settings)
    watchdog = threading.Timer(START_SECONDS_MAX, process.kill)
    watchdog.start()
    for line in process.stdout:
        found = re.match(r"listening s3=(\S+) admin=(\S+)", line)
        if found:
            watchdog.cancel()
            # What it prints later must not fill the pipe.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return process, found[1], found[2]
    watchdog.cancel()
    sys.exit("the server did not start:\n" + (root / "server.log").read_text(errors="replace"))


def panic_in(root):
    """What the log of a server tells of a panic. It ends a release build, and the build that is tested goes on."""
    log = (root / "server.log").read_text(errors="replace")
    at = log.find(" panicked at ")
    return log[log.rfind("\n", 0, at) + 1:][:PANIC_CHARS_MAX] if at >= 0 else ""


class Server:
    """A server in a directory of its own, with the accounts of every script."""

    def __init__(self, binary, root, settings):
        self.root, self.tls = root, settings.get("SHERD_TLS_CERT")
        root.mkdir(exist_ok=True)
        accounts = root / "accounts.json"
        accounts.write_text(json.dumps({"accounts": ACCOUNTS}))
        accounts.chmod(0o600)
        drives = int(os.environ.get("SHERD_CLIENTS_DRIVES", "1"))
        settings = {"SHERD_ACCOUNTS_FILE": str(accounts), **settings}
        self.process, self.s3, self.admin = start(binary, root, drives, settings)

    def ended(self):
        return self.process.poll() is not None

    def stop(self):
        """Whether it stopped as it should, and never panicked."""
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=STOP_SECONDS_MAX)
        ended, panic = self.process.poll(), panic_in(self.root)
        if ended != 0:
            print(f"the server ended with {ended} after SIGTERM")
        if panic:
            print(f"the server panicked:\n{panic}")
        return ended == 0 and not panic

    def tell_log(self):
        log = (self.root / "server.log").read_text(errors="replace").splitlines()
        print("--- the server's last log lines\n" + "\n".join(log[-40:]), flush=True)


def first_lines(script):
    return script.read_text().splitlines()[:SETTINGS_LINES_MAX]


def settings_of(script):
    """What the script's first lines say of its server; None, if it uses the common one; empty, if it uses none."""
    words = [word for line in first_lines(script) if line.startswith("# server: ") for word in line.split()[2:]]
    return dict(word.split("=", 1) for word in words if word != "none") if words else None


def free_port(kind=socket.SOCK_STREAM):
    """Of TCP, or of UDP."""
    with socket.socket(type=kind) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def environment_of(script, binary, work, mode):
    environment = dict(
        os.environ,
        AWS_ACCESS_KEY_ID=ACCESS_KEY,
        # awscrt would sign for boto3, and not what a test has refused; a script that needs it says so.
        BOTO_DISABLE_CRT="true",
        AWS_SECRET_ACCESS_KEY=SECRET_KEY,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        BUCKET=re.sub("[^a-z0-9]+", "-", script.stem.lower()) + "-bucket",
        WORK=str(work),
        BINARY=binary,
        S3_ADDRESSING=mode.style,
        RESULTS=str(work / "results.jsonl"),
        # Nobody's own settings and caches.
        AWS_CONFIG_FILE=str(work / "no-config"),
        AWS_SHARED_CREDENTIALS_FILE=str(work / "no-credentials"),
        XDG_CACHE_HOME=str(work / ".cache"),
    )
    for one in ACCOUNTS:
        prefix = one["name"].upper()
        for field in ("id", "name", "email", "canonical_id"):
            environment[f"{prefix}_{field.upper()}"] = one[field]
        for field, value in one["keys"][0].items():
            environment[f"{prefix}_{field.upper()}"] = value
    # Where there is no TLS, rclone refuses to start with a bundle that it does not use.
    for name in BUNDLES:
        environment.pop(name, None)
    return environment


def reach(environment, server, mode):
    """Tells a script where its server is."""
    address = server.s3
    if mode.style == "virtual":
        environment["S3_DOMAIN"] = DOMAIN
        address = f"{DOMAIN}:{address.rsplit(':', 1)[1]}"
    environment["S3_ENDPOINT"] = f"{'https' if server.tls else 'http'}://{address}"
    environment["S3_ADMIN"] = f"http://{server.admin}"
    if server.tls:
        for name in BUNDLES:
            environment[name] = str(pathlib.Path(server.tls).with_name("authority.pem"))


def end_group(process):
    """Ends a script, which may have to tidy up, and whatever it started."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=TIDY_SECONDS_MAX)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


# The scripts that run now.
RUNNING = set()


def end_all():
    for process in list(RUNNING):
        end_group(process)


def execute(script, arguments, environment, work):
    """Exit code, output. Nothing that the script started outlives it."""
    command = ["bash", "-euo", "pipefail", str(script)] if script.suffix == ".sh" else [sys.executable, str(script)]
    process = subprocess.Popen(
        command + arguments, env=environment, cwd=work, start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )
    late = ""
    RUNNING.add(process)
    try:
        output, _ = process.communicate(timeout=SCRIPT_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        late = f"\nnot done within {SCRIPT_SECONDS_MAX} s"
    finally:
        end_group(process)
        RUNNING.discard(process)
    if late:
        output, _ = process.communicate()
    return process.returncode if not late else 1, output + late


def run_with_own(script, binary, settings, environment, work, mode):
    """Prepares the script's directory, starts its server, and runs it; exit code, output."""
    if any("{WORK}" in value for value in settings.values()):
        code, output = execute(script, ["--prepare"], environment, work)
        if code != 0:
            return code, output
    environment["PORT"] = str(free_port())
    fill = lambda value: value.replace("{WORK}", str(work)).replace("{PORT}", environment["PORT"])
    settings = {name: fill(value) for name, value in settings.items()}
    try:
        server = Server(binary, work.with_suffix(".server"), settings)
    except SystemExit as refusal:
        return 1, str(refusal)
    try:
        reach(environment, server, mode)
        code, output = execute(script, [], environment, work)
        if not server.stop():
            code = code or 1
        if code not in (0, MISSING):
            server.tell_log()
        return code, output
    finally:
        server.process.kill()


def run_script(script, binary, shared, root, mode, tls):
    """Exit code, output, seconds. `tls` is where the certificate is, None where none could be made."""
    work = root / script.stem
    work.mkdir()
    environment = environment_of(script, binary, work, mode)
    settings = settings_of(script)
    begun = time.monotonic()
    if settings == {}:
        code, output = execute(script, [], environment, work)
    elif settings:
        settings = {**settings, **mode.settings()}
        if tls is None and "SHERD_TLS_CERT" in settings:
            return MISSING, "openssl is not installed", 0.0
        settings = {name: value.replace("{TLS}", str(tls)) for name, value in settings.items()}
        code, output = run_with_own(script, binary, settings, environment, work, mode)
    else:
        reach(environment, shared, mode)
        code, output = execute(script, [], environment, work)
    return code, output, time.monotonic() - begun


def keep_results(script, root):
    """Puts what the script's tests showed in the place of what they showed before."""
    kept = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    kept = [line for line in kept if not json.loads(line)["test"].startswith(f"{script.stem}.")]
    new = root / script.stem / "results.jsonl"
    kept += new.read_text().splitlines() if new.exists() else []
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text("".join(f"{line}\n" for line in sorted(kept)))


class Runs:
    """Runs scripts in one mode: those of the common server in turn, and beside them those that do not use it."""

    def __init__(self, binary, shared, root, mode, tls):
        self.binary, self.shared, self.root, self.mode, self.tls = binary, shared, root, mode, tls
        self.counts, self.reporting = collections.Counter(), threading.Lock()

    def all(self, scripts):
        common = collections.deque(script for script in scripts if settings_of(script) is None)
        others = collections.deque(script for script in scripts if settings_of(script) is not None)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            lanes = [pool.submit(self.in_turn, queues) for queues in ([common, others], [others])]
            try:
                for lane in lanes:
                    lane.result()
            except BaseException:
                common.clear()
                others.clear()
                end_all()
                raise
        return self.counts

    def in_turn(self, queues):
        for queue in queues:
            while queue:
                # The last one may be gone to the other lane.
                with contextlib.suppress(IndexError):
                    self.one(queue.popleft(), queue)

    def one(self, script, queue):
        outcome = run_script(script, self.binary, self.shared, self.root, self.mode, self.tls)
        with self.reporting:
            self.report(script, *outcome)
            if settings_of(script) is None and self.shared.ended():
                print(f"the server ended with {self.shared.process.returncode}")
                queue.clear()

    def report(self, script, code, output, seconds):
        result = {0: "passed", MISSING: "skipped"}.get(code, "failed")
        lines = output.splitlines()
        left_out = [line for line in lines if line.startswith(PARTLY_SKIPPED)]
        if result == "skipped" and REQUIRED or left_out and REQUIRED == "1":
            result = "failed"
            lines.append(f"nothing may be skipped: SHERD_CLIENTS_REQUIRED={REQUIRED}")
        self.counts[result] += 1
        if self.mode == PLAIN:
            keep_results(script, self.root)
        # What all scripts leave together is more than some disks have room for.
        for left in (self.root / script.stem, (self.root / script.stem).with_suffix(".server")):
            shutil.rmtree(left, ignore_errors=True)
        print(f"{script.name}{'' if self.mode == PLAIN else f' ({self.mode})'}: {result} in {seconds:.1f} s", flush=True)
        if result == "passed":
            print("".join(f"    {line}\n" for line in left_out), end="", flush=True)
        else:
            failed = [line for line in lines if line.endswith(": FAILED")]
            print("\n".join("    " + line for line in [*failed, *lines[-OUTPUT_LINES_MAX:]]), flush=True)


def run_mode(scripts, binary, root, mode, tls):
    """How many passed, failed and were skipped."""
    root.mkdir()
    if mode.tls and tls is None:
        print(f"{'failed' if REQUIRED else 'skipped'}, since openssl is not installed: {mode}")
        return collections.Counter({"failed" if REQUIRED else "skipped": len(scripts)})
    shares = any(settings_of(script) is None for script in scripts)
    settings = {name: value.replace("{TLS}", str(tls)) for name, value in mode.settings().items()}
    shared = Server(binary, root / "shared.server", settings) if shares else None
    try:
        counts = Runs(binary, shared, root, mode, tls).all(scripts)
        if shared and not shared.stop():
            counts["failed"] += 1
    finally:
        if shared:
            shared.process.kill()
    if shared and counts["failed"]:
        shared.tell_log()
    shutil.rmtree(root / "shared.server", ignore_errors=True)
    return counts


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if REQUIRED not in ("", "clients", "1"):
        sys.exit(f"SHERD_CLIENTS_REQUIRED is {REQUIRED}; expected clients or 1")
    # Asked to end, it first ends what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    binary, names = os.path.abspath(sys.argv[1]), sys.argv[2:]
    scripts = sorted(path for path in HERE.iterdir() if path.suffix in (".sh", ".py") and path.name not in NO_SCRIPTS)
    scripts = [path for path in scripts if not path.name.startswith("_")]
    scripts = [path for path in scripts if not names or any(name in path.name for name in names)]
    counts = collections.Counter()
    with tempfile.TemporaryDirectory(dir=os.environ.get("SHERD_CLIENTS_DIR")) as directory:
        root = pathlib.Path(directory)
        tls = root / "tls" if certify(root / "tls") else None
        for mode in modes():
            counts += run_mode([script for script in scripts if mode.runs(script)], binary, root / str(mode), mode, tls)
    print(f"clients: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] or not counts["passed"] else 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("told to end")
