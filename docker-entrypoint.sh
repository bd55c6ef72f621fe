#!/bin/sh
# Gives /data, and what is mounted right below it, to the user that the store runs as, and becomes that user. A bind mount
# that belongs to somebody keeps its owner: the store then runs as them. Only mount points are changed, never their content.
set -eu

if [ "$(id -u)" = 0 ]; then
    uid=1000
    gid=1000
    for dir in /data /data/*/; do
        [ -d "$dir" ] || continue
        owner=$(stat -c %u "$dir")
        if [ "$owner" != 0 ]; then
            uid=$owner
            gid=$(stat -c %g "$dir")
        fi
    done
    for dir in /data /data/*/; do
        [ -d "$dir" ] || continue
        [ "$(stat -c %u "$dir")" != 0 ] || chown "$uid:$gid" "$dir"
    done
    exec setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs -- "$@"
fi
exec "$@"
