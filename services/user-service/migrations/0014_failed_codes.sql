-- The wrong codes of a second factor since the beginning of the current window. A right code sets them back.
ALTER TABLE user_second_factors
    ADD COLUMN failed_codes INT UNSIGNED NOT NULL DEFAULT 0,
    ADD COLUMN failed_since DATETIME(6) NULL;
