//! The configuration and the state of MongoDB's replica set.

use std::time::Duration;

use anyhow::{Result, bail};
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};

pub const REPLICA_SET: &str = "rs0";

/// Codes of MongoDB's errors.
const NOT_YET_INITIALIZED: i32 = 94;
const NOT_IN_ITS_OWN_SET: i32 = 93;

/// Fails until the member at `index` has data and knows a primary. The first member initiates the replica set if necessary.
pub async fn is_ready(ports: Vec<u16>, index: usize) -> Result<()> {
    // With a set name, a client selects no server before the set exists.
    let url = format!("mongodb://127.0.0.1:{}/?directConnection=true", ports[index]);
    let mut options = ClientOptions::parse(url).await?;
    options.server_selection_timeout = Some(Duration::from_secs(2));
    let admin = Client::with_options(options)?.database("admin");
    match admin.run_command(doc! { "replSetGetStatus": 1 }).await {
        Err(error) if index == 0 => match code(&error) {
            Some(NOT_YET_INITIALIZED) => {
                admin.run_command(doc! { "replSetInitiate": set(&ports, 1) }).await?;
            }
            Some(NOT_IN_ITS_OWN_SET) => change_ports(&admin, &ports).await?,
            _ => return Err(error.into()),
        },
        answer => _ = answer?,
    }
    let hello = admin.run_command(doc! { "hello": 1 }).await?;
    let has_data = ["isWritablePrimary", "secondary"].iter().any(|state| hello.get_bool(state).unwrap_or(false));
    if !has_data || !hello.contains_key("primary") {
        bail!("the server has no data yet, or has not found a primary");
    }
    Ok(())
}

/// Gives the members their new ports, after a start on other ports than before.
async fn change_ports(admin: &Database, ports: &[u16]) -> Result<()> {
    let answer = admin.run_command(doc! { "replSetGetConfig": 1 }).await?;
    let version = answer.get_document("config")?.get_i32("version")?;
    admin.run_command(doc! { "replSetReconfig": set(ports, version + 1), "force": true }).await?;
    Ok(())
}

/// The configuration. With equal priorities, a member that steps down hands over to one that stays primary; with the short
/// timeout, the others miss a killed primary after two seconds instead of ten.
fn set(ports: &[u16], version: i32) -> Document {
    let hosts = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    let members: Vec<_> = (0..).zip(hosts).map(|(id, host): (i32, _)| doc! { "_id": id, "host": host }).collect();
    doc! {
        "_id": REPLICA_SET,
        "version": version,
        "members": members,
        "settings": { "electionTimeoutMillis": 2_000, "heartbeatIntervalMillis": 500 },
    }
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_a_member_with_a_vote_and_the_same_priority() {
        let members = |ports: &[u16]| {
            let config = set(ports, 1);
            config.get_array("members").unwrap().iter().map(|member| member.as_document().unwrap().clone()).collect()
        };
        let one: Vec<Document> = members(&[1]);
        assert_eq!(one, [doc! { "_id": 0, "host": "127.0.0.1:1" }]);
        let three: Vec<Document> = members(&[1, 2, 3]);
        assert_eq!(three[2], doc! { "_id": 2, "host": "127.0.0.1:3" });
        assert_eq!(three.len(), 3);
    }
}
