//! The ports of a stack: those of the contract, or free ones.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result, bail};

use crate::options::{EnginePorts, ServicePorts, UpOptions};
use crate::service::Service;

/// Below the range of ephemeral ports (32768 and up on Linux). In it, a client of a stopped engine could take the
/// engine's port, or even connect to itself.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

#[derive(Clone, Debug)]
pub struct Ports {
    pub mysql: u16,
    /// One for each member of the replica set.
    pub mongodb: Vec<u16>,
    pub redis: u16,
    pub object_store: u16,
    pub brokers: Vec<BrokerPorts>,
    pub user: Vec<u16>,
    pub friend: Vec<u16>,
    pub chat: Vec<u16>,
    pub gateway: u16,
    pub web: u16,
    /// Only with `--observe`.
    pub observers: Option<ObserverPorts>,
    /// To services with several replicas, and with `--drill` to the engines.
    pub links: Vec<Link>,
}

/// A link, through which the services reach an engine or another service.
#[derive(Clone, Debug)]
pub struct Link {
    /// The name of the engine's process, or of the service.
    pub server: String,
    /// The ports of the server: one, or those of all replicas.
    pub to: Vec<u16>,
    /// The port on which the link listens.
    pub port: u16,
}

#[derive(Clone, Copy, Debug)]
pub struct ObserverPorts {
    pub prometheus: u16,
    pub alertmanager: u16,
    pub mysql: u16,
    pub mongodb: u16,
    pub redis: u16,
}

#[derive(Clone, Copy, Debug)]
pub struct BrokerPorts {
    pub clients: u16,
    pub controller: u16,
    /// The port of its metrics, with `--observe`.
    pub metrics: Option<u16>,
}

impl Ports {
    /// Chooses the same ports for the same `seed` as long as they are free.
    pub fn choose(options: &UpOptions, seed: u64) -> Result<Self> {
        let mut free = FreePorts::new(seed);
        let mut ports = Self {
            mysql: engine(options, &mut free, "mysql", 3306)?,
            mongodb: (0..options.mongo as u16)
                .map(|n| engine(options, &mut free, "mongodb", 27_017 + n))
                .collect::<Result<_>>()?,
            redis: engine(options, &mut free, "redis", 6379)?,
            brokers: (0..options.brokers).map(|n| broker(options, &mut free, n)).collect::<Result<_>>()?,
            user: replicas(options, &mut free, Service::User)?,
            friend: replicas(options, &mut free, Service::Friend)?,
            chat: replicas(options, &mut free, Service::Chat)?,
            gateway: gateway(options, &mut free)?,
            web: free.next()?,
            object_store: engine(options, &mut free, "object-store", 9000)?,
            observers: options.observe.then(|| observers(options, &mut free)).transpose()?,
            links: Vec::new(),
        };
        ports.links = links(&ports, options.breakable, &mut free)?;
        Ok(ports)
    }

    /// The port with which the services reach the engine that listens on `server`, or the service whose first replica does.
    pub fn for_services(&self, server: u16) -> u16 {
        self.links.iter().find(|link| link.to[0] == server).map_or(server, |link| link.port)
    }

    pub fn of(&self, service: Service) -> &[u16] {
        match service {
            Service::User => &self.user,
            Service::Friend => &self.friend,
            Service::Chat => &self.chat,
        }
    }
}

fn engine(options: &UpOptions, free: &mut FreePorts, name: &str, default: u16) -> Result<u16> {
    match options.engine_ports {
        EnginePorts::Free => free.next(),
        EnginePorts::Default => exactly(name, default),
    }
}

fn broker(options: &UpOptions, free: &mut FreePorts, index: usize) -> Result<BrokerPorts> {
    let default = 19_092 + index as u16;
    Ok(BrokerPorts {
        clients: engine(options, free, &format!("kafka-{}", index + 1), default)?,
        controller: free.next()?,
        metrics: options.observe.then(|| free.next()).transpose()?,
    })
}

