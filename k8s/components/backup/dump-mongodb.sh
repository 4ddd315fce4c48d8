#!/usr/bin/env bash
# Writes the state of MongoDB at one moment, the end of the dump, into the folder of the pod. Runs before dump-mysql.sh, so that
# every room and user that MongoDB names is in MySQL's dump.
set -euo pipefail
umask 077

: "${MONGODB_ROOT_PASSWORD:?}"
work=${WORK:-/work} host=${MONGODB_HOST:-mongodb:27017}

# A file, because every process of the pod can read arguments.
printf 'password: "%s"\n' "$MONGODB_ROOT_PASSWORD" >/tmp/mongodump.yaml
mongodump --config=/tmp/mongodump.yaml --host="$host" --username=admin --authenticationDatabase=admin \
    --oplog --gzip --archive="$work/mongodb.archive.gz"
