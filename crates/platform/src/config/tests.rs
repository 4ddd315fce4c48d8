//! The variables are read and checked.

use super::*;

const SECRET: &str = "a-secret-of-our-own-with-32-bytes!";

fn read(pairs: &[(&'static str, &str)]) -> Result<Base> {
    let mut all = vec![("SECRET_KEY", SECRET.to_owned()), ("MYSQL_HOST", "db".to_owned())];
    all.extend(pairs.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Base::read(&Env::of(all), "user-service", 8005)
}

fn problem(pairs: &[(&'static str, &str)]) -> String {
    read(pairs).unwrap_err().to_string()
}

#[test]
fn an_invalid_value_is_reported_with_the_name_of_its_variable() {
    assert!(problem(&[("PORT", "80o5")]).starts_with("PORT: \"80o5\" is not valid"));
    assert_eq!(problem(&[("SECRET_KEY", "")]), "SECRET_KEY: is required and not set");
    assert_eq!(problem(&[("DEBUG", "maybe")]), "DEBUG: \"maybe\" is neither true nor false");
    assert_eq!(problem(&[("HTTP_TIMEOUT", "0")]), "HTTP_TIMEOUT: 0 is not between 1 and 300");
    assert_eq!(problem(&[("ALGORITHM", "none")]), "ALGORITHM: \"none\" is not valid: it is not HS256, ES256 or EdDSA");
    assert!(problem(&[("MYSQL_URL", "postgres://x")]).starts_with("MYSQL_URL: does not begin"));
}

#[test]
fn development_secrets_are_accepted_with_debug_only() {
    for secret in DEVELOPMENT_SECRETS {
        assert!(problem(&[("SECRET_KEY", secret)]).contains("well-known development value"));
        assert!(read(&[("SECRET_KEY", secret), ("DEBUG", "true")]).is_ok());
    }
}

/// The variables that give a store this password, each on its own.
fn stores(password: &str) -> [(&'static str, String); 3] {
    let (mysql, redis) = (format!("mysql://a:{password}@b:3306/c"), format!("redis://:{password}@b:6379/0"));
    [("MYSQL_URL", mysql), ("MYSQL_PASSWORD", password.to_owned()), ("REDIS_URL", redis)]
}

#[test]
fn the_placeholder_is_a_password_of_stores_with_debug_only() {
    let refused = "has the placeholder as its password; set a password of your own, or DEBUG=true";
    for (name, value) in stores(PLACEHOLDER) {
        assert_eq!(problem(&[(name, &value)]), format!("{name}: {refused}"));
        assert!(read(&[(name, &value), ("DEBUG", "true")]).is_ok());
    }
    for (name, value) in
        [("MONGO_URL", "mongodb://a:placeholder@b,c/?d=e"), ("MONGODB_URL", "mongodb+srv://a:placeholder@b")]
    {
        let error = mongo(&Env::of([(name, value.to_owned())])).unwrap_err();
        assert!(error.variable == name && error.problem == refused);
    }
    let parts = [("MONGODB_HOST", "b"), ("MONGODB_USER", "a"), ("MONGODB_PASSWORD", PLACEHOLDER)];
    let error = mongo(&Env::of(parts.map(|(name, value)| (name, value.to_owned())))).unwrap_err();
    assert_eq!(error.variable, "MONGODB_PASSWORD");
}

#[test]
fn a_public_password_of_a_store_leads_to_a_warning() {
    fn warns(pairs: &[(&'static str, &str)]) -> bool {
        read(pairs).unwrap().warnings().iter().any(|warning| warning.contains("public files"))
    }
    for password in PUBLIC_PASSWORDS {
        for (name, value) in stores(password) {
            assert!(warns(&[(name, &value)]) && !warns(&[(name, &value), ("DEBUG", "true")]), "{name}");
        }
        assert!(warns(&[("MONGO_URL", &format!("mongodb://a:{password}@b"))]));
    }
    assert!(!warns(&[("MYSQL_URL", "mysql://chatpassword:my-chatpassword@b/c"), ("REDIS_URL", "redis://b/0")]));
}

#[test]
fn the_secret_of_access_tokens_is_needed_only_where_its_tokens_are_accepted() {
    let secret = |pairs: &[_]| read(pairs).unwrap().secret_key.map(|secret| secret.expose_secret().to_owned());
    assert_eq!(secret(&[]).as_deref(), Some(SECRET));
    assert_eq!(secret(&[("ALGORITHM", "EdDSA")]), None, "the secret is set and not used");
    assert_eq!(secret(&[("ALGORITHM", "ES256"), ("SECRET_KEY", "")]), None);
    let transition = [("ALGORITHM", "EdDSA"), ("ALLOW_SECRET_KEY_TOKENS", "true")];
    assert_eq!(secret(&transition).as_deref(), Some(SECRET));
    assert!(read(&transition).unwrap().warnings()[0].starts_with("ALLOW_SECRET_KEY_TOKENS is on"));
    let without = problem(&[transition[0], transition[1], ("SECRET_KEY", "")]);
    assert_eq!(without, "SECRET_KEY: is required and not set");
}

#[test]
fn the_file_of_public_keys_has_a_key_of_the_algorithm() {
    let path = std::env::temp_dir().join(format!("public-keys-{}.pem", std::process::id()));
    let (file, name) = (path.to_str().unwrap(), "JWT_PUBLIC_KEYS_FILE");
    assert!(problem(&[(name, "/nowhere.pem")]).contains("\"/nowhere.pem\" cannot be read"));
    std::fs::write(&path, "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAQmFeOi1TCjXWdsXqtIKD77HFh/thvUrIrjQ0sEuznmU=\n-----END PUBLIC KEY-----\n").unwrap();
    assert!(read(&[(name, file), ("ALGORITHM", "EdDSA")]).unwrap().public_keys.is_some());
    assert!(problem(&[(name, file), ("ALGORITHM", "ES256")]).ends_with("contains no key for ALGORITHM=ES256"));
    std::fs::write(&path, "no key").unwrap();
    assert!(problem(&[(name, file)]).contains("contains a block that is no public key"));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn the_key_of_services_is_long_and_a_key_of_its_own() {
    assert_eq!(problem(&[("SERVICE_SECRET_KEY", "short")]), "SERVICE_SECRET_KEY: has under 32 bytes");
    assert!(problem(&[("SERVICE_SECRET_KEY", SECRET)]).starts_with("SERVICE_SECRET_KEY: equals SECRET_KEY"));
    let previous = "the-secret-of-yesterday-with-32-bytes";
    let both = [("SECRET_KEY_PREVIOUS", previous), ("SERVICE_SECRET_KEY", previous)];
    assert!(problem(&both).starts_with("SERVICE_SECRET_KEY: equals"));
    assert!(read(&[("SERVICE_SECRET_KEY", "another-secret-of-our-own-with-32-bytes")]).is_ok());
}

#[test]
fn the_key_of_a_cipher_is_long_and_no_public_one() {
    let key = |value: &str, debug: &str| {
        let env = Env::of([("MFA_SECRET_KEY", value.to_owned()), ("DEBUG", debug.to_owned())]);
        cipher_key(&env, "MFA_SECRET_KEY").map(|key| key.is_some()).map_err(|problem| problem.to_string())
    };
    assert_eq!(key("31-bytes-are-one-too-few-for-it", "true").unwrap_err(), "MFA_SECRET_KEY: has under 32 bytes");
    for public in DEVELOPMENT_SECRETS {
        assert!(key(public, "false").unwrap_err().starts_with("MFA_SECRET_KEY: is the well-known development value"));
        assert_eq!(key(public, "true"), Ok(true));
    }
    assert_eq!(key(SECRET, "false"), Ok(true));
}

#[test]
fn origins_are_named() {
    assert!(problem(&[("CORS_ORIGINS", "*")]).starts_with("CORS_ORIGINS: cannot be *"));
    assert!(problem(&[("CORS_ORIGINS", r#"["https://chat.example.com", "*"]"#)]).starts_with("CORS_ORIGINS: cannot"));
    let wrong = ["https://a.example/", "https://a.example/chat", "a.example", "https://", "https://A.example", "null"];
    let wrong =
        wrong.into_iter().chain(["https://a:b", "https://a:99999", "https://a:", "https://u@a:1", "https://a?b"]);
    for origin in wrong {
        let refused = format!("CORS_ORIGINS: {origin:?} is not scheme://host or scheme://host:port in lower case");
        assert_eq!(problem(&[("CORS_ORIGINS", &format!("https://b.example,{origin}"))]), refused);
    }
    let right = "http://localhost:5173,https://chat.example.com,http://[::1]:3000,capacitor://localhost";
    assert_eq!(read(&[("CORS_ORIGINS", right)]).unwrap().cors_origins.len(), 4);
}

#[test]
fn urls_of_the_original_and_composed_urls_are_accepted() {
    let url = |pairs: &[_]| read(pairs).unwrap().mysql_url.expose_secret().to_owned();
    assert_eq!(url(&[("MYSQL_URL", "mysql+aiomysql://u:p@h:3306/d")]), "mysql://u:p@h:3306/d");
    assert_eq!(
        url(&[("MYSQL_USER", "chatuser"), ("MYSQL_PASSWORD", "a-password")]),
        "mysql://chatuser:a-password@db:3306/bigtech_chat"
    );
}

#[test]
fn origins_and_proxies_are_lists() {
    let base = read(&[("CORS_ORIGINS", r#"["http://a","http://b"]"#), ("TRUSTED_PROXIES", "10.0.0.0/8, ::1")]).unwrap();
    assert_eq!(base.cors_origins, ["http://a", "http://b"]);
    assert_eq!(base.trusted_proxies.len(), 2);
}

#[test]
fn the_endpoint_of_spans_is_an_http_url() {
    let endpoint = |value| read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", value)]).unwrap().otlp.map(|to| to.endpoint);
    assert_eq!(endpoint(""), None);
    assert_eq!(endpoint("http://jaeger:4318/"), Some("http://jaeger:4318".to_owned()));
    assert_eq!(endpoint("https://jaeger:4318"), Some("https://jaeger:4318".to_owned()));
    assert!(problem(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "jaeger:4317")]).contains("does not begin with http://"));
}

#[test]
fn logs_are_readable_lines_with_debug_unless_the_format_is_set() {
    let json = |pairs: &[_]| read(pairs).unwrap().log.json;
    assert!(json(&[]) && !json(&[("DEBUG", "true")]));
    assert!(json(&[("DEBUG", "true"), ("LOG_FORMAT", "json")]) && !json(&[("LOG_FORMAT", "text")]));
    assert!(problem(&[("LOG_FORMAT", "xml")]).starts_with("LOG_FORMAT: \"xml\" is neither"));
}

#[test]
fn a_level_of_the_log_that_does_not_exist_is_refused() {
    for (text, level) in [("INFO", "info"), ("off", "off"), ("warn, engines::kafka=trace", "warn,engines::kafka=trace")]
    {
        assert_eq!(read(&[("LOG_LEVEL", text)]).unwrap().log.level, level);
    }
    for (level, wrong) in [("WARNING", "warning"), ("info,inof", "inof"), ("info,engines=loud", "engines=loud")] {
        assert!(problem(&[("LOG_LEVEL", level)]).starts_with(&format!("LOG_LEVEL: {wrong:?} is neither")), "{level}");
    }
}

#[test]
fn a_compression_that_the_client_of_kafka_does_not_have_is_refused() {
    assert!(problem(&[("KAFKA_COMPRESSION", "zstd")]).starts_with("KAFKA_COMPRESSION: \"zstd\" is neither none"));
    assert_eq!(read(&[("KAFKA_COMPRESSION", "LZ4")]).unwrap().kafka.compression, "lz4");
}

#[test]
fn secrets_are_never_printed() {
    let base = format!("{:?}", read(&[("SERVICE_SECRET_KEY", "another-secret-of-our-own-with-32-bytes")]).unwrap());
    assert!(!base.contains(SECRET) && !base.contains("another-secret"));
}

#[test]
fn weak_settings_produce_warnings() {
    assert_eq!(read(&[("SECRET_KEY", "short")]).unwrap().warnings().len(), 2);
    assert!(read(&[("SERVICE_SECRET_KEY", "another-secret-of-our-own-with-32-bytes")]).unwrap().warnings().is_empty());
}
