#!/usr/bin/env bash
# mongod as a replica set of one, which transactions need, with logins. The set and the accounts are made when they are
# missing, so a first start and every later one are the same command.
set -euo pipefail

: "${MONGODB_ROOT_USER:?}" "${MONGODB_ROOT_PASSWORD:?}" "${MONGODB_REPLICA_KEY:?}"
: "${CHAT_MONGODB_PASSWORD:?}" "${EXPORTER_MONGODB_PASSWORD:?}"
: "${MONGODB_MEMBER:?host:port by which clients find this member}"

# mongod takes a key from a file that nobody else can read, and from nowhere else.
keyfile=${TMPDIR:-/tmp}/replica.key
rm -f "$keyfile"
(umask 277 && printf '%s' "$MONGODB_REPLICA_KEY" >"$keyfile")

# Until there is an account, mongod lets a client of its own machine make the set and the first one.
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
        // clusterMonitor: the service looks at transactionLifetimeLimitSeconds.
        ensure("bigtech_chat", env.CHAT_MONGODB_PASSWORD, [{ role: "readWrite", db: "bigtech_chat" }, "clusterMonitor"]);
        ensure("exporter", env.EXPORTER_MONGODB_PASSWORD, [{ role: "read", db: "local" }, "clusterMonitor"]);
        ' >/dev/null
}
(until prepare; do sleep 1; done) &

# What a killed chat-service leaves open holds its rooms for transactionLifetimeLimitSeconds; the default is 60.
exec mongod --bind_ip_all --port "${MONGODB_MEMBER##*:}" --dbpath "${MONGODB_DATA:-/data/db}" \
    --replSet rs0 --keyFile "$keyfile" --wiredTigerCacheSizeGB "${MONGODB_CACHE_GB:-0.25}" \
    --setParameter transactionLifetimeLimitSeconds=3
