# The AWS command line: a large file up and down with default settings, sync, presigned, listing, deletion.
command -v aws > /dev/null || { echo "aws is not installed"; exit 77; }
export AWS_ENDPOINT_URL="$S3_ENDPOINT"
megabytes=${SHERD_CLIENTS_MB:-600}
# It presigns with version 2 unless it is told otherwise, which is off by default.
export AWS_CONFIG_FILE="$PWD/config"
aws configure set default.s3.signature_version s3v4

aws s3 mb "s3://$BUCKET"
head -c "${megabytes}M" /dev/urandom > large
aws s3 cp --no-progress large "s3://$BUCKET/path/large"
aws s3 cp --no-progress "s3://$BUCKET/path/large" back
cmp large back
rm back

# One byte range.
aws s3api get-object --bucket "$BUCKET" --key path/large --range bytes=1000-1999 range > head.json
cmp range <(tail -c +1001 large | head -c 1000)
rm large

mkdir -p tree/a/b
for n in 1 2 3; do head -c $((n * 1000)) /dev/urandom > "tree/a/b/file $n"; done
: > tree/empty
aws s3 sync --no-progress tree "s3://$BUCKET/tree"
aws s3 sync --no-progress "s3://$BUCKET/tree" copy
diff -r tree copy
test -z "$(aws s3 sync --no-progress tree "s3://$BUCKET/tree")"

fetch() { python3 -c 'import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())' "$1"; }
fetch "$(aws s3 presign "s3://$BUCKET/tree/a/b/file 2")" | cmp - "tree/a/b/file 2"

aws s3api put-object --bucket "$BUCKET" --key once --body "tree/a/b/file 1" --if-none-match '*' > once.json
if aws s3api put-object --bucket "$BUCKET" --key once --body "tree/a/b/file 2" --if-none-match '*' 2> refused; then exit 1; fi
grep -q PreconditionFailed refused

aws s3 mv --no-progress "s3://$BUCKET/once" "s3://$BUCKET/moved"
test "$(aws s3 ls --recursive "s3://$BUCKET/" | wc -l)" = 6
aws s3 rm --recursive "s3://$BUCKET/" > removed
aws s3 rb "s3://$BUCKET"
if aws s3 ls "s3://$BUCKET" 2> gone; then exit 1; fi
