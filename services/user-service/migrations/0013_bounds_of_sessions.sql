-- The live sessions of a user, which each login counts; used refresh tokens are deleted with their session.
ALTER TABLE user_sessions ADD KEY user_sessions_live (user_id, revoked_at, expires_at);
ALTER TABLE user_used_refresh_tokens ADD KEY user_used_refresh_tokens_session (sid);
