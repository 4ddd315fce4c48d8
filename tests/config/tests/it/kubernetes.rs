//! The manifests: their references resolve, and every pod follows the rules.

use std::collections::BTreeSet;

use common::config::Env;
use config_tests::{Kubernetes, Program, names, repository_path, strings, text, yaml};
use platform::config::Base;
use serde_yaml_ng::Value;

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["containers"].as_sequence().unwrap().iter()
}

/// The values of `field` in a list of mappings.
fn named<'a>(list: &'a Value, field: &str) -> BTreeSet<&'a str> {
    list.as_sequence().into_iter().flatten().filter_map(|item| item[field].as_str()).collect()
}

/// The port numbers of a pod's containers.
fn ports(pod: &Value) -> BTreeSet<u64> {
    let ports = containers(pod).flat_map(|container| container["ports"].as_sequence().into_iter().flatten());
    ports.map(|port| port["containerPort"].as_u64().unwrap()).collect()
}

#[test]
fn files_in_config_maps_are_the_files_of_the_compose_stack() {
    let kubernetes = Kubernetes::read();
    for (map, file, path) in [
        ("mysql-config", "bigtech.cnf", "infrastructure/docker/mysql/bigtech.cnf"),
        ("mysql-config", "accounts.sh", "infrastructure/docker/mysql/accounts.sh"),
        ("mysql-config", "start.sh", "infrastructure/docker/mysql/start.sh"),
        ("mongodb-config", "start.sh", "infrastructure/docker/mongodb/start.sh"),
        ("seaweedfs-config", "start.sh", "infrastructure/docker/seaweedfs/start.sh"),
        ("kafka-config", "ready.sh", "infrastructure/docker/kafka/ready.sh"),
    ] {
        let copy = kubernetes.get("ConfigMap", map)["data"][file].as_str().unwrap();
        assert_eq!(copy, text(path), "{map}: run k8s/render");
    }
}

#[test]
fn kong_has_the_routes_and_limits_of_the_compose_stack_the_origin_of_production_and_no_api_document() {
    let kubernetes = Kubernetes::read();
    let copy = kubernetes.get("ConfigMap", "kong-config")["data"]["kong.yml"].as_str().unwrap();
    let origin = kubernetes.get("ConfigMap", "bigtech-chat-config")["data"]["CORS_ORIGINS"].as_str().unwrap();

    let original = text("infrastructure/docker/kong/kong.yml");
    let development = "origins: [http://localhost:3000, http://localhost:5173]";
    let documents = "      - ~/docs(/.*)?$\n      - ~/openapi[.]json/?$\n";
    assert_eq!(
        copy.replace(documents, ""),
        original.replace(development, &format!("origins: [{origin}]")),
        "run k8s/render"
    );
    assert_eq!(
        terminated(copy),
        [terminated(&original), vec!["~/docs(/.*)?$".into(), "~/openapi[.]json/?$".into()]].concat()
    );
    assert!(!copy.contains("localhost"), "pages of a developer's machine have no access to production");
}

/// The paths that a gateway answers with 404, although a service or the page has them.
fn terminated(kong: &str) -> Vec<String> {
    let config: Value = serde_yaml_ng::from_str(kong).unwrap();
    let routes = config["routes"].as_sequence().unwrap();
    let internal = routes.iter().find(|route| route["name"] == "internal").unwrap();
    strings(&internal["paths"]).into_iter().map(str::to_owned).collect()
}

/// `.ci/check-configuration` renders the files again and compares them.
#[test]
fn every_object_is_in_the_namespace_and_every_file_but_the_placeholders_is_rendered() {
    let kubernetes = Kubernetes::read();
    for object in kubernetes.objects.iter().filter(|object| object["kind"] != "Namespace") {
        assert_eq!(object["metadata"]["namespace"], "bigtech-chat", "{:?}", object["metadata"]["name"]);
    }
    for file in Kubernetes::files() {
        let rendered = text(&file).starts_with("# Rendered by k8s/render from k8s/overlays/prod.");
        assert_ne!(rendered, file.ends_with("/secrets.yaml"), "{file}");
        assert!(!file.ends_with("kustomization.yaml"), "`kubectl apply -f` of a folder would fail: {file}");
    }
    assert_eq!(text("k8s/manifests/secrets.yaml"), text("k8s/overlays/dev/secrets.yaml"));
}

