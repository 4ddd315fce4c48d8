-- The version of the form in which the names of a row are indexed (domain/names.rs). An earlier version of the service leaves 0;
-- user-service indexes such names anew at its start.
ALTER TABLE user_indexed_names
    ADD COLUMN form TINYINT UNSIGNED NOT NULL DEFAULT 0;

-- Forms outside of ASCII, which only usernames of an original have, change with the fold of case. The backfill sets them again.
UPDATE users SET username_skeleton = NULL WHERE LENGTH(username_skeleton) <> CHAR_LENGTH(username_skeleton);
