-- Whether only friends can bring the user into a group. An original's INSERT leaves the default.
ALTER TABLE users
    ADD COLUMN refuse_stranger_groups BOOLEAN NOT NULL DEFAULT FALSE;
