# shellcheck shell=sh
# The remotes of rclone for dump-files.sh and load-files.sh: $store, the bucket, and `backup:`, the encrypted folder of the files.
: "${FILE_STORE_URL:?}" "${FILE_STORE_BUCKET:?}" "${FILE_STORE_ACCESS_KEY:?}" "${FILE_STORE_SECRET_KEY:?}" "${PASSPHRASE:?}"
# shellcheck disable=SC2034 # for the scripts that source this one
backups=${BACKUPS:-/backups} store=store:$FILE_STORE_BUCKET

# The time of an object is that of its upload, which the list has. rclone's own would take a request for each object.
export RCLONE_CONFIG='' RCLONE_LOG_LEVEL=NOTICE RCLONE_STATS=0 RCLONE_USE_SERVER_MODTIME=true
# Uploads that are not sent belong to no message.
export RCLONE_EXCLUDE='/uploads/**'

export RCLONE_CONFIG_STORE_TYPE=s3 RCLONE_CONFIG_STORE_PROVIDER=Other RCLONE_CONFIG_STORE_NO_CHECK_BUCKET=true
export RCLONE_CONFIG_STORE_ENDPOINT="$FILE_STORE_URL" RCLONE_CONFIG_STORE_REGION="${FILE_STORE_REGION:-us-east-1}"
export RCLONE_CONFIG_STORE_ACCESS_KEY_ID="$FILE_STORE_ACCESS_KEY" RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY="$FILE_STORE_SECRET_KEY"

# Strict: a name that this passphrase does not decrypt is an error instead of being passed over.
export RCLONE_CONFIG_BACKUP_TYPE=crypt RCLONE_CONFIG_BACKUP_REMOTE="${FILES:-/files}" RCLONE_CONFIG_BACKUP_STRICT_NAMES=true
RCLONE_CONFIG_BACKUP_PASSWORD=$(printf %s "$PASSPHRASE" | rclone obscure -)
export RCLONE_CONFIG_BACKUP_PASSWORD

# Creates the folders that are missing. Fails if another passphrase has encrypted those that exist.
open_backup() {
    rclone lsf backup: >/dev/null && rclone mkdir backup:current && rclone mkdir backup:removed
}

# Prints how many objects a remote has; nothing if it does not answer.
count() {
    rclone size --json "$1" | sed -n 's/.*"count":\([0-9]*\).*/\1/p'
}
