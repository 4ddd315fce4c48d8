//! kong.yml, and `kong-config.sh`, the guide's second command, with a simulated admin API of Kong.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::{Command, Output};
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use common::network::network_of;
use config_tests::{repository_path, strings, text, yaml};
use parking_lot::Mutex;
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

/// The header that the function in kong.yml sets for a client with this address.
fn network_in_kong(address: &str) -> String {
    let config = yaml("infrastructure/docker/kong/kong.yml");
    let plugins = config["plugins"].as_sequence().unwrap();
    let function = plugins.iter().find(|plugin| plugin["name"] == "pre-function").unwrap();
    let lua = mlua::Lua::new();
    lua.load("kong = { client = {}, service = { request = {} } }").exec().unwrap();
    lua.globals().set("address", address).unwrap();
    lua.load("function kong.client.get_forwarded_ip() return address end").exec().unwrap();
    lua.load(
        "function kong.service.request.set_header(name, value) assert(name == 'X-Client-Network'); set = value end",
    )
    .exec()
    .unwrap();
    lua.load(function["config"]["access"][0].as_str().unwrap()).exec().unwrap();
    lua.globals().get("set").unwrap()
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
