-- Groups: their name, who opened them, each member once, and what is to be told of every change of members.

DELETE repeated FROM room_members repeated
JOIN room_members first
    ON first.chat_room_id = repeated.chat_room_id AND first.user_id = repeated.user_id AND first.id < repeated.id;

ALTER TABLE chat_rooms
    ADD COLUMN name VARCHAR(100) CHARACTER SET utf8mb4 NULL,
    ADD COLUMN creator_id INT NULL,
    -- The `version` of the last event that told of its members: what is remembered of them is as old as it says.
    ADD COLUMN members_version BIGINT UNSIGNED NOT NULL DEFAULT 0;

ALTER TABLE room_members
    ADD UNIQUE KEY room_members_member (chat_room_id, user_id),
    -- The change that brought them in, none for those of the first hour, and the position at which it stands in the log.
    ADD COLUMN joined_by BIGINT UNSIGNED NULL,
    ADD COLUMN joined_position BIGINT NULL;

-- Who came and went. Each replica follows it, and from it the system messages are written: it commits with the change.
CREATE TABLE IF NOT EXISTS chat_room_changes (
    -- Grows per room in commit order: the room's row is locked first.
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    room_id    INT NOT NULL,
    kind       VARCHAR(16) CHARACTER SET ascii NOT NULL,
    by_id      INT NOT NULL,
    by_name    VARCHAR(50) CHARACTER SET utf8mb4 NULL,
    user_ids   MEDIUMTEXT CHARACTER SET ascii NOT NULL,
    version    BIGINT UNSIGNED NOT NULL,
    message_id CHAR(24) CHARACTER SET ascii NULL,
    content    TEXT CHARACTER SET utf8mb4 NULL,
    -- Of the system message in the room's log; NULL until it is there, 0 where there is none.
    position   BIGINT NULL,
    created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (id),
    KEY chat_room_changes_unsaid (position, room_id, id),
    KEY chat_room_changes_age (created_at)
) ENGINE = InnoDB;
