-- What the original made, where it has not: names, columns and keys are its own, so that it can be put back.
-- The collations are ours; a table that is there already keeps its own, which tell no case apart either.
CREATE TABLE IF NOT EXISTS users (
    id             INT NOT NULL AUTO_INCREMENT,
    email          VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci NOT NULL,
    password_hash  VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL,
    username       VARCHAR(50) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    display_name   VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci NULL,
    status_message VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci NULL,
    is_online      BOOLEAN NOT NULL,
    last_seen_at   DATETIME NULL,
    is_active      BOOLEAN NOT NULL,
    created_at     DATETIME NULL,
    updated_at     DATETIME NULL,
    PRIMARY KEY (id),
    UNIQUE KEY ix_users_email (email),
    UNIQUE KEY ix_users_username (username)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
