//! The faults of the replicas while readers and writers are at work.

use std::fmt;

use mongodb::Database;
use mongodb::bson::doc;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use testkit::eventually;

use super::{Replicas, seed};
use crate::app::parts;
use crate::process::Process;

/// How often each fault happens in a test.
#[derive(Clone, Copy)]
pub struct Faults {
    /// SIGKILL to a replica, which starts again.
    pub kills: usize,
    /// SIGKILL to the primary of MongoDB, which starts again.
    pub mongodb_kills: usize,
    /// The primary of MongoDB steps down, and another member takes over. A single member takes over again after a second.
    pub step_downs: usize,
    /// The clock of one replica jumps.
    pub clock_steps: usize,
}

#[derive(Clone, Copy)]
enum Fault {
    Kill,
    MongodbKill,
    StepDown,
    ClockStep,
}

impl Faults {
    /// The faults in a random order, each with the number of sent messages at which it happens.
    fn schedule(self, messages: usize, rng: &mut StdRng) -> Vec<(usize, Fault)> {
        let alone = std::env::var_os("EXACTNESS").is_some();
        // Other tests may need MongoDB.
        let of_mongodb = |count| if alone { count } else { 0 };
        let counts = [
            (Fault::Kill, self.kills),
            (Fault::MongodbKill, of_mongodb(self.mongodb_kills)),
            (Fault::StepDown, of_mongodb(self.step_downs)),
            (Fault::ClockStep, self.clock_steps),
        ];
        let mut faults: Vec<Fault> = counts.into_iter().flat_map(|(fault, count)| vec![fault; count]).collect();
        faults.shuffle(rng);
        let mut moments: Vec<usize> = faults.iter().map(|_| rng.random_range(messages / 20..messages)).collect();
        moments.sort_unstable();
        moments.into_iter().zip(faults).collect()
    }
}

/// The faults that happened.
#[derive(Default)]
pub struct Happened {
    kills: usize,
    mongodb_kills: usize,
    step_downs: usize,
    clock_steps: Vec<i64>,
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, mongodb_kills, step_downs, clock_steps } = self;
        write!(f, "{kills} kills of replicas, {mongodb_kills} of MongoDB, {step_downs} step-downs, ")?;
        write!(f, "a clock at {clock_steps:?} s")
    }
}

impl Replicas {
    /// Lets the faults happen while the writers send so many messages.
    pub async fn disturb(&mut self, faults: Faults, messages: usize) -> Happened {
        let mut rng = StdRng::seed_from_u64(seed());
        let mut happened = Happened::default();
        for (moment, fault) in faults.schedule(messages, &mut rng) {
            self.world.until_sent(moment).await;
            match fault {
                Fault::Kill => {
                    self.kill_one().await;
                    happened.kills += 1;
                }
                Fault::MongodbKill => {
                    kill_primary(&self.world.mongo).await;
                    happened.mongodb_kills += 1;
                }
                Fault::StepDown => {
                    step_down(&self.world.mongo).await;
                    happened.step_downs += 1;
                }
                Fault::ClockStep => happened.clock_steps.push(self.clock.step(&mut rng)),
            }
        }
        happened
    }

    /// Kills the replica that has run the longest and starts it again on its port.
    async fn kill_one(&mut self) {
        let killed = self.running.remove(0);
        let port = killed.port;
        killed.kill().await;
        let restarted = Process::start_on(port, &self.world.space, &self.mysql_url, &self.settings_of(port));
        self.running.push(restarted.ready().await);
    }
}

/// The addresses of the members in MONGO_URL.
fn members() -> Vec<String> {
    let url = std::env::var("MONGO_URL").unwrap();
    let (_, addresses, _) = parts(&url);
    addresses.split(',').map(str::to_owned).collect()
}

/// The address of the primary. After a fault, it takes a second or two until there is one.
async fn primary(mongo: &Database) -> String {
    let admin = mongo.client().database("admin");
    eventually("MongoDB has a primary", || async {
        let hello = admin.run_command(doc! {"hello": 1}).await.ok()?;
        hello.get_str("primary").ok().map(str::to_owned)
    })
    .await
}

async fn kill_primary(mongo: &Database) {
    let (primary, members) = (primary(mongo).await, members());
    let index = members.iter().position(|member| *member == primary).unwrap();
    let name = if members.len() == 1 { "mongodb".to_owned() } else { format!("mongodb-{}", index + 1) };
    testkit::control("kill", &name).await;
}

async fn step_down(mongo: &Database) {
    let command = if members().len() == 1 {
        doc! {"replSetStepDown": 1, "secondaryCatchUpPeriodSecs": 0, "force": true}
    } else {
        doc! {"replSetStepDown": 20, "secondaryCatchUpPeriodSecs": 10}
    };
    let admin = mongo.client().database("admin");
    // A member that has just started may be too far behind to take over.
    eventually("the primary steps down", || async { admin.run_command(command.clone()).await.ok() }).await;
}
