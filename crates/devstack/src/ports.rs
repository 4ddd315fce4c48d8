//! Ports of a stack: those of the contract, or free ones.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result, bail};

use crate::options::{EnginePorts, ServicePorts, UpOptions};
use crate::services::Service;

/// Below the range from which Linux takes the local ports of outgoing connections (32768 and up): there, a client of a
/// stopped engine could take its port, or even connect to itself.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

#[derive(Clone, Debug)]
pub struct Ports {
    pub mysql: u16,
    pub mongodb: u16,
    pub redis: u16,
    pub brokers: Vec<Broker>,
    pub user: Vec<u16>,
    pub friend: Vec<u16>,
    pub chat: Vec<u16>,
    pub gateway: u16,
    pub web: u16,
    pub observers: Option<Observers>,
}

/// Those who watch; none unless asked for.
#[derive(Clone, Copy, Debug)]
pub struct Observers {
    pub prometheus: u16,
    pub alertmanager: u16,
    pub mysql: u16,
    pub mongodb: u16,
    pub redis: u16,
}

#[derive(Clone, Copy, Debug)]
pub struct Broker {
    pub clients: u16,
    pub controller: u16,
    /// Where it tells its metrics, if somebody listens.
    pub metrics: Option<u16>,
}

impl Ports {
    /// `place` makes the choice repeatable: a folder gets the same ports again while they are free.
    pub fn choose(options: &UpOptions, place: u64) -> Result<Self> {
        let mut free = Free::new(place);
        let ports = Self {
            mysql: engine(options, &mut free, "mysql", 3306)?,
            mongodb: engine(options, &mut free, "mongodb", 27_017)?,
            redis: engine(options, &mut free, "redis", 6379)?,
            brokers: (0..options.brokers).map(|n| broker(options, &mut free, n)).collect::<Result<_>>()?,
            user: replicas(options, &mut free, Service::User)?,
            friend: replicas(options, &mut free, Service::Friend)?,
            chat: replicas(options, &mut free, Service::Chat)?,
            gateway: gateway(options, &mut free)?,
            web: free.next()?,
            observers: options.observe.then(|| observers(options, &mut free)).transpose()?,
        };
        Ok(ports)
    }

    pub fn of(&self, service: Service) -> &[u16] {
        match service {
            Service::User => &self.user,
            Service::Friend => &self.friend,
            Service::Chat => &self.chat,
        }
    }
}

fn engine(options: &UpOptions, free: &mut Free, name: &str, default: u16) -> Result<u16> {
    match options.engine_ports {
        EnginePorts::Free => free.next(),
        EnginePorts::Default => exactly(name, default),
    }
}

fn broker(options: &UpOptions, free: &mut Free, index: usize) -> Result<Broker> {
    let default = 19_092 + index as u16;
    Ok(Broker {
        clients: engine(options, free, &format!("kafka-{}", index + 1), default)?,
        controller: free.next()?,
        metrics: options.observe.then(|| free.next()).transpose()?,
    })
}

/// The first replica has the contract's port, the others are found by the gateway.
fn replicas(options: &UpOptions, free: &mut Free, service: Service) -> Result<Vec<u16>> {
    let mut ports = Vec::new();
    for index in 0..options.replicas.of(service) {
        let contract = index == 0 && options.service_ports == ServicePorts::Contract && options.only.is_none();
        ports.push(if contract { exactly(service.name(), service.port())? } else { free.next()? });
    }
    Ok(ports)
}

fn gateway(options: &UpOptions, free: &mut Free) -> Result<u16> {
    if options.service_ports == ServicePorts::Free || options.only.is_some() {
        return free.next();
    }
    exactly("the gateway", options.gateway_port)
}

/// People look at the first two, so they stand where production has them.
fn observers(options: &UpOptions, free: &mut Free) -> Result<Observers> {
    let shown = |free: &mut Free, who: &str, port| match options.service_ports {
        ServicePorts::Contract => exactly(who, port),
        ServicePorts::Free => free.next(),
    };
    Ok(Observers {
        prometheus: shown(free, "Prometheus", 9090)?,
        alertmanager: shown(free, "Alertmanager", 9093)?,
        mysql: free.next()?,
        mongodb: free.next()?,
        redis: free.next()?,
    })
}

fn exactly(who: &str, port: u16) -> Result<u16> {
    if is_free(port) {
        return Ok(port);
    }
    bail!("port {port} of {who} is taken by another process (find it with `ss -ltnp sport = :{port}`)")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Free ports one after another, from a start of the place's own.
struct Free {
    start: u16,
    tried: u16,
}

impl Free {
    fn new(place: u64) -> Self {
        Self { start: (place % u64::from(COUNT)) as u16, tried: 0 }
    }

    fn next(&mut self) -> Result<u16> {
        let mut candidates = (self.tried..COUNT).map(|offset| (offset, FIRST + (self.start + offset) % COUNT));
        let (offset, port) = candidates.find(|&(_, port)| is_free(port)).context("no free port is left")?;
        self.tried = offset + 1;
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_repeat_for_the_same_place() {
        let mut free = Free::new(7);
        let mut again = Free::new(7);
        let (first, second) = (free.next().unwrap(), free.next().unwrap());
        assert_ne!(first, second);
        assert_eq!(first, again.next().unwrap());
    }

    #[test]
    fn a_taken_port_is_passed_over() {
        let first = Free::new(4711).next().unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        assert_ne!(Free::new(4711).next().unwrap(), first);
    }

    #[test]
    fn a_port_of_the_contract_that_is_taken_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let refusal = exactly("user-service", port).unwrap_err().to_string();
        assert!(refusal.starts_with(&format!("port {port} of user-service is taken")), "{refusal}");
    }

    #[test]
    fn the_last_port_is_inside_the_range() {
        let mut free = Free::new(u64::from(COUNT) - 1);
        assert!((FIRST..FIRST + COUNT).contains(&free.next().unwrap()));
        assert!((FIRST..FIRST + COUNT).contains(&free.next().unwrap()));
    }
}
