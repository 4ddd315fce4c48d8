#!/usr/bin/env bash
# Loads kong.yml into a running Kong and lists the resulting services, routes and plugins. Idempotent. Needs only curl.
#
#   KONG_ADMIN_URL     address of the admin API, http://localhost:8001 by default
#   RATE_LIMIT_MINUTE  requests per minute and key (X-Rate-Limit-Key), instead of the limit in kong.yml
#   RATE_LIMIT_HOUR    requests per hour, likewise
#   CORS_ORIGINS       origins of pages that may call the API, separated by commas, instead of those in kong.yml
#   API_DOCUMENTS      off: the gateway answers 404 at /docs and /openapi.json, for production
set -euo pipefail

admin=${KONG_ADMIN_URL:-http://localhost:8001}
file=$(dirname "$0")/kong.yml
config=$(mktemp)
trap 'rm -f "$config"' EXIT

origins=${CORS_ORIGINS:-$(sed -nE 's/^ +origins: (.*)/\1/p' "$file")}
[[ $origins == \[* ]] || origins="[$origins]"

# Six spaces: the plugin of all routes, not the limit of streams.
sed -E \
    -e "s/^( {6}minute:) .*/\1 ${RATE_LIMIT_MINUTE:-$(sed -nE 's/^ {6}minute: (.*)/\1/p' "$file")}/" \
    -e "s/^( {6}hour:) .*/\1 ${RATE_LIMIT_HOUR:-$(sed -nE 's/^ {6}hour: (.*)/\1/p' "$file")}/" \
    -e "s|^( +origins:) .*|\1 $origins|" \
    "$file" >"$config"
if [ "${API_DOCUMENTS:-on}" = off ]; then
    # To the paths that end with 404.
    sed -i -E 's#^( +)- ~/api/friends/blocks/\?\$$#&\n\1- ~/docs(/.*)?$\n\1- ~/openapi[.]json/?$#' "$config"
fi

# Kong may still be starting.
curl --silent --show-error --fail --output /dev/null --retry 30 --retry-delay 1 --retry-connrefused "$admin/status"
if ! answer=$(curl --silent --show-error --fail-with-body --form "config=<$config" "$admin/config"); then
    printf 'Kong rejected %s: %s\n' "$file" "$answer" >&2
    exit 1
fi

for kind in services routes plugins; do
    printf '%s:\n' "$kind"
    # The names of the entities, not the names inside a plugin's configuration.
    curl --silent --show-error --fail "$admin/$kind" |
        grep -oE '"name":"[^"]+"' | sed -E 's/"name":"(.*)"/  \1/' | sort -u
done
