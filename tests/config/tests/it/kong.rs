//! kong.yml, and `kong-config.sh`, the guide's second command, with a simulated admin API of Kong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::{Command, Output};
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use common::input::MAX_BODY_BYTES;
use common::network::network_of;
use common::request_id::is_safe;
use config_tests::{Kubernetes, repository_path, strings, text, yaml};
use parking_lot::Mutex;
use regex::Regex;
use serde_yaml_ng::Value;
use tokio::net::TcpListener;

/// The bodies of the requests to `/config`.
type Configurations = Arc<Mutex<Vec<String>>>;

/// Starts the part of Kong's admin API that the script uses. `answer` is the answer to a configuration.
async fn admin(answer: (StatusCode, &'static str)) -> (String, Configurations) {
    let configurations = Configurations::default();
    let received = Arc::clone(&configurations);
    let list = get(async || r#"{"data":[{"name":"user-service","plugins":null},{"name":"web"}],"next":null}"#);
    let router = Router::new()
        .route("/status", get(async || "{}"))
        .route(
            "/config",
            post(async move |body: String| {
                received.lock().push(body);
                answer
            }),
        )
        .route("/services", list.clone())
        .route("/routes", list.clone())
        .route("/plugins", list);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, configurations)
}

async fn run(admin: String, variables: &[(&'static str, &'static str)]) -> Output {
    let variables = variables.to_vec();
    let script = repository_path("infrastructure/docker/kong/kong-config.sh");
    let run = move || Command::new(script).env("KONG_ADMIN_URL", admin).envs(variables).output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The file in the last request, without the form around it.
fn file(configurations: &Configurations) -> String {
    let configurations = configurations.lock();
    let form = configurations.last().unwrap();
    assert!(form.contains("name=\"config\""), "{form}");
    let (_, content) = form.split_once("\r\n\r\n").unwrap();
    content.rsplit_once("\r\n--").unwrap().0.to_owned()
}

#[tokio::test]
async fn the_script_loads_the_file_unchanged_lists_the_objects_and_can_be_repeated() {
    let (admin, configurations) = admin((StatusCode::CREATED, "{}")).await;

    for _ in 0..2 {
        let output = run(admin.clone(), &[]).await;
        assert!(output.status.success(), "{output:?}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(stdout.starts_with("services:\n  user-service\n  web\nroutes:\n"), "{stdout}");
    }

    assert_eq!(configurations.lock().len(), 2);
    assert_eq!(file(&configurations), text("infrastructure/docker/kong/kong.yml"));
}

#[tokio::test]
async fn variables_change_the_rate_limits() {
    let (admin, configurations) = admin((StatusCode::CREATED, "{}")).await;

    run(admin, &[("RATE_LIMIT_MINUTE", "12000"), ("RATE_LIMIT_HOUR", "99000")]).await;

    let original = text("infrastructure/docker/kong/kong.yml");
    let changed = original.replace("minute: 100\n", "minute: 12000\n").replace("hour: 1000\n", "hour: 99000\n");
    assert_ne!(changed, original);
    assert_eq!(file(&configurations), changed);
}

#[tokio::test]
async fn a_variable_hides_the_api_document() {
    let (admin, configurations) = admin((StatusCode::CREATED, "{}")).await;

    run(admin, &[("API_DOCUMENTS", "off")]).await;

    let changed: Value = serde_yaml_ng::from_str(&file(&configurations)).unwrap();
    let routes = changed["routes"].as_sequence().unwrap();
    let internal = routes.iter().find(|route| route["name"] == "internal").unwrap();
    let paths = strings(&internal["paths"]);
    assert!(paths.ends_with(&["~/docs(/.*)?$", "~/openapi[.]json/?$"]), "{paths:?}");
}

#[tokio::test]
async fn the_script_fails_with_the_reason_from_kong() {
    let (admin, _) = admin((StatusCode::BAD_REQUEST, r#"{"message":"unknown field"}"#)).await;

    let output = run(admin, &[]).await;

    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("unknown field"));
}

#[tokio::test]
async fn a_variable_changes_the_origins() {
    let (admin, configurations) = admin((StatusCode::CREATED, "{}")).await;

    run(admin, &[("CORS_ORIGINS", "https://a.example.com,https://b.example.com")]).await;

    let changed: Value = serde_yaml_ng::from_str(&file(&configurations)).unwrap();
    let cors = changed["plugins"].as_sequence().unwrap().iter().find(|plugin| plugin["name"] == "cors").unwrap();
    assert_eq!(strings(&cors["config"]["origins"]), ["https://a.example.com", "https://b.example.com"]);
}

/// Kong tries routes that name methods before routes that do not, so a route for internal paths without a method would
/// not hide them for that method.
#[test]
fn every_route_names_its_methods_and_no_route_has_a_method_that_the_terminating_routes_lack() {
    let config = yaml("infrastructure/docker/kong/kong.yml");
    let methods = |route: &Value| strings(&route["methods"]).into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let services = config["services"].as_sequence().unwrap();
    let proxied: Vec<&Value> = services.iter().flat_map(|service| service["routes"].as_sequence().unwrap()).collect();
    let terminating = config["routes"].as_sequence().unwrap();

    for route in &proxied {
        let own = methods(route);
        assert!(own.contains("GET") && own.contains("HEAD"), "{route:?}");
        assert!(terminating.iter().all(|terminating| own.is_subset(&methods(terminating))), "{route:?}");
        if route["name"] != "web" {
            assert!(own.contains("PATCH") && own.contains("OPTIONS"), "{route:?}");
        }
        assert!(!own.contains("TRACE") && !own.contains("CONNECT"), "{route:?}");
    }
}

/// The headers of a request by a client with this address after the function in kong.yml.
fn headers_in_kong(address: &str, path: &str, given: &[(&str, &str)]) -> BTreeMap<String, String> {
    let config = yaml("infrastructure/docker/kong/kong.yml");
    let plugins = config["plugins"].as_sequence().unwrap();
    let function = plugins.iter().find(|plugin| plugin["name"] == "pre-function").unwrap();
    let lua = mlua::Lua::new();
    lua.globals().set("address", address).unwrap();
    lua.globals().set("path", path).unwrap();
    lua.globals().set("headers", BTreeMap::from_iter(given.iter().copied())).unwrap();
    lua.load(
        "kong = { client = {}, request = {}, service = { request = {} } }
        function kong.client.get_forwarded_ip() return address end
        function kong.request.get_path() return path end
        function kong.request.get_header(name) return headers[name] end
        function kong.service.request.set_header(name, value) headers[name] = value end
        function kong.service.request.clear_header(name) headers[name] = nil end",
    )
    .exec()
    .unwrap();
    lua.load(function["config"]["access"][0].as_str().unwrap()).exec().unwrap();
    lua.globals().get("headers").unwrap()
}

/// The header that the function in kong.yml sets for a client with this address.
fn network_in_kong(address: &str) -> String {
    headers_in_kong(address, "/api/users/1", &[("X-Client-Network", "::1")]).remove("X-Client-Network").unwrap()
}

/// The key by which kong.yml counts a request.
fn key_in_kong(path: &str, authorization: &str) -> String {
    let given = [("Authorization", authorization), ("X-Rate-Limit-Key", "of the client")];
    headers_in_kong("10.0.0.1", path, &given).remove("X-Rate-Limit-Key").unwrap()
}

/// A test of the gateway of `cargo stack` expects the same numbers.
#[test]
fn kong_counts_a_request_with_a_token_by_its_signature() {
    for (authorization, key) in [
        ("Bearer a.b.c", "10.0.0.1/99"),
        ("bearer x-_.y.c", "10.0.0.1/99"),
        ("BEARER eyJhbGciOiJIUzI1NiJ9.e30.X6ZDZWSDP3Gj-6YJ4Q_kwQfN3cnPs3vlvKq2ZgLW0uM", "10.0.0.1/118"),
        ("Bearer a.b.c.d", "10.0.0.1"),
        ("Bearer a.b.", "10.0.0.1"),
        ("Bearer  a.b.c", "10.0.0.1"),
        ("Bearer a.b.c=", "10.0.0.1"),
        ("Bearer abc", "10.0.0.1"),
        ("Basic a.b.c", "10.0.0.1"),
        ("", "10.0.0.1"),
    ] {
        assert_eq!(key_in_kong("/api/users/1", authorization), key, "{authorization}");
    }
    let invented: BTreeSet<String> =
        (0..5_000).map(|n| key_in_kong("/api/users/1", &format!("Bearer a.b.{n:x}"))).collect();
    assert!((900..=1024).contains(&invented.len()), "{}", invented.len());
}

/// A test of the gateway of `cargo stack` expects the same. A test of user-service lists the operations without a token.
#[test]
fn kong_counts_requests_that_verify_no_token_by_network() {
    for path in [
        "/",
        "/app.js",
        "/docs",
        "/health",
        "/.well-known/jwks.json",
        "/api",
        "/api/nothing",
        "/api/auth/login",
        "/api/auth/login/",
        "/api/auth/login/json",
        "/api/auth/register",
        "/api/auth/refresh",
        "/api/messages/stream",
        "/api/messages/stream/7",
    ] {
        assert_eq!(key_in_kong(path, "Bearer a.b.c"), "10.0.0.1", "{path}");
    }
    for path in [
        "/api/auth/logout",
        "/api/auth/sessions",
        "/api/profile/me",
        "/api/users",
        "/api/users/search",
        "/api/friends",
        "/api/friends/list",
        "/api/chat-rooms",
        "/api/messages/7",
    ] {
        assert_eq!(key_in_kong(path, "Bearer a.b.c"), "10.0.0.1/99", "{path}");
    }
}

#[test]
fn kong_replaces_the_request_ids_that_the_services_would_replace() {
    let longest = "x".repeat(128);
    let long = "x".repeat(129);
    for id in [
        "r-1",
        "Root=1-67891233-abcdef",
        "a_b.c:d/e#f+g",
        &longest,
        &long,
        "",
        "a b",
        "<script>",
        "a\"b",
        "é",
        "a,b",
        "a%b",
    ] {
        let kept = headers_in_kong("10.0.0.1", "/", &[("X-Request-ID", id)]).remove("X-Request-ID");
        assert_eq!(kept.as_deref(), is_safe(id.as_bytes()).then_some(id), "{id}");
    }
    assert_eq!(headers_in_kong("10.0.0.1", "/", &[]).remove("X-Request-ID"), None);
}

#[test]
fn streams_tickets_downloads_and_the_page_have_limits_of_their_own() {
    let config = yaml("infrastructure/docker/kong/kong.yml");
    let services = config["services"].as_sequence().unwrap();
    let mut routes = services.iter().flat_map(|service| service["routes"].as_sequence().unwrap());
    let mut route = |name: &str| routes.find(|route| route["name"] == name).unwrap();
    let (streams, downloads, web) = (route("streams"), route("downloads"), route("web"));
    let paths: Vec<Regex> =
        strings(&streams["paths"]).iter().map(|path| Regex::new(path.strip_prefix('~').unwrap()).unwrap()).collect();
    for path in
        ["/api/messages/stream", "/api/messages/stream/", "/api/messages/stream/7", "/api/messages/stream/ticket"]
    {
        assert!(paths.iter().any(|regex| regex.is_match(path)), "{path}");
    }
    for path in ["/api/messages/streams", "/api/messages/7", "/api/messages/stream/7/x"] {
        assert!(!paths.iter().any(|regex| regex.is_match(path)), "{path}");
    }
    let own = &downloads["plugins"][0]["config"];
    assert_eq!((&own["minute"], &own["header_name"]), (&1200.into(), &"X-Rate-Limit-Key".into()));
    for route in [streams, web] {
        let own = &route["plugins"][0]["config"];
        assert_eq!((&own["minute"], &own["header_name"]), (&6000.into(), &"X-Client-Network".into()), "{route:?}");
    }
}

#[test]
fn kong_refuses_the_bodies_that_the_services_would_refuse() {
    let limit = format!("{}k", MAX_BODY_BYTES / 1024);
    let name = "KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE";
    for file in ["docker-compose.msa.yml", "docker-compose.test.yml"] {
        assert_eq!(yaml(file)["services"]["kong"]["environment"][name], limit.as_str(), "{file}");
    }
    let kubernetes = Kubernetes::read();
    assert_eq!(kubernetes.environment(&kubernetes.pod("kong")["containers"][0])[name], limit);
}

#[test]
fn kong_counts_requests_by_the_networks_of_the_services() {
    for address in [
        "203.0.113.9",
        "2001:db8::1",
        "2001:db8:0:1::1",
        "2001:db8:0:1:2:3:4:5",
        "2001:db8:1:2:3::",
        "2001::1:2:3:4:5",
        "1::2:3:4:5:6:7",
        "::1",
        "::",
        "fe80::ff:fe00:1",
    ] {
        let network = network_of(address.parse().unwrap());
        assert_eq!(network_in_kong(address).parse::<IpAddr>().unwrap(), network, "{address}");
    }
    // nginx writes such an address like this, and always the same way.
    assert_eq!(network_in_kong("::ffff:203.0.113.9"), "::ffff:203.0.113.9");
}
