# shellcheck shell=bash
# Creates a schema and an account for each service, and an account for the metrics exporter. The image's entrypoint runs
# this script once, on an empty data directory. `cargo stack` uses the same names.

service_account() {
    docker_process_sql <<SQL
CREATE DATABASE IF NOT EXISTS \`$1\` CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS '$1'@'%' IDENTIFIED BY '$2';
GRANT ALL PRIVILEGES ON \`$1\`.* TO '$1'@'%';
SQL
}

service_account bigtech_user "${USER_MYSQL_PASSWORD:?}"
service_account bigtech_friend "${FRIEND_MYSQL_PASSWORD:?}"
service_account bigtech_chat "${CHAT_MYSQL_PASSWORD:?}"

docker_process_sql <<SQL
CREATE USER IF NOT EXISTS 'exporter'@'%' IDENTIFIED BY '${EXPORTER_MYSQL_PASSWORD:?}' WITH MAX_USER_CONNECTIONS 3;
GRANT PROCESS, REPLICATION CLIENT ON *.* TO 'exporter'@'%';
GRANT SELECT ON performance_schema.* TO 'exporter'@'%';
SQL
