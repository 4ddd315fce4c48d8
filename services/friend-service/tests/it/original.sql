-- The table `friendships` of the original with its rows.
CREATE TABLE `friendships` (
  `id` int(11) NOT NULL AUTO_INCREMENT COMMENT '친구 관계 고유 식별자',
  `user_id_1` int(11) NOT NULL COMMENT '친구 요청을 보낸 사용자 ID',
  `user_id_2` int(11) NOT NULL COMMENT '친구 요청을 받은 사용자 ID',
  `status` varchar(20) DEFAULT NULL COMMENT '관계 상태: pending(대기), accepted(수락)',
  `created_at` datetime DEFAULT NULL COMMENT '요청 생성 시각 (UTC)',
  `updated_at` datetime DEFAULT NULL COMMENT '마지막 수정 시각 (UTC)',
  `deleted_at` datetime DEFAULT NULL COMMENT '삭제 시각 (Soft Delete, NULL이면 활성)',
  PRIMARY KEY (`id`),
  KEY `ix_friendships_user_id_2` (`user_id_2`),
  KEY `ix_friendships_user_id_1` (`user_id_1`),
  KEY `ix_friendships_id` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1208,3095,3096,'accepted','2026-11-24 13:09:10','2026-11-24 13:09:10',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1209,3095,3097,'accepted','2026-11-24 13:09:10','2026-11-24 13:09:10',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1210,3095,3098,'accepted','2026-11-24 13:09:10','2026-11-24 13:09:10',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1211,3096,3097,'accepted','2026-11-24 13:09:10','2026-11-24 13:09:10',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1212,3098,3096,'accepted','2026-11-24 13:09:10','2026-11-24 13:09:10',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1213,3099,3095,'accepted','2026-11-24 13:09:10','2026-11-24 13:09:10',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1214,3100,3101,'accepted','2026-11-24 13:09:11','2026-11-24 13:09:11',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1215,3102,3103,'accepted','2026-11-24 13:09:11','2026-11-24 13:09:11',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1216,3104,3095,'accepted','2026-11-24 13:09:11','2026-11-24 13:09:11',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1217,3105,3095,'accepted','2026-11-24 13:09:11','2026-11-24 13:09:11',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1218,3106,3095,'pending','2026-11-24 13:09:11','2026-11-24 13:09:11',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1219,3107,3095,'pending','2026-11-24 13:09:11','2026-11-24 13:09:11',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1220,3095,3108,'pending','2026-11-24 13:09:11','2026-11-24 13:09:11',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1221,3109,3096,'pending','2026-11-24 13:09:11','2026-11-24 13:09:11',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1222,3097,3099,'pending','2026-11-24 13:09:11','2026-11-24 13:09:11','2026-11-24 13:09:11');
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1223,3101,3102,'pending','2026-11-24 13:09:11','2026-11-24 13:09:11','2026-11-24 13:09:11');
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1224,3097,3099,'pending','2026-11-24 13:09:11','2026-11-24 13:09:11',NULL);
INSERT INTO `friendships` (`id`, `user_id_1`, `user_id_2`, `status`, `created_at`, `updated_at`, `deleted_at`) VALUES (1225,3096,3095,'pending','2026-11-24 13:09:27','2026-11-24 13:09:27',NULL);
