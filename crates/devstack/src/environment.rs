//! The environment of the services (contract, section 14), and the one by which tools and tests attach.

use std::collections::BTreeMap;

use crate::engines::{mongodb, mysql, redis};
use crate::options::Part;
use crate::services::Service;
use crate::stack::Plan;

/// Well known, and taken by services in development only.
const SECRET_KEY: &str = "dev-only-secret-key-do-not-use-in-production";
const SERVICE_SECRET_KEY: &str = "dev-only-service-secret-do-not-use-in-production";

const MONGODB_DB_NAME: &str = "bigtech_chat";

pub type Variables = BTreeMap<String, String>;

/// What all sides share: where the engines are, and the secrets.
fn shared(plan: &Plan, bootstrap: &str) -> Variables {
    [
        ("MONGO_URL", mongodb::url(plan)),
        ("MONGODB_DB_NAME", MONGODB_DB_NAME.into()),
        ("REDIS_URL", redis::url(plan)),
        ("KAFKA_BOOTSTRAP_SERVERS", bootstrap.into()),
        ("SECRET_KEY", SECRET_KEY.into()),
        ("SERVICE_SECRET_KEY", SERVICE_SECRET_KEY.into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What docker-compose.msa.yml sets too, and where to listen.
pub fn of_service(plan: &Plan, bootstrap: &str, service: Service) -> Variables {
    let mut variables = Variables::new();
    let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
    set("DEBUG", "true".into());
    // Logs go to files.
    set("NO_COLOR", "1".into());
    set("HOST", "127.0.0.1".into());
    set("SECRET_KEY", SECRET_KEY.into());
    set("SERVICE_SECRET_KEY", SERVICE_SECRET_KEY.into());
    set("MYSQL_URL", mysql::url(plan, service));
    set("REDIS_URL", redis::url(plan));
    set("KAFKA_BOOTSTRAP_SERVERS", bootstrap.into());
    set("TRUSTED_PROXIES", "127.0.0.1".into());
    if service == Service::Chat {
        set("MONGO_URL", mongodb::url(plan));
        set("MONGODB_DB_NAME", MONGODB_DB_NAME.into());
    }
    for &asked in service.asks() {
        set(&format!("{}_SERVICE_URL", asked.prefix()), urls(plan, asked).swap_remove(0));
    }
    variables
}

/// Every replica of a service, the first one first.
pub fn urls(plan: &Plan, service: Service) -> Vec<String> {
    plan.ports.of(service).iter().map(|port| format!("http://127.0.0.1:{port}")).collect()
}

/// What `cargo stack env` prints.
pub fn attach(plan: &Plan, bootstrap: &str) -> Variables {
    let mut variables = shared(plan, bootstrap);
    variables.insert("MYSQL_ADMIN_URL".into(), mysql::admin_url(plan));
    for service in Service::ALL {
        variables.insert(format!("{}_MYSQL_URL", service.prefix()), mysql::url(plan, service));
    }
    if plan.options.only == Some(Part::Engines) {
        return variables;
    }
    variables.insert("GATEWAY_URL".into(), format!("http://127.0.0.1:{}", plan.ports.gateway));
    if let Some(observers) = plan.ports.observers {
        variables.insert("PROMETHEUS_URL".into(), format!("http://127.0.0.1:{}", observers.prometheus));
        variables.insert("ALERTMANAGER_URL".into(), format!("http://127.0.0.1:{}", observers.alertmanager));
    }
    for service in Service::ALL {
        let urls = urls(plan, service);
        variables.insert(format!("{}_URL", service.prefix()), urls[0].clone());
        variables.insert(format!("{}_URLS", service.prefix()), urls.join(","));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Ports;
    use crate::workspace::Place;

    fn plan(replicas: &str) -> Plan {
        use clap::Parser;
        let line = ["stack", "test", "--replicas", replicas];
        let crate::options::Command::Test { options, .. } = crate::options::Cli::parse_from(line).command else {
            panic!("no test command");
        };
        let ports = Ports {
            mysql: 1,
            mongodb: 2,
            redis: 3,
            brokers: vec![],
            user: vec![11],
            friend: vec![21],
            chat: vec![31, 32],
            gateway: 8000,
            web: 41,
            observers: None,
        };
        Plan { place: Place::of_workspace().unwrap(), options: options.into(), ports }
    }

    #[test]
    fn tools_find_every_replica_and_every_engine() {
        let variables = attach(&plan("chat=2"), "127.0.0.1:9");
        assert_eq!(variables["CHAT_URLS"], "http://127.0.0.1:31,http://127.0.0.1:32");
        assert_eq!(variables["CHAT_URL"], "http://127.0.0.1:31");
        assert_eq!(variables["GATEWAY_URL"], "http://127.0.0.1:8000");
        assert_eq!(variables["KAFKA_BOOTSTRAP_SERVERS"], "127.0.0.1:9");
        assert_eq!(variables["MYSQL_ADMIN_URL"], "mysql://root:rootpassword@127.0.0.1:1");
    }

    #[test]
    fn a_service_gets_its_own_schema_and_no_admin() {
        let variables = of_service(&plan(""), "127.0.0.1:9", Service::Friend);
        assert_eq!(variables["MYSQL_URL"], "mysql://bigtech_friend:chatpassword@127.0.0.1:1/bigtech_friend");
        assert_eq!(variables["USER_SERVICE_URL"], "http://127.0.0.1:11");
        assert!(!variables.contains_key("MYSQL_ADMIN_URL"));
    }

    /// The environment of a service in the compose file.
    fn composed(service: Service) -> Variables {
        let text = std::fs::read_to_string(Place::of_workspace().unwrap().root.join("docker-compose.msa.yml")).unwrap();
        let mut file: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
        file.apply_merge().unwrap();
        let variables = file["services"][service.name()]["environment"].as_mapping().unwrap().iter();
        variables.map(|(name, value)| (name.as_str().unwrap().into(), value.as_str().unwrap().into())).collect()
    }

    /// A value without what differs from machine to machine: hosts, ports, and the login that only a container's
    /// MongoDB asks for.
    fn without_place(name: &str, value: &str) -> String {
        match name {
            "KAFKA_BOOTSTRAP_SERVERS" | "TRUSTED_PROXIES" => "somewhere".into(),
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

    /// Of Loki and Jaeger, which are there in containers only.
    const OF_CONTAINERS: [&str; 2] = ["LOG_FORMAT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

    #[test]
    fn the_services_are_told_what_the_compose_file_tells_them() {
        for service in Service::ALL {
            let mut ours = of_service(&plan(""), "127.0.0.1:9", service);
            assert!(ours.remove("HOST").is_some(), "a container listens on all addresses, we do not");
            let mut theirs = composed(service);
            assert!(OF_CONTAINERS.iter().all(|name| theirs.remove(*name).is_some()));
            let told = |variables: Variables| -> Variables {
                variables.into_iter().map(|(name, value)| (name.clone(), without_place(&name, &value))).collect()
            };
            assert_eq!(told(ours), told(theirs), "{}", service.name());
        }
    }
}
