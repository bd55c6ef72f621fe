#!/bin/sh
# Runs the store as the image's user. Started as root (--user 0), it becomes the owner of what is mounted right below /data,
# else of /data, and uid 1000 where these are root's. At the first start it gives mount points that are root's to that user.
# Once anything is the user's or holds a drive of a store, one that is root's and holds none stays root's: its file system
# may not be mounted. Nothing else is changed, no content either.
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

# Whether a drive of a store is in the directory, or in one right below it that is no mount.
holds_drive() {
    [ ! -e "$1/identity.json" ] || return 0
    for below in "$1"/*/; do
        [ ! -e "$below/identity.json" ] || is_mounted "$below" || return 0
    done
    return 1
}

owner=
owned=
is_set_up=
for dir in /data/*/ /data; do
    [ "$dir" = /data ] || is_mounted "$dir" || continue
    found=$(stat -c %u:%g "$dir")
    ! holds_drive "$dir" || is_set_up=yes
    case "$found" in
        0:*) continue ;;
        "$made_for") [ "$dir" != /data ] || [ -z "$owner" ] || continue ;;
    esac
    if [ -n "$owner" ] && [ "${owner%:*}" != "${found%:*}" ]; then
        echo "sherd: $owned belongs to uid ${owner%:*} and $dir to uid ${found%:*}: give both to one user" >&2
        exit 2
    fi
    # Whose /data is says nothing of the drives below it.
    [ "$dir" = /data ] || is_set_up=yes
    owner=${owner:-$found}
    owned=${owned:-$dir}
done
owner=${owner:-$made_for}

for dir in /data /data/*/; do
    [ "$dir" = /data ] || is_mounted "$dir" || continue
    [ "$(stat -c %u "$dir")" = 0 ] || continue
    if [ -n "$is_set_up" ] && ! holds_drive "$dir"; then
        echo "sherd: $dir is root's and holds no drive, and others do or are the user's: it is left as it is, for its" \
            "file system may not be mounted. If it is a new drive, give it to uid ${owner%:*}" >&2
    elif ! chown "$owner" "$dir"; then
        echo "sherd: $dir stays root's, so the store may not be able to use it" >&2
    fi
done
exec setpriv --reuid="${owner%:*}" --regid="${owner#*:}" --clear-groups --no-new-privs -- "$@"
