//! Environment variables: those of the services (contract, section 14), and those of tools and tests.

use std::collections::BTreeMap;

use crate::engines::{KafkaCluster, mongodb, mysql, object_store, redis};
use crate::options::{Component, Switch};
use crate::plan::Plan;
use crate::service::Service;

/// Public values, which the services accept with `DEBUG` only.
const SECRET_KEY: &str = "dev-only-secret-key-do-not-use-in-production";
const SERVICE_SECRET_KEY: &str = "dev-only-service-secret-do-not-use-in-production";
const MFA_SECRET_KEY: &str = "dev-only-mfa-secret-key-do-not-use-in-production";

const MONGODB_DB_NAME: &str = "bigtech_chat";

pub type Variables = BTreeMap<String, String>;

/// The variables of the object store.
fn file_store(plan: &Plan) -> Variables {
    [
        ("FILE_STORE_URL", object_store::url(plan)),
        ("FILE_STORE_BUCKET", object_store::BUCKET.into()),
        ("FILE_STORE_ACCESS_KEY", object_store::ACCESS_KEY.into()),
        ("FILE_STORE_SECRET_KEY", object_store::SECRET_KEY.into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The addresses of the engines, and the secrets.
fn shared_variables(plan: &Plan, bootstrap: &str) -> Variables {
    let variables: Variables = [
        ("MONGO_URL", mongodb::url(plan)),
        ("MONGODB_DB_NAME", MONGODB_DB_NAME.into()),
        ("REDIS_URL", redis::url(plan)),
        ("KAFKA_BOOTSTRAP_SERVERS", bootstrap.into()),
        ("SECRET_KEY", SECRET_KEY.into()),
        ("SERVICE_SECRET_KEY", SERVICE_SECRET_KEY.into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    variables.into_iter().chain(file_store(plan)).collect()
}

/// The variables that docker-compose.msa.yml sets, `HOST`, and those that switch the budgets of writes off with the rate limits.
pub fn service_variables(plan: &Plan, bootstrap: &str, service: Service) -> Variables {
    let mut variables = Variables::new();
    let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
    set("DEBUG", "true".into());
    // The output of a service goes to a file.
    set("NO_COLOR", "1".into());
    set("HOST", "127.0.0.1".into());
    set("SECRET_KEY", SECRET_KEY.into());
    set("SERVICE_SECRET_KEY", SERVICE_SECRET_KEY.into());
    set("MYSQL_URL", linked(plan, mysql::url(plan, service)));
    set("REDIS_URL", linked(plan, redis::url(plan)));
    set("KAFKA_BOOTSTRAP_SERVERS", linked(plan, bootstrap.into()));
    set("TRUSTED_PROXIES", "127.0.0.1".into());
    if service == Service::User {
        set("MFA_SECRET_KEY", MFA_SECRET_KEY.into());
    }
    if service == Service::Chat {
        set("MONGO_URL", linked(plan, mongodb::url(plan)));
        set("MONGODB_DB_NAME", MONGODB_DB_NAME.into());
        for (name, value) in file_store(plan) {
            set(&name, value);
        }
    }
    if plan.options.rate_limit == Switch::Off {
        for name in write_limits(service) {
            set(name, "0".into());
        }
    }
    for &called in service.dependencies() {
        set(&format!("{}_SERVICE_URL", called.env_prefix()), linked(plan, urls(plan, called).swap_remove(0)));
    }
    variables
}

/// The addresses of servers in `url`, replaced by those of the links to them.
fn linked(plan: &Plan, url: String) -> String {
    let address = |port| format!("127.0.0.1:{port}");
    plan.ports.links.iter().fold(url, |url, link| url.replace(&address(link.to[0]), &address(link.port)))
}

/// The variables of the budgets of writes.
fn write_limits(service: Service) -> &'static [&'static str] {
    match service {
        Service::User => &["WRITE_LIMIT_PROFILE"],
        Service::Friend => &["WRITE_LIMIT_FRIENDS", "WRITE_LIMIT_FRIEND_REQUESTS"],
        Service::Chat => &["WRITE_LIMIT_MESSAGES", "WRITE_LIMIT_CHANGES", "WRITE_LIMIT_ROOMS"],
    }
}

/// The URLs of all replicas of a service.
pub fn urls(plan: &Plan, service: Service) -> Vec<String> {
    plan.ports.of(service).iter().map(|port| format!("http://127.0.0.1:{port}")).collect()
}

/// The variables that `cargo stack env` prints.
pub fn client_variables(plan: &Plan, kafka: &KafkaCluster) -> Variables {
    let mut variables = shared_variables(plan, &kafka.bootstrap);
    variables.extend(kafka.libs.iter().map(|libs| ("KAFKA_LIBS".to_owned(), libs.display().to_string())));
    variables.insert("MYSQL_ADMIN_URL".into(), mysql::admin_url(plan));
    for service in Service::ALL {
        variables.insert(format!("{}_MYSQL_URL", service.env_prefix()), mysql::url(plan, service));
    }
    if plan.options.only == Some(Component::Engines) {
        return variables;
    }
    variables.insert("GATEWAY_URL".into(), format!("http://127.0.0.1:{}", plan.ports.gateway));
    if let Some(observers) = plan.ports.observers {
        variables.insert("PROMETHEUS_URL".into(), format!("http://127.0.0.1:{}", observers.prometheus));
        variables.insert("ALERTMANAGER_URL".into(), format!("http://127.0.0.1:{}", observers.alertmanager));
    }
    for service in Service::ALL {
        let urls = urls(plan, service);
        variables.insert(format!("{}_URL", service.env_prefix()), urls[0].clone());
        variables.insert(format!("{}_URLS", service.env_prefix()), urls.join(","));
    }
    variables
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::TestOptions;
    use crate::ports::{Link, Ports};
    use crate::stack_dir::StackDir;

    #[derive(Parser)]
    struct TestCommand {
        #[command(flatten)]
        options: TestOptions,
    }

    fn plan(replicas: &str) -> Plan {
        let line = TestCommand::parse_from(["test", "--replicas", replicas]);
        let ports = Ports {
            mysql: 1,
            mongodb: vec![2],
            redis: 3,
            object_store: 4,
            brokers: vec![],
            user: vec![11],
            friend: vec![21],
            chat: vec![31, 32],
            gateway: 8000,
            web: 41,
            observers: None,
            links: vec![],
        };
        Plan { dir: StackDir::of_workspace().unwrap(), options: line.options.into(), ports }
    }

    fn kafka() -> KafkaCluster {
        let (bootstrap, libs) = ("127.0.0.1:9".to_owned(), Some("/kafka/libs".into()));
        KafkaCluster { bootstrap, needs_topics: true, exports_metrics: true, libs }
    }

    #[test]
    fn clients_get_the_urls_of_every_replica_and_every_engine() {
        let variables = client_variables(&plan("chat=2"), &kafka());
        assert_eq!(variables["CHAT_URLS"], "http://127.0.0.1:31,http://127.0.0.1:32");
        assert_eq!(variables["CHAT_URL"], "http://127.0.0.1:31");
        assert_eq!(variables["GATEWAY_URL"], "http://127.0.0.1:8000");
        assert_eq!(variables["KAFKA_BOOTSTRAP_SERVERS"], "127.0.0.1:9");
        assert_eq!(variables["KAFKA_LIBS"], "/kafka/libs");
        assert_eq!(variables["MYSQL_ADMIN_URL"], "mysql://root:rootpassword@127.0.0.1:1");
    }

    #[test]
    fn services_reach_the_replicas_of_others_and_breakable_engines_through_links() {
        let mut plan = plan("");
        plan.ports.mysql = 20_001;
        let link = |server: &str, to: &[u16], port| Link { server: server.into(), to: to.into(), port };
        plan.ports.links = vec![link("mysql", &[20_001], 30_001), link("user-service", &[11, 12], 30_002)];
        let variables = service_variables(&plan, "127.0.0.1:9", Service::Chat);
        assert_eq!(variables["MYSQL_URL"], "mysql://bigtech_chat:chatpassword@127.0.0.1:30001/bigtech_chat");
        assert_eq!(variables["USER_SERVICE_URL"], "http://127.0.0.1:30002");
        assert_eq!(variables["FRIEND_SERVICE_URL"], "http://127.0.0.1:21");
        assert!(
            client_variables(&plan, &kafka())["CHAT_MYSQL_URL"].contains(":20001/"),
            "tests reach the engine itself"
        );
    }

    #[test]
    fn the_url_of_mongodb_names_every_member_and_connects_directly_to_a_single_one() {
        let mut plan = plan("");
        assert_eq!(mongodb::url(&plan), "mongodb://127.0.0.1:2/?replicaSet=rs0&directConnection=true");
        plan.ports.mongodb = vec![2, 3, 4];
        let url = "mongodb://127.0.0.1:2,127.0.0.1:3,127.0.0.1:4/?replicaSet=rs0";
        assert_eq!(client_variables(&plan, &kafka())["MONGO_URL"], url);
        assert_eq!(service_variables(&plan, "", Service::Chat)["MONGO_URL"], url);
    }

    #[test]
    fn a_service_gets_its_own_schema_and_no_admin_account() {
        let variables = service_variables(&plan(""), "127.0.0.1:9", Service::Friend);
        assert_eq!(variables["MYSQL_URL"], "mysql://bigtech_friend:chatpassword@127.0.0.1:1/bigtech_friend");
        assert_eq!(variables["USER_SERVICE_URL"], "http://127.0.0.1:11");
        assert!(!variables.contains_key("MYSQL_ADMIN_URL"));
    }

    /// The environment of a service in the compose file.
    fn compose_variables(service: Service) -> Variables {
        let text =
            std::fs::read_to_string(StackDir::of_workspace().unwrap().root.join("docker-compose.msa.yml")).unwrap();
        let mut file: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
        file.apply_merge().unwrap();
        let variables = file["services"][service.name()]["environment"].as_mapping().unwrap().iter();
        variables.map(|(name, value)| (name.as_str().unwrap().into(), value.as_str().unwrap().into())).collect()
    }

    /// A value without the parts that differ in containers: hosts, ports, and the login of MongoDB.
    fn comparable(name: &str, value: &str) -> String {
        match name {
            "KAFKA_BOOTSTRAP_SERVERS" | "TRUSTED_PROXIES" => "an address".into(),
            "MONGO_URL" => value.split(':').next().unwrap_or_default().into(),
            _ => match value.split_once("://") {
                Some((scheme, rest)) => {
                    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                    let login = authority.rsplit_once('@').map_or("", |(login, _)| login);
                    format!("{scheme}://{login}@…/{path}")
                }
                None => value.into(),
            },
        }
    }

    /// Variables for Loki and Jaeger, which only the compose file runs.
    const ONLY_IN_CONTAINERS: [&str; 2] = ["LOG_FORMAT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

    #[test]
    fn the_services_get_the_variables_of_the_compose_file() {
        for service in Service::ALL {
            let mut local = service_variables(&plan(""), "127.0.0.1:9", service);
            assert!(local.remove("HOST").is_some(), "only here, a service listens on one address");
            let limits = write_limits(service).iter().map(|name| local.remove(*name));
            assert!(limits.into_iter().all(|limit| limit.as_deref() == Some("0")), "only here, nothing limits load");
            let mut composed = compose_variables(service);
            assert!(ONLY_IN_CONTAINERS.iter().all(|name| composed.remove(*name).is_some()));
            let public = composed.remove("FILE_STORE_PUBLIC_URL");
            assert_eq!(public.is_some(), service == Service::Chat, "only there, browsers use another address");
            let all_comparable = |variables: Variables| -> Variables {
                variables.into_iter().map(|(name, value)| (name.clone(), comparable(&name, &value))).collect()
            };
            assert_eq!(all_comparable(local), all_comparable(composed), "{}", service.name());
        }
    }
}
