# server: SHERD_OBJECT_OWNERSHIP=ObjectWriter
# As the store has it by default: rclone sends an access control list with every object.
# rclone: copy with multipart uploads, check by content, server-side move, purge.
command -v rclone > /dev/null || { echo "rclone is not installed"; exit 77; }
export RCLONE_CONFIG=$WORK/rclone.conf
cat > "$RCLONE_CONFIG" <<CONF
[store]
type = s3
provider = Other
access_key_id = $AWS_ACCESS_KEY_ID
secret_access_key = $AWS_SECRET_ACCESS_KEY
endpoint = $S3_ENDPOINT
region = us-east-1
CONF

mkdir -p tree/sub
head -c 30M /dev/urandom > tree/large
for n in $(seq 20); do head -c $((n * 777)) /dev/urandom > "tree/sub/näme $n"; done

rclone mkdir "store:$BUCKET"
rclone copy --s3-upload-cutoff 10M --s3-chunk-size 5M tree "store:$BUCKET/tree"
rclone check --download tree "store:$BUCKET/tree"
rclone copy "store:$BUCKET/tree" back
diff -r tree back
rclone moveto "store:$BUCKET/tree/large" "store:$BUCKET/tree/moved"
rclone cat "store:$BUCKET/tree/moved" | cmp - tree/large
test "$(rclone lsf -R --files-only "store:$BUCKET" | wc -l)" = 21
rclone purge "store:$BUCKET"