#[test]
fn the_secrets_in_use_are_those_of_the_manifest_and_of_the_readme() {
    let kubernetes = Kubernetes::read();
    let secrets = &kubernetes.get("Secret", "bigtech-chat-secrets")["stringData"];
    let declared: BTreeSet<_> = names(secrets).into_iter().collect();
    let variables = kubernetes.pods().into_iter().flat_map(|(_, pod)| containers(pod)).flat_map(|container| {
        container["env"].as_sequence().into_iter().flatten().map(|variable| &variable["valueFrom"]["secretKeyRef"])
    });
    let keys = variables.filter_map(|secret| secret["key"].as_str());
    // Previous keys exist during a rotation only.
    let (previous, used): (BTreeSet<_>, BTreeSet<_>) = keys.partition(|key| key.ends_with("_PREVIOUS"));
    assert_eq!(used, declared);
    assert_eq!(previous, BTreeSet::from(["MFA_SECRET_KEY_PREVIOUS", "SECRET_KEY_PREVIOUS"]));

    let readme = text("k8s/README.md");
    let (_, line) = readme.split_once("create secret generic bigtech-chat-secrets $(for name in ").unwrap();
    let created: BTreeSet<_> = line.split(';').next().unwrap().split(' ').collect();
    assert_eq!(created, declared);
}

fn assert_follows_the_rules(name: &str, pod: &Value) {
    assert_eq!(pod["enableServiceLinks"], false, "{name}: MYSQL_PORT would be an address");
    assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
    for container in containers(pod) {
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(strings(&container["securityContext"]["capabilities"]["drop"]), ["ALL"], "{name}");
        for resources in ["requests", "limits"] {
            assert_eq!(names(&container["resources"][resources]), ["cpu", "memory"], "{name}");
        }
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let command = serde_yaml_ng::to_string(&container[probe]["exec"]).unwrap();
            let logs_in = ["PASSWORD", "--password", "auth("].iter().any(|login| command.contains(login));
            assert!(
                !logs_in,
                "{name}: after a rotation, {probe} would log in with the password of the container's start: {command}"
            );
        }
    }
}

#[test]
fn backups_are_made_with_the_images_of_the_stores_and_restored_only_on_demand() {
    let kubernetes = Kubernetes::read();
    for (name, order) in [("backup", ["mongodb", "files", "mysql"]), ("restore", ["mysql", "mongodb", "files"])] {
        let objects = config_tests::documents(&format!("k8s/components/backup/{name}.yaml"));
        let job = objects.iter().find(|object| object["kind"] == "CronJob").unwrap();
        assert_eq!(job["spec"]["suspend"].as_bool().unwrap_or(false), name == "restore");
        assert_eq!(job["spec"]["concurrencyPolicy"], "Forbid", "{name}");
        let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        assert_follows_the_rules(name, pod);
        let steps: Vec<_> = pod["initContainers"]
            .as_sequence()
            .unwrap()
            .iter()
            .chain(pod["containers"].as_sequence().unwrap())
            .collect();
        if name == "restore" {
            let last = steps.last().unwrap();
            assert_eq!(strings(&last["command"]), ["rm", "-f", "/backups/.restoring"], "load-mysql.sh writes the mark");
        }
        let stores: Vec<_> = steps.iter().map(|step| step["name"].as_str().unwrap()).take(3).collect();
        assert_eq!(stores, order, "{name}: MySQL has the rooms of MongoDB, and the store the files of its messages");
        for step in steps {
            let step_name = step["name"].as_str().unwrap();
            assert_eq!(step["securityContext"]["readOnlyRootFilesystem"], true, "{name}: {step_name}");
            assert_eq!(step["securityContext"]["allowPrivilegeEscalation"], false, "{name}: {step_name}");
            let store = match step_name {
                // The versions of images are compared in `versions`.
                "files" => continue,
                "epoch" => "chat-service",
                "unmark" => "mysql",
                store => store,
            };
            assert_eq!(
                step["image"],
                containers(kubernetes.pod(store)).next().unwrap()["image"],
                "{name}: {step_name}"
            );
        }
    }
}

