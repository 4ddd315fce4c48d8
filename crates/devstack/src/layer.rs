//! The layers of the stack, by the names of their processes.

/// The static file server, and its host in kong.yml.
pub const WEB: &str = "web";
pub const GATEWAY: &str = "gateway";
pub const OBSERVERS: [&str; 5] = ["prometheus", "alertmanager", "mysql-exporter", "mongodb-exporter", "redis-exporter"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    Observers,
    Gateway,
    Services,
    Engines,
}

impl Layer {
    /// Every layer stops before the layers that it uses.
    pub const STOP_ORDER: [Self; 4] = [Self::Observers, Self::Gateway, Self::Services, Self::Engines];

    pub fn of(name: &str) -> Self {
        match name {
            name if OBSERVERS.contains(&name) => Self::Observers,
            GATEWAY | WEB => Self::Gateway,
            name if name.contains("-service-") => Self::Services,
            _ => Self::Engines,
        }
    }
}

/// The place of a process in the output of `status`.
pub fn rank(name: &str) -> usize {
    let order = ["mysql", "mongodb", "redis", "kafka", "object-store", GATEWAY, WEB, "user", "friend", "chat"];
    let found = order.iter().position(|prefix| name.starts_with(prefix) && !OBSERVERS.contains(&name));
    found.unwrap_or(order.len())
}
