"""Fuzzes the doors of src/fuzzing/mod.rs, guided by coverage, with libFuzzer on stable Rust.

    tests/fuzz/run.py                 every target for SHERD_FUZZ_SECONDS (60), one after the other
    tests/fuzz/run.py requests forms  some of them
    tests/fuzz/run.py --build         only builds

What is found is kept under the target directory (CARGO_TARGET_DIR, or target/fuzz): `corpus/TARGET` grows from run to run,
`found/TARGET` has the inputs that fail. Such an input, made small by hand, belongs among tests/fuzz/seeds/TARGET.
"""

import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TRIPLE = subprocess.check_output(["rustc", "-vV"], text=True).split("host: ")[1].split()[0]
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target" / "fuzz")).resolve()
SECONDS = os.environ.get("SHERD_FUZZ_SECONDS", "60")
# What cargo-fuzz gives the compiler, without its cfg and without a sanitizer: there is next to no unsafe code to watch.
FLAGS = [
    # The doors use some of what the tests have, not all.
    "-Adead_code",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
]
# Seconds over one input, and megabytes in all.
LIMITS = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=1"]


def build():
    """With --target, so that build scripts are not instrumented."""
    environment = os.environ | {"RUSTFLAGS": " ".join(FLAGS), "CARGO_TARGET_DIR": str(BUILT)}
    command = ["cargo", "build", "--release", "--locked", "--target", TRIPLE]
    subprocess.run(command, cwd=HERE, env=environment, check=True)
    return BUILT / TRIPLE / "release" / "sherd-fuzz"


def fuzz(program, target):
    """Whether nothing was found. Prints libFuzzer's last words."""
    corpus, found = BUILT / "corpus" / target, BUILT / "found" / target
    for directory in (corpus, found):
        directory.mkdir(parents=True, exist_ok=True)
    dictionary = HERE / "dictionaries" / f"{target}.dict"
    options = LIMITS + [f"-max_total_time={SECONDS}", f"-artifact_prefix={found}/"]
    options += [f"-dict={dictionary}"] if dictionary.exists() else []
    command = [program, *options, corpus, HERE / "seeds" / target]
    environment = os.environ | {"SHERD_FUZZ_TARGET": target, "RUST_LOG": "off"}
    run = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace")
    if run.returncode != 0:
        print(run.stderr[-4000:])
    coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", run.stderr)
    runs = re.search(r"number_of_executed_units: (\d+)", run.stderr)
    counted = "cov {} features {} corpus {}".format(*coverage[-1]) if coverage else "no coverage"
    word = "nothing found" if run.returncode == 0 else f"FAILED, see {found}"
    print(f"{target}: {runs[1] if runs else '?'} runs, {counted}: {word}", flush=True)
    return run.returncode == 0


def main():
    names = [name for name in sys.argv[1:] if name != "--build"]
    known = sorted(path.name for path in (HERE / "seeds").iterdir())
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no such target: {', '.join(unknown)}; there are {', '.join(known)}")
    program = build()
    if "--build" in sys.argv:
        return
    failed = [target for target in names or known if not fuzz(program, target)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


main()
