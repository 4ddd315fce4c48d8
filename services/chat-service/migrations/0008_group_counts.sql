-- The number of groups of each creator in which a user is. The limits of rooms are checked against it for up to 499 users at once,
-- whose memberships may be millions. Creator 0: groups without one. A version without this table does not maintain it, so a count
-- is as far off as there were changes under such a version.
CREATE TABLE IF NOT EXISTS chat_room_group_counts (
    user_id    INT NOT NULL,
    creator_id INT NOT NULL,
    rooms      INT UNSIGNED NOT NULL,
    PRIMARY KEY (user_id, creator_id)
) ENGINE = InnoDB;

-- Reads without locks, so that running services of an earlier version do not wait.
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;

REPLACE INTO chat_room_group_counts (user_id, creator_id, rooms)
SELECT member.user_id, COALESCE(room.creator_id, 0), COUNT(*)
FROM room_members member JOIN chat_rooms room ON room.id = member.chat_room_id
WHERE room.user_1_id IS NULL
GROUP BY member.user_id, COALESCE(room.creator_id, 0);
