-- The table as the original makes it; there already where its data is taken over.
CREATE TABLE IF NOT EXISTS friendships (
    id         INT NOT NULL AUTO_INCREMENT,
    user_id_1  INT NOT NULL,
    user_id_2  INT NOT NULL,
    status     VARCHAR(20) NULL,
    created_at DATETIME NULL,
    updated_at DATETIME NULL,
    deleted_at DATETIME NULL,
    PRIMARY KEY (id),
    KEY ix_friendships_user_id_2 (user_id_2),
    KEY ix_friendships_user_id_1 (user_id_1),
    KEY ix_friendships_id (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
