#!/usr/bin/env bash
# Writes MySQL's schemas as of one moment, encrypts both dumps into the folder of the backups, and deletes the oldest backups.
#
# A folder has its name only when it is complete. SHA256SUMS.hmac shows that nobody without the passphrase has changed the
# dumps.
set -euo pipefail
umask 077

: "${MYSQL_ROOT_PASSWORD:?}" "${PASSPHRASE:?}" "${KEEP:?}"
work=${WORK:-/work} backups=${BACKUPS:-/backups}
name=$(date -u +%Y-%m-%dT%H-%M-%SZ)
export MYSQL_PWD=$MYSQL_ROOT_PASSWORD
server=(--no-defaults --protocol=tcp --host="${MYSQL_HOST:-mysql}" --port="${MYSQL_PORT:-3306}" --user=root)

refuse() {
    echo "$*; no backup was made" >&2
    exit 1
}

encrypt() {
    openssl enc -aes-256-ctr -pbkdf2 -iter 600000 -pass env:PASSPHRASE -out "$1"
}

# authenticate SALT: prints the HMAC of SHA256SUMS with a key of this backup, from which the passphrase is as hard to guess as from
# the encrypted files.
authenticate() {
    local key
    key=$(openssl enc -aes-256-ctr -pbkdf2 -iter 600000 -pass env:PASSPHRASE -S "$1" -P | sed -n 's/^key=//p')
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -r SHA256SUMS
}

cd "$backups"
# Such a backup would be the newest one, from which the next restore is made.
[[ ! -e .restoring ]] || refuse "the restore of $(cat .restoring) was interrupted: repeat it"
previous=$(find . -mindepth 1 -maxdepth 1 -type d -name '20*Z' -printf '%f\n' | sort | tail -1)
if [[ -n $previous ]]; then
    accounts=$(mysql "${server[@]}" --batch --skip-column-names --execute='SELECT COUNT(*) FROM (SELECT 1 FROM bigtech_user.users LIMIT 1) a') ||
        refuse "the accounts cannot be counted"
    [[ $accounts == 1 ]] || refuse "the stores are empty, and there are earlier backups: restore one"
    [[ ! -e $work/no-messages || -e $previous/no-messages ]] || refuse "MongoDB has no message, and the backup $previous has some: restore it, or create $previous/no-messages if that is right"
fi
# What interrupted runs left. The CronJob runs one at a time.
rm -rf .*.partial
mkdir ".$name.partial"
cd ".$name.partial"
mysqldump "${server[@]}" --default-character-set=utf8mb4 --single-transaction --quick --routines --triggers --hex-blob \
    --set-gtid-purged=OFF --add-drop-database --databases bigtech_user bigtech_friend bigtech_chat |
    gzip | encrypt mysql.sql.gz.enc
encrypt mongodb.archive.gz.enc <"$work/mongodb.archive.gz"
[[ ! -e $work/no-messages ]] || touch no-messages
sha256sum mongodb.archive.gz.enc mysql.sql.gz.enc >SHA256SUMS
salt=$(openssl rand -hex 8)
echo "$salt $(authenticate "$salt")" >SHA256SUMS.hmac
sync ./*
cd ..
mv ".$name.partial" "$name"
sync .
echo "the backup $name is complete: $(du -sh "$name" | cut -f1)"

find . -mindepth 1 -maxdepth 1 -type d -name '20*Z' -printf '%f\n' | sort | head -n "-$KEEP" | while read -r old; do
    mv "$old" ".$old.partial"
    rm -rf ".$old.partial"
    echo "deleted the backup $old"
done
