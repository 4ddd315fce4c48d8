-- The outbox of one service: copy into a migration of its own with {service} = user, friend or chat.
-- Runs on MariaDB 10.11 and MySQL 8, and again where the tables exist.

CREATE TABLE IF NOT EXISTS {service}_outbox (
    -- Grows per key in commit order (the row that owns the key is locked first): the event's `version`.
    id          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    shard       TINYINT UNSIGNED NOT NULL,
    topic       VARCHAR(249) CHARACTER SET ascii NOT NULL,
    event_key   VARCHAR(64) CHARACTER SET ascii NOT NULL,
    payload     MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL,
    request_id  VARCHAR(255) CHARACTER SET utf8mb4 NULL,
    traceparent VARCHAR(64) CHARACTER SET ascii NULL,
    created_at  DATETIME(6) NOT NULL,
    PRIMARY KEY (id),
    KEY {service}_outbox_shard (shard, id)
) ENGINE = InnoDB;

-- Who relays a shard locks its row here, never rows of the outbox.
CREATE TABLE IF NOT EXISTS {service}_outbox_shards (
    shard TINYINT UNSIGNED NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

INSERT IGNORE INTO {service}_outbox_shards (shard) VALUES (0), (1), (2), (3), (4), (5), (6), (7);
