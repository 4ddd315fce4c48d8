#!/bin/sh
# Copies the objects that are new since the last run, encrypted, into the folder of the files. Runs after dump-mongodb.sh, so that
# the object of every message in MongoDB's dump is in the folder. An object that has left the store is moved into a folder with
# the time of this run, and deleted with the last backup that is older.
set -eu
umask 077

refuse() {
    echo "$*; no backup was made" >&2
    exit 1
}

# shellcheck source=k8s/components/backup/rclone.sh
. "$(dirname "$0")/rclone.sh"
name=$(date -u +%Y-%m-%dT%H-%M-%SZ)

[ ! -e "$backups/.restoring" ] || refuse "the restore of $(cat "$backups/.restoring") was interrupted: repeat it"
open_backup || refuse "the folder of the files has another passphrase: move its content away, and keep it as long as backups of that one"
kept=$(count backup:current)
found=$(count "$store")
[ -n "$kept" ] && [ -n "$found" ] || refuse "the folder of the files or the object store does not answer"
# A lost volume must not empty the backup.
if [ "$found" = 0 ] && [ "$kept" != 0 ] && [ ! -e "$backups/no-files" ]; then
    refuse "the object store is empty, and the backup has $kept files: restore them, or create no-files beside the backups if that is right"
fi
rclone sync "$store" backup:current --backup-dir "backup:removed/$name"

oldest=$(find "$backups" -mindepth 1 -maxdepth 1 -type d -name '20*Z' | sed 's:.*/::' | sort | head -n 1)
for removed in $(rclone lsf --dirs-only backup:removed | tr -d / | awk -v oldest="${oldest:-$name}" '$0 < oldest'); do
    # purge takes no filter.
    env -u RCLONE_EXCLUDE rclone purge "backup:removed/$removed"
    echo "deleted the files that were removed before $removed"
done
echo "the folder of the files has the $found objects of the store"
