# What the benchmarks share. They measure the stack that runs here (`cargo stack up --release --detach`); each client asks
# again as soon as it has its answer. Need wrk and python3.
cd "$(dirname "${BASH_SOURCE[0]}")"
SECONDS_EACH="${SECONDS_EACH:-10}"
CLIENTS="${CLIENTS:-50}"
STAMP="$(date +%s)$RANDOM"
JSON="Content-Type: application/json"

eval "$(cargo stack env)"
field() { python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }
post() { curl -sf -X POST "$1" -H "$JSON" ${3:+-H "Authorization: Bearer $3"} -d "$2"; }
get() { curl -sf "$1" -H "Authorization: Bearer $2"; }

# Prints the access token of a new person.
sign_up() {
  post "$USER_URL/auth/register" "{\"email\": \"$1$STAMP@example.com\", \"username\": \"$1$STAMP\", \"password\": \"Test1234!@\"}" > /dev/null
  post "$USER_URL/auth/login/json" "{\"email\": \"$1$STAMP@example.com\", \"password\": \"Test1234!@\"}" | field access_token
}
id_of() { get "$USER_URL/profile/me" "$1" | field id; }
# The direct room of the owner of a token with someone.
room_with() { get "$CHAT_URL/chat-rooms/check/$2" "$1" | field id; }

# measure NAME SCRIPT URL
measure() {
  printf '%-34s ' "$1"
  wrk -t "$((CLIENTS < 2 ? 1 : 2))" -c "$CLIENTS" -d "${SECONDS_EACH}s" --latency -s "$2" "$3" |
    awk '/Requests\/sec/ {rate = $2} /^p50/ {line = $0} END {print rate "/s, " line}'
}
