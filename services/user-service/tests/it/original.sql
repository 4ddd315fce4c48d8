-- What the original leaves behind of its users: its own dump, table and rows as it made them.
CREATE TABLE `users` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `email` varchar(255) NOT NULL COMMENT '사용자 이메일 (로그인 ID)',
  `password_hash` varchar(255) NOT NULL COMMENT 'bcrypt 해시 비밀번호',
  `username` varchar(50) NOT NULL COMMENT '사용자명 (고유, 검색용)',
  `display_name` varchar(100) DEFAULT NULL COMMENT '표시명 (없으면 username 사용)',
  `status_message` varchar(500) DEFAULT NULL COMMENT '사용자 상태 메시지',
  `is_online` tinyint(1) NOT NULL COMMENT '온라인 상태',
  `last_seen_at` datetime DEFAULT NULL COMMENT '마지막 접속 시간',
  `is_active` tinyint(1) NOT NULL COMMENT '계정 활성화 상태',
  `created_at` datetime DEFAULT NULL COMMENT '계정 생성 시간',
  `updated_at` datetime DEFAULT NULL COMMENT '마지막 수정 시간',
  PRIMARY KEY (`id`),
  UNIQUE KEY `ix_users_username` (`username`),
  UNIQUE KEY `ix_users_email` (`email`),
  KEY `ix_users_id` (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3095,'kim_minjun@example.com','$2b$12$ofO6cZPPgN7KB1.2TiB.tegtFEDTLn3V/mg0zO.OJEEURADy5Piqu','kim_minjun','김민준',NULL,1,NULL,1,'2026-11-24 13:09:02','2026-11-24 13:09:03');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3096,'lee_seoyeon@example.com','$2b$12$iQM3AbzwrCLSnrhwiAI2TOW5Vz4hnE2.BrALsXJRpH3i93yl1ooWK','lee_seoyeon','이서연',NULL,1,NULL,1,'2026-11-24 13:09:03','2026-11-24 13:09:03');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3097,'park_jiho@example.com','$2b$12$Es1ndE9XwxUuwAypqDQiV.de.7nilQc8/sXM0Zj2zn3T/onY6l.7u','park_jiho','박지호','회의 중',1,NULL,1,'2026-11-24 13:09:03','2026-11-24 13:09:10');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3098,'choi_jiwoo@example.com','$2b$12$Q5e9vVn/wUnb1I.t7kDX7uhkC1G5Tr0GjJF3THgCOOlD5B48J.jD2','choi_jiwoo','최지우',NULL,1,NULL,1,'2026-11-24 13:09:04','2026-11-24 13:09:04');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3099,'jung_haeun@example.com','$2b$12$iR6AGlNeMAqi9bXee6CNieQsZby6Lm2unwuWyl6P5DLYRAip2dtf.','jung_haeun','정하은',NULL,1,NULL,1,'2026-11-24 13:09:04','2026-11-24 13:09:05');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3100,'kang_dohyun@example.com','$2b$12$Htf9AwGJxdg3KASJMurQX.nr7IHMNEkusccLwtQBtygI7uXfDVWyS','kang_dohyun',NULL,NULL,0,'2026-11-24 13:09:10',1,'2026-11-24 13:09:05','2026-11-24 13:09:10');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3101,'yoon_seojun@example.com','$2b$12$wRTTyxv13e99g7ruyWmJzuY5fCRzMFKMggBxjdbGRwOh4VeCLcUxK','yoon_seojun','윤서준',NULL,1,NULL,1,'2026-11-24 13:09:05','2026-11-24 13:09:06');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3102,'jang_jimin@example.com','$2b$12$UZjc0PC.AdL34SroNjao9e1ircI7Z9E0868a55KWOBWo0xiu9fSlS','jang_jimin','장지민',NULL,1,NULL,1,'2026-11-24 13:09:06','2026-11-24 13:09:06');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3103,'lim_hayoon@example.com','$2b$12$lAiAAGdGLQMneJ3vDtU5dO2ubzmneje6mcEEMHVIMQIKYIkMTPZ7e','lim_hayoon','임하윤',NULL,1,NULL,1,'2026-11-24 13:09:06','2026-11-24 13:09:07');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3104,'han_jihoon@example.com','$2b$12$L2YgGvzdc68I85svBGq/f.aD1DZghHwuPe800s4n6pODaJIr4bwBC','han_jihoon','한지훈',NULL,1,NULL,1,'2026-11-24 13:09:07','2026-11-24 13:09:07');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3105,'oh_yuna@example.com','$2b$12$VFJUJqvSTTKknsiuQprzk.zD1klqbn7kutWKgorp0HNpt.QGXIYHq','oh_yuna','오유나 🎧',NULL,1,NULL,1,'2026-11-24 13:09:07','2026-11-24 13:09:08');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3106,'seo-jin@example.com','$2b$12$hHKXLQM4deTj13SJZC5yoecxDfgvSBhe4FPTFv0EZ1D8L7aQK7etW','seo-jin','서진',NULL,1,NULL,1,'2026-11-24 13:09:08','2026-11-24 13:09:08');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3107,'ann@example.com','$2b$12$wjBEU.EtjwOuKzeoh0lOgeGTefslC/GUW2c.5jmHtdWMAMSbcuTVG','Ann','Ann & Co',NULL,1,NULL,1,'2026-11-24 13:09:08','2026-11-24 13:09:09');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3108,'bob_1@example.com','$2b$12$7x/xXFGduemNhBym10PapeWNSBguOYETk87dJNsr4ujKw9rkPJqq2','bob_1','100%_bob',NULL,1,NULL,1,'2026-11-24 13:09:09','2026-11-24 13:09:09');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3109,'carol@example.com','$2b$12$veSoz1k/YiB9adjnrWYn6O.fGYgbi5NKtitfuF04Z5Yr/falTs2GG','carol','Carol',NULL,1,NULL,1,'2026-11-24 13:09:09','2026-11-24 13:09:09');
INSERT INTO `users` (`id`, `email`, `password_hash`, `username`, `display_name`, `status_message`, `is_online`, `last_seen_at`, `is_active`, `created_at`, `updated_at`) VALUES (3110,'dave@example.com','$2b$12$cl544jrVeH1eEO5zz.5nVu67winqJFiQpPYnhgr834mEhuO2MEji6','dave',NULL,NULL,1,NULL,1,'2026-11-24 13:09:10','2026-11-24 13:09:10');
