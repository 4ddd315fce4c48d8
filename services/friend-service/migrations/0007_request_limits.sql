-- A user who sends a request locks their row here, so that their pending requests are counted once. Rows are never deleted.
CREATE TABLE IF NOT EXISTS friend_senders (
    user_id BIGINT NOT NULL PRIMARY KEY
) ENGINE = InnoDB;

-- The ended requests of one user to another, by their ends.
ALTER TABLE friendships ADD KEY friendships_ended (user_id_1, user_id_2, deleted_at);
