-- The latest expiry of the access tokens of a session: its revocation is kept in Redis until then. An earlier version
-- leaves NULL, which counts as the expiry of the session.
ALTER TABLE user_sessions
    ADD COLUMN tokens_expire_at DATETIME(6) NULL;

-- Deactivated accounts whose sessions were ended. The rows that `users` has more, or fewer, are the changes that an operator
-- has made since.
CREATE TABLE IF NOT EXISTS user_deactivations (
    user_id INT NOT NULL,
    -- Redis and the search index know the deactivation.
    copied  BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (user_id),
    KEY user_deactivations_copied (copied)
) ENGINE = InnoDB;
