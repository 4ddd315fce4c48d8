-- Our additions. The original's INSERTs, which name none of them, still work.
ALTER TABLE friendships
    MODIFY created_at DATETIME(6) NULL,
    MODIFY updated_at DATETIME(6) NULL,
    MODIFY deleted_at DATETIME(6) NULL,
    ADD COLUMN message VARCHAR(500) CHARACTER SET utf8mb4 NULL;

-- The columns allow it, the original never writes it, and nobody after us has to think of it.
UPDATE friendships
SET status = COALESCE(status, 'pending'),
    created_at = COALESCE(created_at, updated_at, UTC_TIMESTAMP(6)),
    updated_at = COALESCE(updated_at, created_at, UTC_TIMESTAMP(6))
WHERE status IS NULL OR created_at IS NULL OR updated_at IS NULL;

-- live_low and live_high name the pair of a live relation and are NULL for a deleted one.
-- The two friendships_of_ keys carry the lists without touching a person's history.
ALTER TABLE friendships
    ADD COLUMN live_low INT GENERATED ALWAYS AS (IF(deleted_at IS NULL, LEAST(user_id_1, user_id_2), NULL)) VIRTUAL,
    ADD COLUMN live_high INT GENERATED ALWAYS AS (IF(deleted_at IS NULL, GREATEST(user_id_1, user_id_2), NULL)) VIRTUAL,
    ADD KEY friendships_live (live_low, live_high),
    ADD KEY friendships_of_1 (user_id_1, deleted_at, status, id),
    ADD KEY friendships_of_2 (user_id_2, deleted_at, status, id);
