"""`sherd admin`, as a script that is written against it calls it."""

import json
import os
import subprocess

from _support import ACCESS_KEY, REGION, SECRET_KEY


def run_admin(*arguments, url=None):
    """Exit code, standard output, standard error."""
    environment = {
        "SHERD_ADMIN_URL": url or os.environ["S3_ADMIN"],
        "SHERD_ACCESS_KEY": ACCESS_KEY,
        "SHERD_SECRET_KEY": SECRET_KEY,
        "SHERD_REGION": REGION,
    }
    done = subprocess.run([os.environ["BINARY"], "admin", *arguments], env=environment, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout, done.stderr


def admin(*arguments, code=0, url=None):
    """The answer to a command with --json that ends with this code."""
    found, output, errors = run_admin("--json", *arguments, url=url)
    assert found == code, (arguments, found, output, errors)
    return json.loads(output)


def admin_refuses(word, *arguments, url=None):
    """That a command is refused, in words that hold this one."""
    code, output, errors = run_admin(*arguments, url=url)
    assert code == 1 and word in errors, (arguments, code, output, errors)
