# The JavaScript SDK of AWS (node_sdk/), which .ci/run installs.
modules=${NODE_SDK_MODULES:-$(dirname "$0")/../../target/node-sdk/node_modules}
[ -d "$modules" ] || { echo "the SDK is not installed"; exit 77; }
command -v node > /dev/null || { echo "Node is not installed"; exit 77; }
# Modules are looked for beside the files that name them.
cp "$(dirname "$0")"/node_sdk/*.mjs .
ln -s "$(realpath "$modules")" node_modules
node --test-reporter=spec suite.mjs
