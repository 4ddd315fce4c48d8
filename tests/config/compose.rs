//! Compose files.

use std::collections::BTreeMap;

use serde_yaml_ng::Value;

use crate::{Variables, names, scalar, strings, yaml};

pub struct Compose {
    pub file: Value,
}

impl Compose {
    pub fn read(path: &str) -> Self {
        Self { file: yaml(path) }
    }

    pub fn services(&self) -> Vec<&str> {
        names(&self.file["services"])
    }

    pub fn service(&self, name: &str) -> &Value {
        let service = &self.file["services"][name];
        assert!(service.is_mapping(), "no service {name}");
        service
    }

    pub fn environment(&self, name: &str) -> Variables {
        let variables = self.service(name)["environment"].as_mapping().into_iter().flatten();
        variables.map(|(name, value)| (scalar(name), scalar(value))).collect()
    }

    /// The published ports of the host and the ports of the container that they lead to.
    pub fn published(&self, name: &str) -> BTreeMap<u16, u16> {
        let published = |port: &str| {
            let [address, host, container] = *port.split(':').collect::<Vec<_>>() else { panic!("{name}: {port}") };
            assert_eq!(
                address, "127.0.0.1",
                "{name}: services with well-known passwords are published on loopback only"
            );
            (host.parse().unwrap(), container.parse().unwrap())
        };
        strings(&self.service(name)["ports"]).into_iter().map(published).collect()
    }

    /// The sources of the mounts: paths of the repository and names of volumes.
    pub fn mounts(&self, name: &str) -> Vec<&str> {
        strings(&self.service(name)["volumes"]).into_iter().map(|mount| mount.split(':').next().unwrap()).collect()
    }

    /// The services that a service waits for.
    pub fn dependencies(&self, name: &str) -> Vec<&str> {
        match &self.service(name)["depends_on"] {
            list @ Value::Sequence(_) => strings(list),
            mapping => names(mapping),
        }
    }
}
