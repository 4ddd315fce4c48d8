//! Random acts of a few people, compared with a model: what is answered, what is stored, what is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::stage::{Person, Stage};

const PEOPLE: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Act {
    Request,
    Accept,
    Reject,
    Cancel,
    Remove,
    Block,
    Unblock,
}

/// Who does what to whom.
type Step = (Act, usize, usize);

/// What was told between two people: the event, its first and its second person.
type Told = BTreeMap<(usize, usize), Vec<(&'static str, usize, usize)>>;

#[derive(Default)]
struct Model {
    /// Who asked, and whether it was accepted.
    relations: BTreeMap<(usize, usize), (usize, bool)>,
    blocks: BTreeSet<(usize, usize)>,
    told: Told,
}

impl Model {
    fn act(&mut self, (act, me, other): Step) -> u16 {
        let pair = (me.min(other), me.max(other));
        let relation = self.relations.get(&pair).copied();
        let blocked = self.blocks.contains(&(me, other)) || self.blocks.contains(&(other, me));
        match act {
            Act::Request | Act::Block | Act::Unblock if me == other => 400,
            Act::Request if blocked => 403,
            Act::Request if relation.is_some() => 400,
            Act::Request => self.relate(pair, Some((me, false)), ("FriendRequestSent", me, other)),
            Act::Accept if relation == Some((other, false)) && me != other => {
                self.relate(pair, Some((other, true)), ("FriendRequestAccepted", other, me))
            }
            Act::Reject if relation == Some((other, false)) && me != other => {
                self.relate(pair, None, ("FriendRequestRejected", other, me))
            }
            Act::Cancel if relation == Some((me, false)) && me != other => {
                self.relate(pair, None, ("FriendRequestCancelled", me, other))
            }
            Act::Accept | Act::Reject | Act::Cancel => 400,
            Act::Remove if matches!(relation, Some((_, true))) => self.relate(pair, None, ("FriendRemoved", me, other)),
            Act::Remove => 404,
            Act::Unblock if self.blocks.remove(&(me, other)) => self.tell(pair, ("UserUnblocked", me, other)),
            Act::Unblock => 404,
            Act::Block => {
                match relation {
                    Some((_, true)) => _ = self.relate(pair, None, ("FriendRemoved", me, other)),
                    Some((asker, _)) if asker == me => {
                        _ = self.relate(pair, None, ("FriendRequestCancelled", me, other))
                    }
                    Some(_) => _ = self.relate(pair, None, ("FriendRequestRejected", other, me)),
                    None => {}
                }
                if self.blocks.insert((me, other)) { self.tell(pair, ("UserBlocked", me, other)) } else { 200 }
            }
        }
    }

    fn relate(&mut self, pair: (usize, usize), to: Option<(usize, bool)>, event: (&'static str, usize, usize)) -> u16 {
        match to {
            Some(relation) => _ = self.relations.insert(pair, relation),
            None => _ = self.relations.remove(&pair),
        }
        self.tell(pair, event);
        if event.0 == "FriendRequestSent" { 201 } else { 200 }
    }

    fn tell(&mut self, pair: (usize, usize), event: (&'static str, usize, usize)) -> u16 {
        self.told.entry(pair).or_default().push(event);
        200
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use Act::{Accept, Block, Cancel, Reject, Remove, Request, Unblock};
    let act = prop_oneof![
        6 => Just(Request), 5 => Just(Accept), 2 => Just(Reject), 2 => Just(Cancel),
        2 => Just(Remove), 2 => Just(Block), 3 => Just(Unblock)
    ];
    prop::collection::vec((act, 0..PEOPLE, 0..PEOPLE), 1..60)
}

#[test]
fn the_service_does_as_the_model() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::with_topics());
    let cases = AtomicI64::new(0);
    let config = Config { cases: 16, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            // Each case has people of its own, so one service serves all cases.
            let first = cases.fetch_add(1, Ordering::Relaxed) * 10 + 1;
            runtime.block_on(compare(&stage, first, &steps))
        })
        .unwrap();
    let _guard = runtime.enter();
    drop(stage);
}

async fn compare(stage: &Stage, first: i64, steps: &[Step]) -> Result<(), TestCaseError> {
    let people: Vec<_> = (0..PEOPLE).map(|n| stage.person(first + n as i64, &format!("user{n}"))).collect();
    let mut model = Model::default();
    for step in steps {
        let (expected, answered) = (model.act(*step), act(&people, *step).await);
        prop_assert_eq!(answered, expected, "{:?}", step);
    }
    prop_assert_eq!(stored_relations(stage, first).await, model.relations);
    prop_assert_eq!(stored_blocks(stage, first).await, model.blocks);
    let events: usize = model.told.values().map(Vec::len).sum();
    let told = testkit::eventually("all events", || async {
        let told = told(stage, first).await;
        (told.values().map(Vec::len).sum::<usize>() >= events).then_some(told)
    })
    .await;
    prop_assert_eq!(told, model.told);
    Ok(())
}

async fn act(people: &[Person], (act, me, other): Step) -> u16 {
    let (me, other) = (&people[me], people[other].id);
    let answer = match act {
        Act::Request => me.request(other).await,
        Act::Accept => me.answer(other, "accept").await,
        Act::Reject => me.answer(other, "reject").await,
        Act::Cancel => me.cancel(other).await,
        Act::Remove => me.unfriend(other).await,
        Act::Block => me.block(other).await,
        Act::Unblock => me.unblock(other).await,
    };
    answer.status
}

async fn stored_relations(stage: &Stage, first: i64) -> BTreeMap<(usize, usize), (usize, bool)> {
    let live = sqlx::query_as(
        "SELECT user_id_1, user_id_2, status = 'accepted' FROM friendships
         WHERE deleted_at IS NULL AND user_id_1 BETWEEN ? AND ?",
    );
    let live: Vec<(i32, i32, bool)> = live.bind(first).bind(first + 9).fetch_all(&stage.pool).await.unwrap();
    let n = |id: i32| (i64::from(id) - first) as usize;
    live.into_iter().map(|(a, b, accepted)| ((n(a).min(n(b)), n(a).max(n(b))), (n(a), accepted))).collect()
}

async fn stored_blocks(stage: &Stage, first: i64) -> BTreeSet<(usize, usize)> {
    let blocks = sqlx::query_as("SELECT user_id, blocked_user_id FROM block_users WHERE user_id BETWEEN ? AND ?");
    let blocks: Vec<(i32, i32)> = blocks.bind(first).bind(first + 9).fetch_all(&stage.pool).await.unwrap();
    let n = |id: i32| (i64::from(id) - first) as usize;
    blocks.into_iter().map(|(a, b)| (n(a), n(b))).collect()
}

async fn told(stage: &Stage, first: i64) -> Told {
    const TYPES: [&str; 7] = [
        "FriendRequestSent",
        "FriendRequestAccepted",
        "FriendRequestRejected",
        "FriendRequestCancelled",
        "FriendRemoved",
        "UserBlocked",
        "UserUnblocked",
    ];
    let mut told = Told::new();
    for event in stage.friend_events().all().await {
        let id = |fields: [&str; 2]| fields.iter().find_map(|field| event.get(field)).and_then(Value::as_i64).unwrap();
        let other = event.get("friend_id").or(event.get("blocked_user_id")).or(event.get("addressee_id"));
        let (a, b) = (id(["requester_id", "user_id"]) - first, other.and_then(Value::as_i64).unwrap() - first);
        if (0..PEOPLE as i64).contains(&a) {
            let name = TYPES.into_iter().find(|name| event["event_type"] == *name).unwrap();
            let (a, b) = (a as usize, b as usize);
            told.entry((a.min(b), a.max(b))).or_default().push((name, a, b));
        }
    }
    told
}
