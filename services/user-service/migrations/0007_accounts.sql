-- E-mail addresses in the form that decides equality (domain/canonical_email.rs). An original leaves NULL; the backfill
-- of user-service sets it, except where an older row has the same form.
ALTER TABLE users
    ADD COLUMN email_canonical VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    ADD UNIQUE KEY users_email_canonical (email_canonical);

-- Networks from which an account has logged in. Guesses from elsewhere cannot lock these out.
CREATE TABLE IF NOT EXISTS user_login_networks (
    user_id       INT NOT NULL,
    -- An IPv4 address, or the /64 of an IPv6 address.
    network       VARCHAR(43) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    last_login_at DATETIME(6) NOT NULL,
    PRIMARY KEY (user_id, network),
    KEY user_login_networks_last (last_login_at)
) ENGINE = InnoDB;
