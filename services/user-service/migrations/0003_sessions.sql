-- A session begins with a login and ends with a logout, with the expiry of its last refresh token, or as stolen.
CREATE TABLE IF NOT EXISTS user_sessions (
    sid          CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_id      INT NOT NULL,
    -- SHA-256 of the one refresh token that counts now.
    refresh_hash BINARY(32) NOT NULL,
    user_agent   VARCHAR(255) CHARACTER SET utf8mb4 NULL,
    ip           VARCHAR(45) CHARACTER SET ascii NULL,
    created_at   DATETIME(6) NOT NULL,
    last_used_at DATETIME(6) NOT NULL,
    expires_at   DATETIME(6) NOT NULL,
    revoked_at   DATETIME(6) NULL,
    PRIMARY KEY (sid),
    UNIQUE KEY user_sessions_refresh (refresh_hash),
    KEY user_sessions_user (user_id),
    KEY user_sessions_revoked (revoked_at),
    KEY user_sessions_expires (expires_at)
) ENGINE = InnoDB;

-- Refresh tokens that were exchanged: whoever shows one again has a copy.
CREATE TABLE IF NOT EXISTS user_used_refresh_tokens (
    refresh_hash BINARY(32) NOT NULL,
    sid          CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    used_at      DATETIME(6) NOT NULL,
    PRIMARY KEY (refresh_hash),
    KEY user_used_refresh_tokens_used (used_at)
) ENGINE = InnoDB;

-- Tokens of the original, which belong to no session, after a logout: by their signature.
CREATE TABLE IF NOT EXISTS user_ended_tokens (
    signature  VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_id    INT NOT NULL,
    ended_at   DATETIME(6) NOT NULL,
    expires_at DATETIME(6) NOT NULL,
    PRIMARY KEY (signature),
    KEY user_ended_tokens_expires (expires_at)
) ENGINE = InnoDB;
