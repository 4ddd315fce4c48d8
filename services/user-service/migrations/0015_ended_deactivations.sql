-- Whether the sessions of the account were ended since the record exists. An earlier version leaves FALSE, and they are ended once
-- more.
ALTER TABLE user_deactivations
    ADD COLUMN ended BOOLEAN NOT NULL DEFAULT FALSE;
