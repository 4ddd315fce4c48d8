#!/bin/sh
# Starts SeaweedFS as one process: master, volume server, filer and the S3 API. Only S3 and the metrics are reached from other
# machines; the other ports have no login, so they listen on the loopback address. Creates the bucket if it is missing.
set -eu

: "${FILE_STORE_BUCKET:?}" "${FILE_STORE_ACCESS_KEY:?}" "${FILE_STORE_SECRET_KEY:?}" "${CORS_ORIGINS:?the origins of the page}"
data=${SEAWEEDFS_DATA:-/data} temporary=${TMPDIR:-/tmp}

if [ "$FILE_STORE_SECRET_KEY" = placeholder ] && [ "${DEBUG:-}" != true ]; then
    echo 'FILE_STORE_SECRET_KEY is the placeholder; set a key of your own' >&2
    exit 1
fi
for text in "$FILE_STORE_BUCKET" "$FILE_STORE_ACCESS_KEY" "$FILE_STORE_SECRET_KEY"; do
    case $text in
        *[!A-Za-z0-9/+=._-]*)
            echo 'FILE_STORE_BUCKET, FILE_STORE_ACCESS_KEY and FILE_STORE_SECRET_KEY have letters, digits and /+=._- only' >&2
            exit 1
            ;;
    esac
done

# The only account. It has no rights outside of its bucket, and a request without a signature has none.
accounts=$temporary/accounts.json
rm -f "$accounts" "$temporary/prepared"
(umask 277 && cat >"$accounts") <<EOF
{"identities": [{
    "name": "chat-service",
    "credentials": [{"accessKey": "$FILE_STORE_ACCESS_KEY", "secretKey": "$FILE_STORE_SECRET_KEY"}],
    "actions": ["Read:$FILE_STORE_BUCKET", "Write:$FILE_STORE_BUCKET", "List:$FILE_STORE_BUCKET"]
}]}
EOF

# The gRPC port of S3 listens beside the S3 API. It changes accounts only for a holder of this key, and nothing else needs one.
WEED_JWT_FILER_SIGNING_KEY=$(head -c 32 /dev/urandom | base64)
export WEED_JWT_FILER_SIGNING_KEY

# CORS_ORIGINS may be a JSON list. SeaweedFS takes texts between commas.
origins=$(printf %s "$CORS_ORIGINS" | tr -d '[]" ')

# Runs the commands on the standard input. Prints the results, and what SeaweedFS logs meanwhile.
administrate() {
    weed -logtostderr shell -master=127.0.0.1:9333 2>&1
}

# fsync: the bytes of an acknowledged object are on the disk. Both commands change nothing if they are repeated.
prepare() {
    printf '%s\n' "s3.bucket.create -name $FILE_STORE_BUCKET" s3.bucket.list "fs.configure -locationPrefix=/buckets/ -fsync -apply" |
        administrate >"$temporary/prepare.log"
    grep -q "^  ${FILE_STORE_BUCKET}[[:space:]]" "$temporary/prepare.log" && grep -q '"fsync": *true' "$temporary/prepare.log"
}

# The parts of uploads that nobody completed. chat-service ends those that it knows.
remove_incomplete_uploads() {
    echo 's3.clean.uploads -timeAgo=48h' | administrate
}

# The health check waits for the file `prepared`.
(
    until prepare; do sleep 1; done
    touch "$temporary/prepared"
    while sleep 86400; do remove_incomplete_uploads || true; done
) &

# Volumes are small, because compacting one to free the room of removed objects needs its size once more; 0 is as many as fit. Uploads
# in progress are limited because each takes up to 40 MB of memory; further ones wait.
exec weed -logtostderr server -dir="$data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -master.volumeSizeLimitMB=1024 -master.telemetry=false -volume.max=0 -volume.preStopSeconds=1 \
    -s3 -s3.ip.bind=0.0.0.0 -s3.config="$accounts" -s3.allowedOrigins="$origins" -s3.concurrentUploadLimitMB=128 \
    -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0 -metricsIp=0.0.0.0 -metricsPort=9327
