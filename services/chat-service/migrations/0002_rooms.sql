-- Finer times, and defaults, so that INSERTs of ours and of the original both work. A group has no pair.

ALTER TABLE chat_rooms
    MODIFY user_1_id INT NULL,
    MODIFY user_2_id INT NULL,
    MODIFY created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    MODIFY updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    -- Of rooms that the original's races left for one pair, the smallest id is the pair's; the others stay readable.
    ADD COLUMN duplicate_of INT NULL;

ALTER TABLE room_members
    MODIFY created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    MODIFY updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6);
