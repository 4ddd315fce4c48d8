-- The random half of the derivation of the current refresh token from its predecessor. NULL before the first refresh.
ALTER TABLE user_sessions
    ADD COLUMN successor_salt BINARY(32) NULL;
