-- Usernames in the form that decides whether they look alike (domain/look_alike.rs). An original leaves NULL; the backfill
-- of user-service sets it, except where an older row has the same form.
ALTER TABLE users
    ADD COLUMN username_skeleton VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    ADD UNIQUE KEY users_username_skeleton (username_skeleton);
