#!/bin/sh
# Runs the store as the image's user. Started as root (--user 0), it becomes the owner of what is mounted right below /data,
# else of /data, and uid 1000 where these are root's. Mount points that are root's are given to that user; nothing else is
# changed, no content either.
set -eu

# Flags and commands go to sherd.
case "${1:-}" in
    -* | admin | check | credentials | dev | health | recover | rejoin | salvage) set -- sherd "$@" ;;
esac

[ "$(id -u)" = 0 ] || exec "$@"

# Whose /data is in the image: it counts only where no mount below says otherwise.
made_for=1000:1000

is_mounted() {
    # A link may lead anywhere.
    [ ! -L "${1%/}" ] && mountpoint -q "$1"
}

owner=
owned=
for dir in /data/*/ /data; do
    [ "$dir" = /data ] || is_mounted "$dir" || continue
    found=$(stat -c %u:%g "$dir")
    case "$found" in
        0:*) continue ;;
        "$made_for") [ "$dir" != /data ] || [ -z "$owner" ] || continue ;;
    esac
    if [ -n "$owner" ] && [ "${owner%:*}" != "${found%:*}" ]; then
        echo "sherd: $owned belongs to uid ${owner%:*} and $dir to uid ${found%:*}: give both to one user" >&2
        exit 2
    fi
    owner=${owner:-$found}
    owned=${owned:-$dir}
done
owner=${owner:-$made_for}

for dir in /data /data/*/; do
    [ "$dir" = /data ] || is_mounted "$dir" || continue
    [ "$(stat -c %u "$dir")" != 0 ] || chown "$owner" "$dir"
done
exec setpriv --reuid="${owner%:*}" --regid="${owner#*:}" --clear-groups --no-new-privs -- "$@"