#[test]
fn every_pod_follows_the_rules() {
    let kubernetes = Kubernetes::read();
    assert_eq!(kubernetes.pods().len(), 12);
    for (name, pod) in kubernetes.pods() {
        kubernetes.get("ServiceAccount", pod["serviceAccountName"].as_str().unwrap());
        assert_follows_the_rules(name, pod);
    }
    for account in kubernetes.of_kind("ServiceAccount") {
        assert_eq!(account["automountServiceAccountToken"], false);
    }
}

#[test]
fn services_are_deployed_as_the_contract_says() {
    let kubernetes = Kubernetes::read();
    for program in Program::ALL {
        let name = program.name();
        let deployment = &kubernetes.get("Deployment", name)["spec"];
        assert!(deployment["replicas"].is_null(), "{name}: applying it again would undo the autoscaler's number");
        let pod = kubernetes.pod(name);
        let container = &pod["containers"][0];
        assert_eq!(container["image"], format!("bigtech-{name}:latest"));
        assert_eq!(container["ports"][0]["containerPort"], u64::from(program.service.port));
        assert_eq!(container["resources"]["requests"]["cpu"], "100m");
        assert_eq!(container["resources"]["requests"]["memory"], "256Mi");
        assert_eq!(container["resources"]["limits"]["cpu"], "500m");
        assert_eq!(container["resources"]["limits"]["memory"], "512Mi");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/health");
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/health/ready");
        assert_eq!(kubernetes.get("Service", name)["spec"]["ports"][0]["port"], u64::from(program.service.port));

        let scaler = kubernetes.get("HorizontalPodAutoscaler", &format!("{name}-hpa"));
        assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], name);
        assert_eq!(scaler["spec"]["minReplicas"], 2);
        assert_eq!(scaler["spec"]["maxReplicas"], if name == "chat-service" { 15 } else { 10 });
        let [cpu, memory] = [0, 1].map(|metric| &scaler["spec"]["metrics"][metric]["resource"]["target"]);
        assert_eq!(cpu["averageValue"], "350m", "70 % of the limit");
        assert_eq!(memory["averageUtilization"], 80);
    }
}

