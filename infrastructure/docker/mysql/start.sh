#!/usr/bin/env bash
# Starts MySQL by the image's entrypoint, unless a password is the placeholder of the manifests: an initialised volume would
# keep it, also after the Secret is corrected. accounts.sh runs too late to refuse, because the root account exists then.
set -euo pipefail

for name in MYSQL_ROOT_PASSWORD {USER,FRIEND,CHAT,EXPORTER}_MYSQL_PASSWORD; do
    if [ "${!name:?$name is not set}" = placeholder ] && [ "${DEBUG:-}" != true ]; then
        echo "$name is the placeholder; set a password of your own" >&2
        exit 1
    fi
done

exec docker-entrypoint.sh mysqld
