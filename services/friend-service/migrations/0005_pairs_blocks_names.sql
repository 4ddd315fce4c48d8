-- Whoever changes what lies between two people locks their row here first. Rows are never deleted.
CREATE TABLE IF NOT EXISTS friend_pairs (
    low  BIGINT NOT NULL,
    high BIGINT NOT NULL,
    PRIMARY KEY (low, high)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS block_users (
    id              BIGINT NOT NULL AUTO_INCREMENT,
    user_id         INT NOT NULL,
    blocked_user_id INT NOT NULL,
    created_at      DATETIME(6) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY block_users_pair (user_id, blocked_user_id),
    KEY block_users_blocked (blocked_user_id)
) ENGINE = InnoDB;

-- What user.events told of names, for when user-service cannot be asked.
CREATE TABLE IF NOT EXISTS friend_names (
    user_id  BIGINT NOT NULL PRIMARY KEY,
    username VARCHAR(50) CHARACTER SET utf8mb4 NOT NULL,
    version  BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB;
