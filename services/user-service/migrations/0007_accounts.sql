-- E-mail addresses in the form that decides equality (domain/canonical_email.rs). An original leaves NULL; the backfill
-- of user-service sets it, except where an older row has the same form.
ALTER TABLE users
    ADD COLUMN email_canonical VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    ADD UNIQUE KEY users_email_canonical (email_canonical);

