#!/usr/bin/env bash
# Writes the state of MongoDB at one moment, the end of the dump, into the folder of the pod. Runs before dump-mysql.sh, so that
# every room and user that MongoDB names is in MySQL's dump.
set -euo pipefail
umask 077

: "${MONGODB_ROOT_PASSWORD:?}"
work=${WORK:-/work} host=${MONGODB_HOST:-mongodb:27017}

# dump-mysql.sh makes no backup without messages after one with messages.
has_messages=0
mongosh --quiet --norc "mongodb://$host/bigtech_chat?directConnection=true" --eval '
    db.getSiblingDB("admin").auth("admin", process.env.MONGODB_ROOT_PASSWORD);
    quit(db.messages.findOne({}, { _id: 1 }) ? 0 : 3);' || has_messages=$?
case $has_messages in
    0) rm -f "$work/no-messages" ;;
    3) touch "$work/no-messages" ;;
    *) exit "$has_messages" ;;
esac

# A file, because every process of the pod can read arguments.
printf 'password: "%s"\n' "$MONGODB_ROOT_PASSWORD" >/tmp/mongodump.yaml
mongodump --config=/tmp/mongodump.yaml --host="$host" --username=admin --authenticationDatabase=admin \
    --oplog --gzip --archive="$work/mongodb.archive.gz"
