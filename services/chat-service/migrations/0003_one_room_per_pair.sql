UPDATE chat_rooms room
JOIN (
    SELECT LEAST(user_1_id, user_2_id) AS low, GREATEST(user_1_id, user_2_id) AS high, MIN(id) AS first_id
    FROM chat_rooms
    GROUP BY low, high
    HAVING COUNT(*) > 1
) pair ON pair.low = LEAST(room.user_1_id, room.user_2_id) AND pair.high = GREATEST(room.user_1_id, room.user_2_id)
SET room.duplicate_of = pair.first_id
WHERE room.id <> pair.first_id;

-- NULL for groups and duplicates: those are not unique.
ALTER TABLE chat_rooms
    ADD COLUMN pair_low INT AS (IF(duplicate_of IS NULL, LEAST(user_1_id, user_2_id), NULL)) VIRTUAL,
    ADD COLUMN pair_high INT AS (IF(duplicate_of IS NULL, GREATEST(user_1_id, user_2_id), NULL)) VIRTUAL,
    ADD UNIQUE KEY chat_rooms_pair (pair_low, pair_high);
