#!/bin/sh
# Makes the bucket what it was at the backup that load-mysql.sh has chosen, but for uploads that are not sent. Of a backup that is
# not the newest one, later files stay; no message has them.
set -eu
umask 077

# shellcheck source=k8s/components/backup/rclone.sh
. "$(dirname "$0")/rclone.sh"
backup=$(cat "$backups/.restoring")

open_backup
kept=$(count backup:current)
: "${kept:?the folder of the files cannot be read}"
if [ "$kept" = 0 ]; then
    echo "the backups have no files: the object store stays as it is" >&2
    exit 0
fi
rclone sync backup:current "$store"
for removed in $(rclone lsf --dirs-only backup:removed | tr -d / | awk -v backup="$backup" '$0 > backup'); do
    rclone copy "backup:removed/$removed" "$store"
done
echo "the object store has the files of the backup $backup"
