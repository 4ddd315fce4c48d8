//! The manifests of Kubernetes.

use serde::Deserialize;
use serde_yaml_ng::{Deserializer, Value};

use crate::{Variables, repository_path, scalar, text};

/// The folders of manifests, in the order in which the guide applies them.
pub const FOLDERS: [&str; 4] = ["statefulsets", "services", "hpa", "ingress"];

pub struct Kubernetes {
    pub objects: Vec<Value>,
}

impl Kubernetes {
    pub fn read() -> Self {
        Self { objects: Self::files().iter().flat_map(|file| documents(file)).collect() }
    }

    /// The paths of all manifests in the repository.
    pub fn files() -> Vec<String> {
        let mut files: Vec<String> =
            ["namespace", "configmap", "secrets"].map(|name| format!("k8s/manifests/{name}.yaml")).into();
        for folder in FOLDERS {
            let folder = format!("k8s/manifests/{folder}");
            let entries = std::fs::read_dir(repository_path(&folder)).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            files.extend(names.into_iter().map(|name| format!("{folder}/{name}")));
        }
        files
    }

    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    pub fn get(&self, kind: &str, name: &str) -> &Value {
        self.find(kind, name).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// The objects that run pods, as the pods' label `app` and their specification.
    pub fn pods(&self) -> Vec<(&str, &Value)> {
        let templates = self.objects.iter().map(|object| &object["spec"]["template"]);
        let templates = templates.filter(|template| !template["spec"].is_null());
        templates.map(|template| (template["metadata"]["labels"]["app"].as_str().unwrap(), &template["spec"])).collect()
    }

    pub fn pod(&self, name: &str) -> &Value {
        self.pods().into_iter().find(|(found, _)| *found == name).unwrap_or_else(|| panic!("no pods of {name}")).1
    }

    /// The environment of a container, with the referenced values of ConfigMaps and Secrets.
    pub fn environment(&self, container: &Value) -> Variables {
        let data = |kind, reference: &Value, field: &str| {
            self.get(kind, reference["name"].as_str().unwrap())[field].as_mapping().unwrap().clone()
        };
        let mut variables = Variables::new();
        for from in container["envFrom"].as_sequence().into_iter().flatten() {
            let map = data("ConfigMap", &from["configMapRef"], "data");
            variables.extend(map.iter().map(|(name, value)| (scalar(name), scalar(value))));
        }
        for variable in container["env"].as_sequence().into_iter().flatten() {
            let [secret, setting] = ["secretKeyRef", "configMapKeyRef"].map(|kind| &variable["valueFrom"][kind]);
            let value = match secret["key"].as_str() {
                Some(key) => match data("Secret", secret, "stringData").get(key) {
                    // Kubernetes sets no variable for an optional key that the Secret does not have.
                    None if secret["optional"].as_bool() == Some(true) => continue,
                    value => scalar(value.unwrap_or_else(|| panic!("no secret {key}"))),
                },
                None if !setting.is_null() => scalar(&data("ConfigMap", setting, "data")[&setting["key"]]),
                None => scalar(&variable["value"]),
            };
            variables.insert(scalar(&variable["name"]), value);
        }
        variables
    }
}

/// The YAML documents in a file.
pub fn documents(file: &str) -> Vec<Value> {
    let text = text(file);
    Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap()).collect()
}
