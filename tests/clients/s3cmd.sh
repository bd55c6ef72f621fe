# s3cmd: signature version 4 by header, multipart, sync, metadata.
command -v s3cmd > /dev/null || { echo "s3cmd is not installed"; exit 77; }
host=${S3_ENDPOINT#http://}
cat > s3cfg <<CONF
[default]
access_key = $AWS_ACCESS_KEY_ID
secret_key = $AWS_SECRET_ACCESS_KEY
host_base = $host
host_bucket = $host
use_https = False
signature_v2 = False
bucket_location = us-east-1
CONF
s3() { s3cmd --config "$WORK/s3cfg" --no-progress "$@"; }

head -c 20M /dev/urandom > large
mkdir tree
for n in $(seq 5); do head -c $((n * 999)) /dev/urandom > "tree/$n"; done

s3 mb "s3://$BUCKET"
s3 put --multipart-chunk-size-mb=5 large "s3://$BUCKET/large"
s3 get "s3://$BUCKET/large" back
cmp large back
s3 sync tree/ "s3://$BUCKET/tree/"
mkdir copy
s3 get --recursive "s3://$BUCKET/tree/" copy/
diff -r tree copy
s3 put --add-header=x-amz-meta-color:blue tree/1 "s3://$BUCKET/meta"
s3 info "s3://$BUCKET/meta" | grep blue > /dev/null
s3 cp "s3://$BUCKET/large" "s3://$BUCKET/copied"
s3 get "s3://$BUCKET/copied" copied
cmp large copied
test "$(s3 ls --recursive "s3://$BUCKET/" | wc -l)" = 8
s3 rb --recursive --force "s3://$BUCKET"
