# server: none
"""What the worst requests of a tenant cost: those of tests/tenants, measured once each, against generous bounds."""

import os
import pathlib
import subprocess
import sys

MEASURE = pathlib.Path(__file__).resolve().parents[1] / "tenants" / "measure.py"


if __name__ == "__main__":
    sys.exit(subprocess.run([sys.executable, str(MEASURE), os.environ["BINARY"], "--quick"], check=False).returncode)
