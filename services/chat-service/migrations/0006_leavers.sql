-- Users who left a group by themselves, and when. Nobody adds them again for a while.
CREATE TABLE IF NOT EXISTS chat_room_leavers (
    room_id INT NOT NULL,
    user_id INT NOT NULL,
    left_at DATETIME(6) NOT NULL,
    PRIMARY KEY (room_id, user_id),
    KEY chat_room_leavers_age (left_at)
) ENGINE = InnoDB;
