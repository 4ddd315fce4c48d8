#!/usr/bin/env bash
# Replaces MongoDB's data by the dump that load-mysql.sh has decrypted. Accounts that exist stay as they are.
set -euo pipefail
umask 077

: "${MONGODB_ROOT_PASSWORD:?}"
work=${WORK:-/work} host=${MONGODB_HOST:-mongodb:27017}

printf 'password: "%s"\n' "$MONGODB_ROOT_PASSWORD" >/tmp/mongorestore.yaml
# Collections that are not in the backup would remain.
mongosh --quiet --norc "mongodb://$host/bigtech_chat?directConnection=true" --eval '
    db.getSiblingDB("admin").auth("admin", process.env.MONGODB_ROOT_PASSWORD);
    db.dropDatabase({ w: "majority" });'
# --drop would replace the account of this login too, and the server would end it before the indexes are built.
mongorestore --config=/tmp/mongorestore.yaml --host="$host" --username=admin --authenticationDatabase=admin \
    --oplogReplay --gzip --archive="$work/mongodb.archive.gz"
echo "MongoDB has the data of the backup"
