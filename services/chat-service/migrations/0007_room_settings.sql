-- The settings of a member for a room. A row without a pin and a mute does not exist.
CREATE TABLE IF NOT EXISTS chat_room_settings (
    user_id   INT NOT NULL,
    room_id   INT NOT NULL,
    pinned_at DATETIME(6) NULL,
    muted_at  DATETIME(6) NULL,
    PRIMARY KEY (user_id, room_id)
) ENGINE = InnoDB;
