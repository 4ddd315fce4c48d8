#!/usr/bin/env bash
# Starts mongod with authentication, as a replica set of one member, because transactions require a replica set. Creates
# the set and the accounts if they are missing, so the first start and later starts use the same command.
set -euo pipefail

: "${MONGODB_ROOT_USER:?}" "${MONGODB_MEMBER:?host:port at which clients reach this member}"

# An initialised volume would keep a placeholder of the manifests, also after the Secret is corrected.
for name in MONGODB_REPLICA_KEY {MONGODB_ROOT,CHAT_MONGODB,EXPORTER_MONGODB}_PASSWORD; do
    if [ "${!name:?$name is not set}" = placeholder ] && [ "${DEBUG:-}" != true ]; then
        echo "$name is the placeholder; set a value of your own" >&2
        exit 1
    fi
done

# mongod reads the key only from a file that no other user can read.
keyfile=${TMPDIR:-/tmp}/replica.key
rm -f "$keyfile"
(umask 277 && printf '%s' "$MONGODB_REPLICA_KEY" >"$keyfile")

# mongod looks its own name up once, at the start. A member whose name does not lead to itself at that moment leaves its set
# (state REMOVED) and does not try again. A record in DNS can be missing at the start of a pod, or have its last address.
leads_here() {
    local own address
    own=" 127.0.0.1 ::1 $(hostname -I) "
    while read -r address _; do
        if [[ $own == *" $address "* ]]; then
            return
        fi
    done < <(getent ahosts "$1")
    return 1
}
until leads_here "${MONGODB_MEMBER%:*}"; do
    echo "waiting until ${MONGODB_MEMBER%:*} resolves to an address of this machine" >&2
    sleep 1
done

# Until an account exists, mongod allows a local client to create the set and the first account.
prepare() {
    mongosh --quiet --norc "mongodb://127.0.0.1:${MONGODB_MEMBER##*:}/admin?directConnection=true" --eval '
        const env = process.env;
        const login = () => db.auth(env.MONGODB_ROOT_USER, env.MONGODB_ROOT_PASSWORD);
        const account = (user, pwd, roles) => db.createUser({ user, pwd, roles });
        let isNew = false;
        try { login() } catch (e) { isNew = true }
        try {
            rs.initiate({ _id: "rs0", members: [{ _id: 0, host: env.MONGODB_MEMBER }] });
        } catch (e) {
            if (e.codeName !== "AlreadyInitialized") throw e;
        }
        while (!db.hello().isWritablePrimary) sleep(100);
        if (isNew) {
            account(env.MONGODB_ROOT_USER, env.MONGODB_ROOT_PASSWORD, ["root"]);
            login();
        }
        const ensure = (user, pwd, roles) => db.getUser(user) ?? account(user, pwd, roles);
        // clusterMonitor allows the service to read transactionLifetimeLimitSeconds.
        ensure("bigtech_chat", env.CHAT_MONGODB_PASSWORD, [{ role: "readWrite", db: "bigtech_chat" }, "clusterMonitor"]);
        ensure("exporter", env.EXPORTER_MONGODB_PASSWORD, [{ role: "read", db: "local" }, "clusterMonitor"]);
        ' >/dev/null
}
(until prepare; do sleep 1; done) &

# A transaction that a killed chat-service leaves open locks its rooms for transactionLifetimeLimitSeconds; the default
# is 60.
exec mongod --bind_ip_all --port "${MONGODB_MEMBER##*:}" --dbpath "${MONGODB_DATA:-/data/db}" \
    --replSet rs0 --keyFile "$keyfile" --wiredTigerCacheSizeGB "${MONGODB_CACHE_GB:-0.25}" \
    --maxConns "${MONGODB_MAX_CONNECTIONS:-1000}" --setParameter transactionLifetimeLimitSeconds=3
