//! A mongod whose name resolves late, with `start.sh` and without it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use engines::mongo;
use mongodb::bson::{Document, doc};

use crate::support::{metrics, skip, until};
use crate::tls::engine::{Engine, Ground, free_port};
use crate::tls::mongodb::server;

const NAME: &str = "mongodb-0.mongodb-headless";

/// Runs a command that resolves names by the file `hosts` of the current folder only.
const ISOLATED: &str = "echo 'hosts: files' >nsswitch.conf
mount --bind nsswitch.conf /etc/nsswitch.conf
mount --bind hosts /etc/hosts
exec \"$@\"";

/// The options of `unshare` with which mounts are visible to one process only.
const OWN_MOUNTS: [&str; 2] = ["--map-root-user", "--mount"];

/// A member of a replica set.
struct Member {
    ground: Ground,
    port: u16,
}

impl Member {
    async fn new() -> Self {
        let member = Self { ground: Ground::new(), port: free_port() };
        fs::create_dir(member.ground.path("data")).unwrap();
        let server = server().await;
        // The container's mongod is reached from outside.
        member.program("mongod", &format!("exec {server} \"${{@/--bind_ip_all/--bind_ip=127.0.0.1}}\" --nounixsocket"));
        // The test creates the set instead, and no accounts.
        member.program("mongosh", "exit 0");
        member
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.ground.path(name);
        fs::write(&path, format!("#!/usr/bin/env bash\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn resolves(&self, resolves: bool) {
        fs::write(self.ground.path("hosts"), if resolves { format!("127.0.0.1 {NAME}\n") } else { String::new() })
            .unwrap();
    }

    fn start(&self, command: &[&str]) -> Engine {
        let (member, folder) = (format!("MONGODB_MEMBER={NAME}:{}", self.port), self.ground.path(""));
        let path = format!("PATH={folder}:{}", std::env::var("PATH").unwrap());
        let (temporary, data) = (format!("TMPDIR={folder}"), format!("MONGODB_DATA={}", self.ground.path("data")));
        let secrets =
            ["MONGODB_ROOT_USER", "MONGODB_ROOT_PASSWORD", "CHAT_MONGODB_PASSWORD", "EXPORTER_MONGODB_PASSWORD"]
                .map(|name| format!("{name}=x"));
        let secrets = secrets.each_ref().map(String::as_str);
        let variables = [&member, &path, &temporary, &data, "MONGODB_REPLICA_KEY=replicakey"];
        let isolated = ["sh", "-ec", ISOLATED, "sh", "env"];
        self.ground.start("unshare", &[&OWN_MOUNTS[..], &isolated, &variables, &secrets, command].concat())
    }

    fn start_by_script(&self) -> Engine {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infrastructure/docker/mongodb/start.sh");
        self.start(&["bash", script.to_str().unwrap()])
    }

    /// Starts mongod with the options of the script, and does not wait for the name.
    fn start_directly(&self) -> Engine {
        let (port, data, key) = (self.port, self.ground.path("data"), self.ground.path("replica.key"));
        let line = format!("mongod --bind_ip 127.0.0.1 --port {port} --dbpath {data} --replSet rs0 --keyFile {key}");
        self.start(&line.split(' ').collect::<Vec<_>>())
    }

    async fn command(&self, command: Document) -> Option<Document> {
        let url = format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port);
        let admin = mongo::database(&url.as_str().into(), "admin", "mongodb", &metrics()).await.unwrap();
        admin.run_command(command).await.ok()
    }

    async fn is_primary(&self) -> bool {
        let hello = self.command(doc! {"hello": 1}).await;
        hello.is_some_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false))
    }

    fn has_logged(&self, text: &str) -> bool {
        fs::read_to_string(self.ground.path("log")).unwrap().contains(text)
    }
}

fn can_isolate() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(OWN_MOUNTS).args(["mount", "--bind", "/etc/hosts", "/etc/hosts"]);
    unshare.output().is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mongod_whose_name_resolves_late_is_removed_from_its_set_unless_the_script_waits_for_the_name() {
    if !can_isolate() {
        return skip("a mount of the test's own is refused here");
    }
    let member = Member::new().await;
    member.resolves(true);
    let first = member.start_by_script();
    let members = doc! {"_id": "rs0", "members": [{"_id": 0, "host": format!("{NAME}:{}", member.port)}]};
    until("the set is created", async || member.command(doc! {"replSetInitiate": members.clone()}).await.is_some())
        .await;
    until("the member is the primary", async || member.is_primary().await).await;
    drop(first);

    member.resolves(false);
    let removed = member.start_directly();
    until("the member is removed", async || member.has_logged("REMOVED")).await;
    let hello = member.command(doc! {"hello": 1}).await.unwrap();
    assert!(!hello.contains_key("setName"), "the liveness probe asks for it: {hello}");
    drop(removed);

    let _waiting = member.start_by_script();
    until("the script waits", async || member.has_logged("waiting until")).await;
    assert!(member.command(doc! {"hello": 1}).await.is_none(), "mongod does not run");
    member.resolves(true);
    until("the member is the primary", async || member.is_primary().await).await;
}
