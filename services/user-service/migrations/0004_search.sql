-- Every ending of every name, so that a search for any part of a name is a range of one index. Binary, because the
-- text is folded by us (domain/names.rs) and must compare the same on every engine.
CREATE TABLE IF NOT EXISTS user_name_suffixes (
    suffix  VARBINARY(200) NOT NULL,
    user_id INT NOT NULL,
    PRIMARY KEY (suffix, user_id),
    KEY user_name_suffixes_user (user_id)
) ENGINE = InnoDB;

-- The names under which an account is indexed: one that an original wrote differs, or is missing, and is indexed anew.
CREATE TABLE IF NOT EXISTS user_indexed_names (
    user_id INT NOT NULL,
    names   VARBINARY(620) NOT NULL,
    PRIMARY KEY (user_id)
) ENGINE = InnoDB;
