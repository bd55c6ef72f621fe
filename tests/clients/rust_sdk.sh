# The Rust SDK of AWS, in a program of its own (rust_sdk/), which .ci/run builds.
program=${RUST_SDK_SUITE:-$(dirname "$0")/../../target/rust-sdk/debug/rust-sdk-suite}
[ -x "$program" ] || exit 77
"$program"