#[test]
fn managed_stores_may_ask_for_tls_and_logins_by_optional_secrets_that_the_programs_read() {
    let patches = config_tests::documents("k8s/overlays/external/connections.yaml");
    let table = text("docs/operations.md");
    let mut names = BTreeSet::new();
    for patch in &patches {
        let pod = &patch["spec"]["template"]["spec"];
        for variable in pod["containers"][0]["env"].as_sequence().unwrap() {
            let name = variable["name"].as_str().unwrap();
            assert!(table.contains(&format!("`{name}`")), "{name} is not documented");
            assert_eq!(variable["valueFrom"]["secretKeyRef"]["optional"], true, "{name}");
            names.insert(name);
        }
        assert_eq!(pod["volumes"][0]["secret"]["optional"], true);
    }
    let apps: BTreeSet<_> = patches.iter().map(|patch| patch["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(apps, BTreeSet::from(["chat-service", "friend-service", "kafka-topics", "user-service"]));
    assert!(names.is_superset(&BTreeSet::from(["MYSQL_URL", "MONGO_URL", "REDIS_URL", "KAFKA_SASL_PASSWORD"])));
}

#[test]
fn only_deployments_without_an_autoscaler_have_a_number_of_replicas() {
    let kubernetes = Kubernetes::read();
    let scalers = kubernetes.of_kind("HorizontalPodAutoscaler");
    let scaled: BTreeSet<_> =
        scalers.map(|scaler| scaler["spec"]["scaleTargetRef"]["name"].as_str().unwrap()).collect();
    assert_eq!(scaled, BTreeSet::from(["chat-service", "friend-service", "kong", "user-service"]));
    for deployment in kubernetes.of_kind("Deployment") {
        let name = deployment["metadata"]["name"].as_str().unwrap();
        assert_eq!(deployment["spec"]["replicas"].is_null(), scaled.contains(name), "{name}");
    }
}

#[test]
fn the_autoscaler_by_streams_keeps_the_limits_of_the_one_that_it_replaces() {
    let kubernetes = Kubernetes::read();
    let replaced = &kubernetes.get("HorizontalPodAutoscaler", "chat-service-hpa")["spec"];
    let scaled = &yaml("k8s/components/stream-autoscaling/scaled-object.yaml")["spec"];
    assert_eq!(scaled["scaleTargetRef"]["name"], replaced["scaleTargetRef"]["name"]);
    assert_eq!(scaled["minReplicaCount"], replaced["minReplicas"]);
    assert_eq!(scaled["maxReplicaCount"], replaced["maxReplicas"]);
    let autoscaler = &scaled["advanced"]["horizontalPodAutoscalerConfig"];
    assert_eq!(autoscaler["name"], "chat-service-hpa");
    assert_eq!(autoscaler["behavior"], replaced["behavior"]);
    let target = |metric: usize| &replaced["metrics"][metric]["resource"]["target"];
    assert_eq!(scaled["triggers"][0]["metadata"]["value"], target(0)["averageValue"]);
    assert_eq!(
        scaled["triggers"][1]["metadata"]["value"],
        target(1)["averageUtilization"].as_u64().unwrap().to_string()
    );
    let query = scaled["triggers"][2]["metadata"]["query"].as_str().unwrap();
    assert!(query.contains("active_sse_connections") && text("docs/metrics.md").contains("`active_sse_connections`"));
}

#[test]
fn the_gateway_ends_tls_and_leads_everything_to_kong_without_a_limit_for_streams() {
    let folder = "k8s/components/gateway-api";
    let gateway = yaml(&format!("{folder}/gateway.yaml"));
    let tls = &gateway["spec"]["listeners"][0];
    assert_eq!((&tls["protocol"], &tls["tls"]["mode"]), (&"HTTPS".into(), &"Terminate".into()));

    let routes = config_tests::documents(&format!("{folder}/routes.yaml"));
    let [proxied, redirected] = routes.as_slice() else { panic!("{} routes", routes.len()) };
    let kubernetes = Kubernetes::read();
    let rules = proxied["spec"]["rules"].as_sequence().unwrap();
    for rule in rules {
        let backend = &rule["backendRefs"][0];
        let service = kubernetes.get("Service", backend["name"].as_str().unwrap());
        assert_eq!(backend["port"], service["spec"]["ports"][0]["port"]);
    }
    let limits: Vec<_> =
        rules.iter().map(|rule| (&rule["matches"][0]["path"]["value"], &rule["timeouts"]["request"])).collect();
    assert_eq!(limits, [(&"/api/messages/stream".into(), &"0s".into()), (&"/".into(), &"65s".into())]);
    assert_eq!(redirected["spec"]["parentRefs"][0]["sectionName"], "http");
    let path = &redirected["spec"]["rules"][0]["matches"][0]["path"];
    assert_eq!(path["type"], "Exact", "a client that sends a token by HTTP is not redirected");
    let host = &kubernetes.get("Ingress", "bigtech-chat-ingress")["spec"]["rules"][0]["host"];
    assert!(routes.iter().all(|route| route["spec"]["hostnames"][0] == *host) && tls["hostname"] == *host);

    let policy = yaml(&format!("{folder}/network-policy.yaml"));
    assert_eq!(selected(&policy["spec"]["podSelector"]), ["kong"]);
    assert_eq!(
        policy["spec"]["ingress"][0]["ports"][0]["port"],
        kubernetes.pod("kong")["containers"][0]["ports"][0]["containerPort"]
    );
}

/// The connections of a pod, besides the pool to MySQL. docs/operations.md, "Scaling", has the same numbers.
mod connections {
    /// To MySQL: the readiness check, and the migration at the start of a pod.
    pub const MYSQL_OTHERS: u64 = 2;
    /// To MongoDB, by chat-service: three pools of 10 connections, each with 2 that watch the server.
    pub const MONGODB: u64 = 3 * (10 + 2);
    /// To Redis: commands, the readiness check, and subscriptions.
    pub const REDIS: u64 = 8;
    /// Exporters, backups and people, at each store.
    pub const TOOLS: u64 = 23;
}

/// The configuration of a service in its pod, without the values that an operator has to replace.
fn configuration(kubernetes: &Kubernetes, program: &Program) -> Base {
    let mut variables = kubernetes.environment(&kubernetes.pod(program.name())["containers"][0]);
    variables.insert("DEBUG".into(), "true".into());
    variables.remove("TRUSTED_PROXIES");
    Base::read(&Env::of(variables), program.name(), 0).unwrap()
}

#[test]
fn all_pods_together_open_fewer_connections_than_the_stores_accept() {
    let kubernetes = Kubernetes::read();
    // The greatest number of pods, during a rollout.
    let pods = |name: &str| {
        let rollout = &kubernetes.get("Deployment", name)["spec"]["strategy"]["rollingUpdate"]["maxSurge"];
        let scaler = kubernetes.get("HorizontalPodAutoscaler", &format!("{name}-hpa"));
        scaler["spec"]["maxReplicas"].as_u64().unwrap() + rollout.as_u64().unwrap()
    };
    let all: u64 = Program::ALL.iter().map(|program| pods(program.name())).sum();
    let pool = |program: &Program| {
        let pool = u64::from(configuration(&kubernetes, program).mysql_pool_size);
        pods(program.name()) * (pool + connections::MYSQL_OTHERS)
    };

    let mysql = kubernetes.get("ConfigMap", "mysql-config")["data"]["bigtech.cnf"].as_str().unwrap();
    let mongodb = kubernetes.get("ConfigMap", "mongodb-config")["data"]["start.sh"].as_str().unwrap();
    let redis = strings(&kubernetes.pod("redis")["containers"][0]["command"]).join(" ");
    let limit = |text: &str, setting: &str| -> u64 {
        let found = regex::Regex::new(&format!(r"{setting}(\d+)")).unwrap().captures(text).unwrap()[1].to_owned();
        found.parse().unwrap()
    };
    for (store, open, limit) in [
        ("MySQL", Program::ALL.iter().map(pool).sum(), limit(mysql, "max_connections = ")),
        ("MongoDB", pods("chat-service") * connections::MONGODB, limit(mongodb, "MONGODB_MAX_CONNECTIONS:-")),
        ("Redis", all * connections::REDIS, limit(&redis, "--maxclients ")),
    ] {
        let open = open + connections::TOOLS;
        assert!(open <= limit, "{store} accepts {limit} connections, and up to {open} are opened");
    }
}

#[test]
fn a_pod_has_more_time_to_stop_than_its_program_needs() {
    let kubernetes = Kubernetes::read();
    for program in Program::ALL {
        let pod = kubernetes.pod(program.name());
        let own = configuration(&kubernetes, &program).shutdown.as_secs();
        let before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
        assert!(before + own < pod["terminationGracePeriodSeconds"].as_u64().unwrap(), "{}", program.name());
    }
}

#[test]
fn probes_services_and_annotations_name_existing_ports() {
    let kubernetes = Kubernetes::read();
    for (name, pod) in kubernetes.pods() {
        for container in containers(pod) {
            let ports = named(&container["ports"], "name");
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                for check in ["httpGet", "tcpSocket"] {
                    let port = container[probe][check]["port"].as_str();
                    assert!(port.is_none_or(|port| ports.contains(port)), "{name}: {probe} uses {port:?}");
                }
            }
        }
    }
    for service in kubernetes.of_kind("Service") {
        let pod = kubernetes.pod(service["spec"]["selector"]["app"].as_str().unwrap());
        let declared: BTreeSet<_> = containers(pod).flat_map(|container| named(&container["ports"], "name")).collect();
        assert!(
            named(&service["spec"]["ports"], "targetPort").is_subset(&declared),
            "{:?}",
            service["metadata"]["name"]
        );
    }
    let mut scraped = 0;
    for object in &kubernetes.objects {
        let Some(port) = object["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"].as_str() else {
            continue;
        };
        assert!(ports(&object["spec"]["template"]["spec"]).contains(&port.parse().unwrap()), "{port}");
        scraped += 1;
    }
    assert_eq!(scraped, 9, "three services, Kong, SeaweedFS, and an exporter for each of four stores");
}

/// The pods that a selector of the label `app` selects.
fn selected(selector: &Value) -> Vec<String> {
    let app = selector["matchLabels"]["app"].as_str();
    let any = selector["matchExpressions"][0]["values"].as_sequence().into_iter().flatten();
    app.into_iter().chain(any.map(|value| value.as_str().unwrap())).map(str::to_owned).collect()
}

/// The connections that the policies of one direction allow, as (from, to, port).
fn allowed(kubernetes: &Kubernetes, direction: &str) -> BTreeSet<(String, String, u64)> {
    let (field, peer) = if direction == "Ingress" { ("ingress", "from") } else { ("egress", "to") };
    let mut allowed = BTreeSet::new();
    for policy in kubernetes.of_kind("NetworkPolicy") {
        let own = selected(&policy["spec"]["podSelector"]);
        for rule in policy["spec"][field].as_sequence().into_iter().flatten() {
            let port = rule["ports"][0]["port"].as_u64().unwrap();
            for other in rule[peer].as_sequence().unwrap() {
                for (own, other) in own
                    .iter()
                    .flat_map(|own| selected(&other["podSelector"]).into_iter().map(move |other| (own.clone(), other)))
                {
                    allowed.insert(if field == "ingress" { (other, own, port) } else { (own, other, port) });
                }
            }
        }
    }
    allowed
}

#[test]
fn network_policies_allow_the_needed_connections_and_no_others() {
    let kubernetes = Kubernetes::read();
    let incoming = allowed(&kubernetes, "Ingress");
    assert_eq!(incoming, allowed(&kubernetes, "Egress"), "both ends allow the same connections");
    for (_, to, port) in &incoming {
        assert!(ports(kubernetes.pod(to)).contains(port), "{to} does not listen on {port}");
    }
    let is_allowed = |from: &str, to: &str| incoming.iter().any(|(a, b, _)| a == from && b == to);
    let calls = [
        ("kong", "user-service"),
        ("kong", "friend-service"),
        ("kong", "chat-service"),
        ("kong", "web"),
        ("user-service", "friend-service"),
        ("friend-service", "user-service"),
        ("chat-service", "user-service"),
        ("chat-service", "friend-service"),
        ("chat-service", "mongodb"),
        ("chat-service", "seaweedfs"),
    ];
    for (from, to) in calls {
        assert!(is_allowed(from, to), "{from} → {to}");
    }
    for (from, to) in [
        ("kong", "mysql"),
        ("kong", "seaweedfs"),
        ("web", "user-service"),
        ("user-service", "mongodb"),
        ("user-service", "seaweedfs"),
        ("user-service", "chat-service"),
    ] {
        assert!(!is_allowed(from, to), "{from} → {to}");
    }
    let guarded: BTreeSet<_> =
        kubernetes.of_kind("NetworkPolicy").flat_map(|policy| selected(&policy["spec"]["podSelector"])).collect();
    let pods: BTreeSet<_> = kubernetes.pods().into_iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(guarded, pods);
    let deny = &kubernetes.get("NetworkPolicy", "default-deny")["spec"];
    assert!(names(&deny["podSelector"]).is_empty() && deny["ingress"].is_null() && deny["egress"].is_null());
}

/// Networks of a rule's peers.
fn networks(peers: &Value) -> Vec<&str> {
    let blocks = peers.as_sequence().unwrap().iter().map(|peer| &peer["ipBlock"]["cidr"]);
    blocks.filter_map(Value::as_str).collect()
}

#[test]
fn pods_reach_a_dns_cache_in_the_network_of_the_node_on_its_port_only() {
    let kubernetes = Kubernetes::read();
    let mut reached = false;
    for policy in kubernetes.of_kind("NetworkPolicy") {
        for rule in policy["spec"]["egress"].as_sequence().into_iter().flatten() {
            let networks = networks(&rule["to"]);
            // NodeLocal DNSCache is at 169.254.20.10.
            reached |= networks.contains(&"169.254.0.0/16");
            let ports = rule["ports"].as_sequence().unwrap();
            assert!(networks.is_empty() || ports.iter().all(|port| port["port"] == 53), "{policy:?}");
        }
    }
    assert!(reached);
    let cloud = &kubernetes.get("NetworkPolicy", "dns")["spec"]["egress"][1]["to"][0]["ipBlock"];
    assert_eq!(strings(&cloud["except"]), ["169.254.169.254/32"], "the metadata server has credentials of the node");
}

#[test]
fn the_component_for_an_ingress_controller_in_the_network_of_nodes_opens_the_ports_of_kong_and_of_the_files_only() {
    let kubernetes = Kubernetes::read();
    let policies = config_tests::documents("k8s/components/host-network-ingress/network-policy.yaml");
    let pods: Vec<_> = policies.iter().flat_map(|policy| selected(&policy["spec"]["podSelector"])).collect();
    assert_eq!(pods, ["kong", "seaweedfs"]);
    for (policy, pod) in policies.iter().zip(&pods) {
        let [rule] = policy["spec"]["ingress"].as_sequence().unwrap().as_slice() else { panic!("{policy:?}") };
        assert_eq!(networks(&rule["from"]).len(), 1);
        assert_eq!(rule["ports"][0]["port"], kubernetes.pod(pod)["containers"][0]["ports"][0]["containerPort"]);
    }
}

#[test]
fn browsers_reach_the_files_at_a_host_of_their_own() {
    let kubernetes = Kubernetes::read();
    let ingress = kubernetes.get("Ingress", "bigtech-chat-files");
    let rule = &ingress["spec"]["rules"][0];
    let settings = &kubernetes.get("ConfigMap", "bigtech-chat-config")["data"];
    let url = format!("https://{}", rule["host"].as_str().unwrap());
    assert_eq!(settings["FILE_STORE_PUBLIC_URL"], url);
    assert_ne!(settings["CORS_ORIGINS"], url, "a file that a browser shows must not be of the origin of the page");

    let backend = &rule["http"]["paths"][0]["backend"]["service"];
    let ports = &kubernetes.get("Service", backend["name"].as_str().unwrap())["spec"]["ports"];
    assert!(named(ports, "name").contains(backend["port"]["name"].as_str().unwrap()));

    let page = kubernetes.environment(&kubernetes.pod("web")["containers"][0]);
    assert_eq!(page["FILE_STORE_ORIGIN"], url);
    let store = kubernetes.environment(&kubernetes.pod("seaweedfs")["containers"][0]);
    let service = kubernetes.environment(&kubernetes.pod("chat-service")["containers"][0]);
    for name in ["FILE_STORE_BUCKET", "FILE_STORE_ACCESS_KEY", "FILE_STORE_SECRET_KEY", "CORS_ORIGINS"] {
        assert_eq!(store[name], service[name], "{name}");
    }
}

#[test]
fn the_gateway_leads_the_host_of_the_files_to_the_store() {
    let folder = "k8s/components/gateway-api-files";
    let kubernetes = Kubernetes::read();
    let host = &kubernetes.get("Ingress", "bigtech-chat-files")["spec"]["rules"][0]["host"];
    let route = &yaml(&format!("{folder}/routes.yaml"))["spec"];
    assert_eq!(route["hostnames"][0], *host);
    assert_eq!(route["rules"][0]["timeouts"]["request"], "900s");
    let backend = &route["rules"][0]["backendRefs"][0];
    let service = kubernetes.get("Service", backend["name"].as_str().unwrap());
    assert_eq!(backend["port"], service["spec"]["ports"][0]["port"]);

    let patch = yaml(&format!("{folder}/kustomization.yaml"))["patches"][0]["patch"].as_str().unwrap().to_owned();
    let listener = &serde_yaml_ng::from_str::<Value>(&patch).unwrap()[0]["value"];
    assert_eq!((&listener["hostname"], &listener["name"]), (host, &route["parentRefs"][0]["sectionName"]));

    let policy = yaml(&format!("{folder}/network-policy.yaml"));
    assert_eq!(selected(&policy["spec"]["podSelector"]), ["seaweedfs"]);
    assert_eq!(
        policy["spec"]["ingress"][0]["ports"][0]["port"],
        kubernetes.pod("seaweedfs")["containers"][0]["ports"][0]["containerPort"]
    );
}

#[test]
fn a_lost_node_or_a_drained_one_takes_one_copy_of_a_partition() {
    let kubernetes = Kubernetes::read();
    let spread = &kubernetes.pod("kafka")["topologySpreadConstraints"][0];
    assert_eq!(spread["topologyKey"], "kubernetes.io/hostname");
    assert_eq!((&spread["maxSkew"], &spread["whenUnsatisfiable"]), (&1.into(), &"DoNotSchedule".into()));
    assert_eq!(kubernetes.get("PodDisruptionBudget", "kafka")["spec"]["maxUnavailable"], 1);
    let probe = &kubernetes.pod("kafka")["containers"][0]["readinessProbe"]["exec"]["command"];
    assert_eq!(strings(probe), ["bash", "/etc/bigtech/ready.sh"]);
}

/// The exit status of Kafka's probe at broker 2, if Kafka's own tool prints `partitions`.
fn readiness_of_broker_2(partitions: &str) -> bool {
    let folder = std::env::temp_dir().join(format!("bigtech-kafka-{}-{}", std::process::id(), partitions.len()));
    std::fs::create_dir_all(&folder).unwrap();
    let tool = folder.join("kafka-topics.sh");
    std::fs::write(&tool, format!("#!/bin/sh\ncat <<'END'\n{partitions}\nEND\n")).unwrap();
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut probe = std::process::Command::new("bash");
    probe.arg(repository_path("infrastructure/docker/kafka/ready.sh")).env("PATH", path).env("KAFKA_NODE_ID", "2");
    let ready = probe.status().unwrap().success();
    std::fs::remove_dir_all(folder).unwrap();
    ready
}

#[test]
fn a_broker_is_ready_once_it_is_in_sync_itself() {
    let partition = |replicas: &str, isr: &str| {
        format!(
            "\tTopic: message.events\tPartition: 0\tLeader: 1\tReplicas: {replicas}\tIsr: {isr}\tElr: \tLastKnownElr: "
        )
    };
    assert!(readiness_of_broker_2(""), "no partition lacks a copy");
    assert!(!readiness_of_broker_2(&partition("0,1,2", "0,1")), "this broker lags");
    assert!(readiness_of_broker_2(&partition("0,1,2", "2,1")), "another one lags");
    assert!(readiness_of_broker_2(&partition("0,1,12", "0,1")), "broker 12 lags");
}

#[test]
fn budgets_stateful_sets_and_the_ingress_name_existing_objects() {
    let kubernetes = Kubernetes::read();
    for budget in kubernetes.of_kind("PodDisruptionBudget") {
        kubernetes.pod(budget["spec"]["selector"]["matchLabels"]["app"].as_str().unwrap());
    }
    let sets: Vec<_> = kubernetes.of_kind("StatefulSet").collect();
    assert_eq!(sets.len(), 5);
    for set in sets {
        let name = set["metadata"]["name"].as_str().unwrap();
        assert_eq!(set["spec"]["serviceName"], format!("{name}-headless"));
        let headless = kubernetes.get("Service", &format!("{name}-headless"));
        assert_eq!(headless["spec"]["clusterIP"], "None");
        assert_eq!(set["spec"]["replicas"], if name == "kafka" { 3 } else { 1 });
    }
    let ingress = kubernetes.get("Ingress", "bigtech-chat-ingress");
    let rule = &ingress["spec"]["rules"][0];
    assert_eq!(rule["host"], "api.bigtech-chat.local");
    let backend = &rule["http"]["paths"][0]["backend"]["service"];
    let ports = &kubernetes.get("Service", backend["name"].as_str().unwrap())["spec"]["ports"];
    assert_eq!(backend["name"], "kong");
    assert!(named(ports, "name").contains(backend["port"]["name"].as_str().unwrap()));
}

#[test]
fn hosts_in_environments_and_arguments_are_services_of_the_manifests() {
    let kubernetes = Kubernetes::read();
    let address = regex::Regex::new(r"\b([a-z][a-z0-9-]*(?:\.[a-z][a-z0-9-]*)?):(\d{2,5})\b").unwrap();
    let mut seen = 0;
    for (name, pod) in kubernetes.pods() {
        for container in containers(pod) {
            let variables = kubernetes.environment(container);
            let arguments = strings(&container["args"]).join(" ");
            let texts: Vec<String> = variables.into_values().chain([arguments]).collect();
            for found in address.captures_iter(&texts.join(" ")) {
                // The host of a StatefulSet's member ends in the name of the headless service.
                let service = found[1].rsplit('.').next().unwrap().to_owned();
                let port: u64 = found[2].parse().unwrap();
                let ports = &kubernetes.get("Service", &service)["spec"]["ports"];
                let ports: Vec<_> = ports.as_sequence().unwrap().iter().map(|port| port["port"].as_u64()).collect();
                assert!(ports.contains(&Some(port)), "{name} names {}", &found[0]);
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} addresses found");
}