/// The first replica has the port of the contract; only the gateway needs the ports of the others.
fn replicas(options: &UpOptions, free: &mut FreePorts, service: Service) -> Result<Vec<u16>> {
    let mut ports = Vec::new();
    for index in 0..options.replicas.of(service) {
        let contract = index == 0 && options.service_ports == ServicePorts::Contract && options.only.is_none();
        ports.push(if contract { exactly(service.name(), service.port())? } else { free.next()? });
    }
    Ok(ports)
}

fn gateway(options: &UpOptions, free: &mut FreePorts) -> Result<u16> {
    if options.service_ports == ServicePorts::Free || options.only.is_some() {
        return free.next();
    }
    exactly("the gateway", options.gateway_port)
}

/// Prometheus and Alertmanager have pages, so they have the ports of production.
fn observers(options: &UpOptions, free: &mut FreePorts) -> Result<ObserverPorts> {
    let shown = |free: &mut FreePorts, name: &str, port| match options.service_ports {
        ServicePorts::Contract => exactly(name, port),
        ServicePorts::Free => free.next(),
    };
    Ok(ObserverPorts {
        prometheus: shown(free, "Prometheus", 9090)?,
        alertmanager: shown(free, "Alertmanager", 9093)?,
        mysql: free.next()?,
        mongodb: free.next()?,
        redis: free.next()?,
    })
}

/// A link to each service with several replicas, and to each engine of a stack that is breakable. Clients of a replica set of
/// three connect to the addresses in its configuration, which are those of the servers, so such a set has no links.
fn links(ports: &Ports, breakable: bool, free: &mut FreePorts) -> Result<Vec<Link>> {
    let services = Service::ALL.into_iter().map(|service| (service.name().to_owned(), ports.of(service).to_vec()));
    let mut servers: Vec<_> = services.filter(|(_, replicas)| replicas.len() > 1).collect();
    if breakable {
        servers.extend([("mysql".to_owned(), vec![ports.mysql]), ("redis".to_owned(), vec![ports.redis])]);
        servers.extend((ports.mongodb.len() == 1).then(|| ("mongodb".to_owned(), ports.mongodb.clone())));
        servers.extend(ports.brokers.iter().zip(1..).map(|(broker, n)| (format!("kafka-{n}"), vec![broker.clients])));
    }
    servers.into_iter().map(|(server, to)| Ok(Link { server, to, port: free.next()? })).collect()
}

fn exactly(name: &str, port: u16) -> Result<u16> {
    if is_free(port) {
        return Ok(port);
    }
    bail!("port {port} of {name} is taken by another process (find it with `ss -ltnp sport = :{port}`)")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Free ports in ascending order, from a start that depends on the seed.
struct FreePorts {
    start: u16,
    tried: u16,
}

impl FreePorts {
    fn new(seed: u64) -> Self {
        Self { start: (seed % u64::from(COUNT)) as u16, tried: 0 }
    }

    fn next(&mut self) -> Result<u16> {
        let mut candidates = (self.tried..COUNT).map(|offset| (offset, FIRST + (self.start + offset) % COUNT));
        let (offset, port) = candidates.find(|&(_, port)| is_free(port)).context("all ports are taken")?;
        self.tried = offset + 1;
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_repeat_for_the_same_seed() {
        let mut free = FreePorts::new(7);
        let mut again = FreePorts::new(7);
        let (first, second) = (free.next().unwrap(), free.next().unwrap());
        assert_ne!(first, second);
        assert_eq!(first, again.next().unwrap());
    }

    #[test]
    fn a_taken_port_is_not_chosen() {
        let first = FreePorts::new(4711).next().unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        assert_ne!(FreePorts::new(4711).next().unwrap(), first);
    }

    #[test]
    fn the_error_names_the_taken_port_and_its_service() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = exactly("user-service", port).unwrap_err().to_string();
        assert!(error.starts_with(&format!("port {port} of user-service is taken")), "{error}");
    }

    #[test]
    fn every_port_is_within_the_range() {
        let mut free = FreePorts::new(u64::from(COUNT) - 1);
        assert!((FIRST..FIRST + COUNT).contains(&free.next().unwrap()));
        assert!((FIRST..FIRST + COUNT).contains(&free.next().unwrap()));
    }
}
