-- Duplicates that the original's races left: of each pair the oldest relation stays, and is a friendship if any of them
-- was one; the others are soft-deleted. The service names each in its log at start (logged_at).
CREATE TABLE IF NOT EXISTS friend_merged (
    friendship_id INT NOT NULL PRIMARY KEY,
    kept_id       INT NOT NULL,
    low           INT NOT NULL,
    high          INT NOT NULL,
    status        VARCHAR(20) CHARACTER SET utf8mb4 NULL,
    merged_at     DATETIME(6) NOT NULL,
    logged_at     DATETIME(6) NULL,
    KEY friend_merged_kept (kept_id)
) ENGINE = InnoDB;

INSERT IGNORE INTO friend_merged (friendship_id, kept_id, low, high, status, merged_at)
SELECT f.id, d.kept_id, d.live_low, d.live_high, f.status, UTC_TIMESTAMP(6)
FROM (
    SELECT MIN(id) AS kept_id, live_low, live_high
    FROM friendships
    WHERE live_low IS NOT NULL
    GROUP BY live_low, live_high
    HAVING COUNT(*) > 1
) d
JOIN friendships f ON f.live_low = d.live_low AND f.live_high = d.live_high AND f.id > d.kept_id;

UPDATE friendships f
JOIN friend_merged m ON m.kept_id = f.id AND m.status = 'accepted'
SET f.status = 'accepted'
WHERE f.deleted_at IS NULL;

UPDATE friendships f
JOIN friend_merged m ON m.friendship_id = f.id
SET f.deleted_at = UTC_TIMESTAMP(6), f.updated_at = UTC_TIMESTAMP(6)
WHERE f.deleted_at IS NULL;
