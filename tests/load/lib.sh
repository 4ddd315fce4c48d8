# Functions for the benchmarks. They measure the stack that runs on this machine (`cargo stack up --release --detach`) with
# closed-loop clients: each sends its next request when it has received an answer. They need wrk and python3.
cd "$(dirname "${BASH_SOURCE[0]}")"
SECONDS_EACH="${SECONDS_EACH:-10}"
CLIENTS="${CLIENTS:-50}"
STAMP="$(date +%s)$RANDOM"
JSON="Content-Type: application/json"

eval "$(cargo stack env)"
# field NAME: prints a field of the JSON object on stdin.
field() { python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }
# post URL BODY [TOKEN]
post() { curl -sf -X POST "$1" -H "$JSON" ${3:+-H "Authorization: Bearer $3"} -d "$2"; }
# get URL TOKEN
get() { curl -sf "$1" -H "Authorization: Bearer $2"; }

# sign_up NAME: registers a user and prints an access token.
sign_up() {
  post "$USER_URL/auth/register" "{\"email\": \"$1$STAMP@example.com\", \"username\": \"$1$STAMP\", \"password\": \"Test1234!@\"}" > /dev/null
  post "$USER_URL/auth/login/json" "{\"email\": \"$1$STAMP@example.com\", \"password\": \"Test1234!@\"}" | field access_token
}
# id_of TOKEN: prints the id of the token's user.
id_of() { get "$USER_URL/profile/me" "$1" | field id; }
# room_with TOKEN USER_ID: prints the id of the direct room of the two users.
room_with() { get "$CHAT_URL/chat-rooms/check/$2" "$1" | field id; }

# measure NAME SCRIPT URL: prints requests per second, p50, p99 and the number of errors.
measure() {
  printf '%-34s ' "$1"
  wrk -t "$((CLIENTS < 2 ? 1 : 2))" -c "$CLIENTS" -d "${SECONDS_EACH}s" --latency -s "$2" "$3" |
    awk '/Requests\/sec/ {rate = $2} /^p50/ {line = $0} END {print rate "/s, " line}'
}
