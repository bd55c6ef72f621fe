# restic: two backups, a full check that reads all data, a restore, forget with prune.
command -v restic > /dev/null || { echo "restic is not installed"; exit 77; }
export RESTIC_REPOSITORY="s3:$S3_ENDPOINT/$BUCKET/repository"
export RESTIC_PASSWORD=not-a-secret

mkdir -p tree/sub
head -c 40M /dev/urandom > tree/large
for n in $(seq 50); do head -c $((n * 500)) /dev/urandom > "tree/sub/$n"; done

restic init
restic backup tree
echo more > tree/sub/more
restic backup tree
restic check --read-data
restic restore latest --target restored
diff -r tree "restored$WORK/tree" 2> /dev/null || diff -r tree restored/tree
restic forget --keep-last 1 --prune
restic check
test "$(restic snapshots --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')" = 1
