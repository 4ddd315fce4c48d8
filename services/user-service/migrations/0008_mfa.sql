-- The second factor of an account: a time-based one-time password (RFC 6238). Runs again where the tables exist.
CREATE TABLE IF NOT EXISTS user_second_factors (
    user_id      INT NOT NULL PRIMARY KEY,
    -- The encrypted secret: a nonce of 24 bytes, the ciphertext, a tag of 16 bytes.
    secret       VARBINARY(255) NOT NULL,
    created_at   DATETIME(6) NOT NULL,
    -- NULL until the user has proved with a first code that the authenticator has the secret.
    confirmed_at DATETIME(6) NULL,
    -- The time step of the last accepted code. Codes of this step and of earlier ones are refused.
    last_step    BIGINT UNSIGNED NOT NULL DEFAULT 0
) ENGINE = InnoDB;

-- Unused recovery codes. A login with a code deletes its row.
CREATE TABLE IF NOT EXISTS user_recovery_codes (
    user_id   INT NOT NULL,
    -- SHA-256 of the code, which has 80 random bits.
    code_hash BINARY(32) NOT NULL,
    PRIMARY KEY (user_id, code_hash)
) ENGINE = InnoDB;
