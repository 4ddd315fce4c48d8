#!/usr/bin/env bash
# Compares a backup with its checksums, replaces MySQL's schemas by it, and decrypts MongoDB's dump for load-mongodb.sh. The backup
# is the newest one, or BACKUP.
set -euo pipefail
umask 077

: "${MYSQL_ROOT_PASSWORD:?}" "${PASSPHRASE:?}"
work=${WORK:-/work} backups=${BACKUPS:-/backups}
export MYSQL_PWD=$MYSQL_ROOT_PASSWORD

refuse() {
    echo "$*; nothing was changed" >&2
    exit 1
}

decrypt() {
    openssl enc -d -aes-256-ctr -pbkdf2 -iter 600000 -pass env:PASSPHRASE -in "$1"
}

# authenticate SALT: prints the HMAC of SHA256SUMS with a key of this backup, from which the passphrase is as hard to guess as from
# the encrypted files.
authenticate() {
    local key
    key=$(openssl enc -aes-256-ctr -pbkdf2 -iter 600000 -pass env:PASSPHRASE -S "$1" -P | sed -n 's/^key=//p')
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -r SHA256SUMS
}

client() {
    mysql --no-defaults --protocol=tcp --host="${MYSQL_HOST:-mysql}" --port="${MYSQL_PORT:-3306}" --user=root \
        --default-character-set=utf8mb4 --binary-mode --batch --skip-column-names "$@"
}

cd "$backups"
backup=${BACKUP:-$(find . -mindepth 1 -maxdepth 1 -type d -name '20*Z' -printf '%f\n' | sort | tail -1)}
[[ $backup =~ ^20[0-9TZ-]+$ && -d $backup && ! -L $backup ]] || refuse "there is no backup '$backup'; there are: $(compgen -G '20*Z' | sort | paste -sd ' ')"
cd "$backup"
read -r salt hmac <SHA256SUMS.hmac || true
[[ ${salt-} =~ ^[0-9a-f]{16}$ && $(authenticate "$salt") == "$hmac" ]] ||
    refuse "$backup is incomplete, was changed, or has another passphrase"
sha256sum --quiet --strict --check SHA256SUMS || refuse "a file of $backup was cut off or changed"

# A service that runs would write into what is being replaced.
connections=$(client --execute="SELECT COUNT(*) FROM information_schema.processlist WHERE user LIKE 'bigtech\_%'")
[[ $connections == 0 ]] || refuse "the services are connected to MySQL: scale them to 0 first"

decrypt mongodb.archive.gz.enc >"$work/mongodb.archive.gz"
gzip --test "$work/mongodb.archive.gz"
# No backup is made of stores that are replaced in part. The last container of the Job removes the mark.
echo "$backup" >"$backups/.restoring"
sync "$backups/.restoring"
decrypt mysql.sql.gz.enc | gunzip | client
# The ids that were assigned after the backup are left out: they are in tokens, in clients and on Kafka.
client --execute="SET SESSION information_schema_stats_expiry = 0;
    SELECT CONCAT('ALTER TABLE ', TABLE_SCHEMA, '.', TABLE_NAME, ' AUTO_INCREMENT = ',
        COALESCE(AUTO_INCREMENT, 1) + 1000000, ';')
    FROM information_schema.TABLES JOIN information_schema.COLUMNS USING (TABLE_SCHEMA, TABLE_NAME)
    WHERE TABLE_SCHEMA IN ('bigtech_user', 'bigtech_friend', 'bigtech_chat') AND EXTRA LIKE '%auto_increment%'" | client
echo "MySQL has the data of the backup $backup"
