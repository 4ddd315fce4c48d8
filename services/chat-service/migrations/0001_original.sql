-- The tables as the original makes them; where it has run already they are there.

CREATE TABLE IF NOT EXISTS chat_rooms (
    id         INT NOT NULL AUTO_INCREMENT,
    user_1_id  INT NOT NULL,
    user_2_id  INT NOT NULL,
    created_at DATETIME NOT NULL,
    updated_at DATETIME NOT NULL,
    PRIMARY KEY (id),
    KEY ix_chat_rooms_user_1_id (user_1_id),
    KEY ix_chat_rooms_user_2_id (user_2_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE IF NOT EXISTS room_members (
    id           INT NOT NULL AUTO_INCREMENT,
    user_id      INT NOT NULL,
    chat_room_id INT NOT NULL,
    created_at   DATETIME NOT NULL,
    updated_at   DATETIME NOT NULL,
    PRIMARY KEY (id),
    KEY ix_room_members_chat_room_id (chat_room_id),
    KEY ix_room_members_user_id (user_id),
    CONSTRAINT room_members_ibfk_1 FOREIGN KEY (chat_room_id) REFERENCES chat_rooms (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
