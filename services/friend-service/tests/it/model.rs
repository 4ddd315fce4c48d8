//! Random actions of a few users, compared with a model: the answers, the stored state, and the published events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::app::{Person, TestApp};

const PEOPLE: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Action {
    Request,
    Accept,
    Reject,
    Cancel,
    Remove,
    Block,
    Unblock,
}

/// An action, the acting user, and the other user.
type Step = (Action, usize, usize);

/// The events of each pair, as event type, first user and second user.
type EventLog = BTreeMap<(usize, usize), Vec<(&'static str, usize, usize)>>;

#[derive(Default)]
struct Model {
    /// The requester of each live friendship, and whether it is accepted.
    friendships: BTreeMap<(usize, usize), (usize, bool)>,
    blocks: BTreeSet<(usize, usize)>,
    events: EventLog,
}

impl Model {
    /// Applies an action and returns the expected status.
    fn apply(&mut self, (action, me, other): Step) -> u16 {
        let pair = (me.min(other), me.max(other));
        let friendship = self.friendships.get(&pair).copied();
        let blocked = self.blocks.contains(&(me, other)) || self.blocks.contains(&(other, me));
        match action {
            Action::Request | Action::Block | Action::Unblock if me == other => 400,
            Action::Request if blocked => 403,
            Action::Request if friendship.is_some() => 400,
            Action::Request => self.change(pair, Some((me, false)), ("FriendRequestSent", me, other)),
            Action::Accept if friendship == Some((other, false)) && me != other => {
                self.change(pair, Some((other, true)), ("FriendRequestAccepted", other, me))
            }
            Action::Reject if friendship == Some((other, false)) && me != other => {
                self.change(pair, None, ("FriendRequestRejected", other, me))
            }
            Action::Cancel if friendship == Some((me, false)) && me != other => {
                self.change(pair, None, ("FriendRequestCancelled", me, other))
            }
            Action::Accept | Action::Reject | Action::Cancel => 400,
            Action::Remove if matches!(friendship, Some((_, true))) => {
                self.change(pair, None, ("FriendRemoved", me, other))
            }
            Action::Remove => 404,
            Action::Unblock if self.blocks.remove(&(me, other)) => self.append(pair, ("UserUnblocked", me, other)),
            Action::Unblock => 404,
            Action::Block => {
                match friendship {
                    Some((_, true)) => _ = self.change(pair, None, ("FriendRemoved", me, other)),
                    Some((requester, _)) if requester == me => {
                        _ = self.change(pair, None, ("FriendRequestCancelled", me, other))
                    }
                    Some(_) => _ = self.change(pair, None, ("FriendRequestRejected", other, me)),
                    None => {}
                }
                if self.blocks.insert((me, other)) { self.append(pair, ("UserBlocked", me, other)) } else { 200 }
            }
        }
    }

    fn change(&mut self, pair: (usize, usize), to: Option<(usize, bool)>, event: (&'static str, usize, usize)) -> u16 {
        match to {
            Some(friendship) => _ = self.friendships.insert(pair, friendship),
            None => _ = self.friendships.remove(&pair),
        }
        self.append(pair, event);
        if event.0 == "FriendRequestSent" { 201 } else { 200 }
    }

    fn append(&mut self, pair: (usize, usize), event: (&'static str, usize, usize)) -> u16 {
        self.events.entry(pair).or_default().push(event);
        200
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use Action::{Accept, Block, Cancel, Reject, Remove, Request, Unblock};
    let action = prop_oneof![
        6 => Just(Request), 5 => Just(Accept), 2 => Just(Reject), 2 => Just(Cancel),
        2 => Just(Remove), 2 => Just(Block), 3 => Just(Unblock)
    ];
    prop::collection::vec((action, 0..PEOPLE, 0..PEOPLE), 1..60)
}

#[test]
fn the_service_behaves_as_the_model() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime.block_on(TestApp::start_with_events_and(&[("FRIEND_REQUEST_LIMIT_ENDED", "0")]));
    let cases = AtomicI64::new(0);
    let config = Config { cases: 16, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            // Each case has its own users, so one service serves all cases.
            let first = cases.fetch_add(1, Ordering::Relaxed) * 10 + 1;
            runtime.block_on(compare(&app, first, &steps))
        })
        .unwrap();
    let _guard = runtime.enter();
    drop(app);
}

async fn compare(app: &TestApp, first: i64, steps: &[Step]) -> Result<(), TestCaseError> {
    let people: Vec<_> = (0..PEOPLE).map(|n| app.person(first + n as i64, &format!("user{n}"))).collect();
    let mut model = Model::default();
    for step in steps {
        let (expected, answered) = (model.apply(*step), perform(&people, *step).await);
        prop_assert_eq!(answered, expected, "{:?}", step);
    }
    prop_assert_eq!(stored_friendships(app, first).await, model.friendships);
    prop_assert_eq!(stored_blocks(app, first).await, model.blocks);
    let count: usize = model.events.values().map(Vec::len).sum();
    let events = testkit::eventually("all events are published", || async {
        let events = published_events(app, first).await;
        (events.values().map(Vec::len).sum::<usize>() >= count).then_some(events)
    })
    .await;
    prop_assert_eq!(events, model.events);
    Ok(())
}

async fn perform(people: &[Person], (action, me, other): Step) -> u16 {
    let (me, other) = (&people[me], people[other].id);
    let answer = match action {
        Action::Request => me.request(other).await,
        Action::Accept => me.answer(other, "accept").await,
        Action::Reject => me.answer(other, "reject").await,
        Action::Cancel => me.cancel(other).await,
        Action::Remove => me.unfriend(other).await,
        Action::Block => me.block(other).await,
        Action::Unblock => me.unblock(other).await,
    };
    answer.status
}

async fn stored_friendships(app: &TestApp, first: i64) -> BTreeMap<(usize, usize), (usize, bool)> {
    let live = sqlx::query_as(
        "SELECT user_id_1, user_id_2, status = 'accepted' FROM friendships
         WHERE deleted_at IS NULL AND user_id_1 BETWEEN ? AND ?",
    );
    let live: Vec<(i32, i32, bool)> = live.bind(first).bind(first + 9).fetch_all(&app.pool).await.unwrap();
    let n = |id: i32| (i64::from(id) - first) as usize;
    live.into_iter().map(|(a, b, accepted)| ((n(a).min(n(b)), n(a).max(n(b))), (n(a), accepted))).collect()
}

async fn stored_blocks(app: &TestApp, first: i64) -> BTreeSet<(usize, usize)> {
    let blocks = sqlx::query_as("SELECT user_id, blocked_user_id FROM block_users WHERE user_id BETWEEN ? AND ?");
    let blocks: Vec<(i32, i32)> = blocks.bind(first).bind(first + 9).fetch_all(&app.pool).await.unwrap();
    let n = |id: i32| (i64::from(id) - first) as usize;
    blocks.into_iter().map(|(a, b)| (n(a), n(b))).collect()
}

async fn published_events(app: &TestApp, first: i64) -> EventLog {
    const TYPES: [&str; 7] = [
        "FriendRequestSent",
        "FriendRequestAccepted",
        "FriendRequestRejected",
        "FriendRequestCancelled",
        "FriendRemoved",
        "UserBlocked",
        "UserUnblocked",
    ];
    let mut events = EventLog::new();
    for event in app.friend_events().all().await {
        let id = |fields: [&str; 2]| fields.iter().find_map(|field| event.get(field)).and_then(Value::as_i64).unwrap();
        let other = event.get("friend_id").or(event.get("blocked_user_id")).or(event.get("addressee_id"));
        let (a, b) = (id(["requester_id", "user_id"]) - first, other.and_then(Value::as_i64).unwrap() - first);
        if (0..PEOPLE as i64).contains(&a) {
            let name = TYPES.into_iter().find(|name| event["event_type"] == *name).unwrap();
            let (a, b) = (a as usize, b as usize);
            events.entry((a.min(b), a.max(b))).or_default().push((name, a, b));
        }
    }
    events
}
