-- Ours on top: finer times, a picture, and keys for the two background questions "who is online" and "who is
-- deactivated". The original's INSERTs still work.
ALTER TABLE users
    MODIFY COLUMN last_seen_at DATETIME(6) NULL,
    MODIFY COLUMN created_at DATETIME(6) NULL,
    MODIFY COLUMN updated_at DATETIME(6) NULL,
    ADD COLUMN profile_image_url VARCHAR(500) CHARACTER SET utf8mb4 NULL,
    ADD KEY users_online (is_online),
    ADD KEY users_active (is_active);
