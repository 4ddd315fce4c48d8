//! Random requests of two users in a room, compared with a list in memory: positions, pages, cursors, unread counts,
//! read receipts.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::person::Person;

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    /// Edits the nth message, modulo their number. The steps below name messages in the same way.
    Edit(usize),
    Delete(usize),
    Read(usize, Vec<usize>),
    ReadAll(usize),
    Page(usize, usize),
    Before(usize, usize),
    After(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (user, nth, limit) = (0..2_usize, 0..40_usize, 1..12_usize);
    let step = prop_oneof![
        8 => user.clone().prop_map(Step::Send),
        2 => nth.clone().prop_map(Step::Edit),
        2 => nth.clone().prop_map(Step::Delete),
        2 => (user.clone(), prop::collection::vec(nth.clone(), 1..4)).prop_map(|(user, some)| Step::Read(user, some)),
        1 => user.prop_map(Step::ReadAll),
        3 => (limit.clone(), nth.clone()).prop_map(|(limit, skip)| Step::Page(limit, skip)),
        3 => (nth.clone(), limit.clone()).prop_map(|(nth, limit)| Step::Before(nth, limit)),
        3 => (nth, limit).prop_map(|(nth, limit)| Step::After(nth, limit)),
    ];
    prop::collection::vec(step, 1..60)
}

/// The list in memory.
#[derive(Default)]
struct Model {
    position: i64,
    messages: Vec<Message>,
    markers: [ReadMarker; 2],
}

struct Message {
    id: String,
    seq: i64,
    author: usize,
    content: String,
    deleted: bool,
}

#[derive(Default)]
struct ReadMarker {
    up_to: i64,
    read: BTreeSet<i64>,
}

impl ReadMarker {
    fn covers(&self, seq: i64) -> bool {
        seq <= self.up_to || self.read.contains(&seq)
    }
}

impl Model {
    fn take_position(&mut self) -> i64 {
        self.position += 1;
        self.position
    }

    fn listed(&self) -> Vec<&Message> {
        self.messages.iter().filter(|message| !message.deleted).collect()
    }

    fn unread(&self, user: usize) -> usize {
        let marker = &self.markers[user];
        self.listed().iter().filter(|message| message.author != user && !marker.covers(message.seq)).count()
    }

    /// The fields of a listed message that the test compares.
    fn expected(&self, message: &Message) -> Value {
        let read = self.markers[1 - message.author].covers(message.seq);
        json!({"id": message.id, "seq": message.seq, "content": message.content, "is_read": read})
    }
}

/// A room, its two users, and its expected contents.
struct Case {
    room: i64,
    people: [Person; 2],
    model: Model,
}

#[test]
fn the_service_answers_as_the_list_in_memory() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime.block_on(TestApp::start());
    let cases = AtomicI64::new(0);
    let config = Config { cases: 16, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            // One service serves all cases, each with users of its own.
            let first = 1 + 2 * cases.fetch_add(1, Ordering::Relaxed);
            runtime.block_on(async {
                let mut case = Case::open(&app, first).await;
                for step in &steps {
                    case.execute(step).await?;
                }
                case.compare().await
            })
        })
        .unwrap();
    let _guard = runtime.enter();
    drop(app);
}

impl Case {
    async fn open(app: &TestApp, first: i64) -> Self {
        let people = [app.person(first), app.person(first + 1)];
        let room = people[0].room_with(people[1].id).await;
        Self { room, people, model: Model::default() }
    }

    async fn execute(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Send(user) => self.send(*user).await,
            Step::Edit(nth) => self.change(*nth, false).await,
            Step::Delete(nth) => self.change(*nth, true).await,
            Step::Read(user, some) => self.read(*user, some).await,
            Step::ReadAll(user) => self.read_all(*user).await,
            Step::Page(limit, skip) => {
                let end = self.model.listed().len().saturating_sub(*skip);
                self.compare_page(&format!("limit={limit}&skip={skip}"), end.saturating_sub(*limit)..end, end > *limit)
                    .await
            }
            Step::Before(nth, limit) => {
                let Some(cursor) = self.nth(*nth) else { return Ok(()) };
                let seq = self.model.messages[cursor].seq;
                let end = self.model.listed().iter().filter(|message| message.seq < seq).count();
                let query = format!("limit={limit}&before={}", self.model.messages[cursor].id);
                self.compare_page(&query, end.saturating_sub(*limit)..end, end > *limit).await
            }
            Step::After(nth, limit) => {
                let Some(cursor) = self.nth(*nth) else { return Ok(()) };
                let seq = self.model.messages[cursor].seq;
                let listed = self.model.listed();
                let start = listed.iter().filter(|message| message.seq <= seq).count();
                let query = format!("limit={limit}&after={}", self.model.messages[cursor].id);
                self.compare_page(&query, start..listed.len().min(start + limit), listed.len() > start + limit).await
            }
        }
    }

    fn nth(&self, nth: usize) -> Option<usize> {
        nth.checked_rem(self.model.messages.len())
    }

    async fn send(&mut self, author: usize) -> Result<(), TestCaseError> {
        let content = format!("{} of {author}", self.model.messages.len());
        let sent = self.people[author].sends(self.room, &content).await;
        let seq = self.model.take_position();
        prop_assert_eq!(&sent["seq"], seq);
        let id = sent["id"].as_str().unwrap().to_owned();
        self.model.messages.push(Message { id, seq, author, content, deleted: false });
        Ok(())
    }

    async fn change(&mut self, nth: usize, delete: bool) -> Result<(), TestCaseError> {
        let Some(nth) = self.nth(nth) else { return Ok(()) };
        let position = self.model.position;
        let message = &mut self.model.messages[nth];
        let (client, path) = (&self.people[message.author].client, format!("/messages/{}", message.id));
        let expected = if message.deleted { 400 } else { 200 };
        if delete {
            client.delete(&path).await.expect(expected);
            message.deleted = true;
        } else {
            let content = format!("edited at {position}");
            client.put(&path, json!({"content": content})).await.expect(expected);
            message.content = content;
        }
        if expected == 200 {
            self.model.take_position();
        }
        Ok(())
    }

    async fn read(&mut self, user: usize, some: &[usize]) -> Result<(), TestCaseError> {
        let indexes: BTreeSet<usize> = some.iter().filter_map(|nth| self.nth(*nth)).collect();
        if indexes.is_empty() {
            return Ok(());
        }
        let messages: Vec<&Message> = indexes.into_iter().map(|nth| &self.model.messages[nth]).collect();
        let named: Vec<Value> = messages.iter().map(|message| json!({"id": message.id})).collect();
        let answer = self.people[user].reads(self.room, &named).await;
        let marker = &mut self.model.markers[user];
        let unread = |message: &&&Message| message.author != user && !message.deleted && !marker.covers(message.seq);
        let new: Vec<i64> = messages.iter().filter(unread).map(|message| message.seq).collect();
        prop_assert_eq!(&answer["read_count"], new.len());
        marker.read.extend(new);
        self.compare_unread().await
    }

    async fn read_all(&mut self, user: usize) -> Result<(), TestCaseError> {
        let answer = self.people[user].reads_all(self.room).await;
        let unread = self.model.unread(user);
        prop_assert_eq!(&answer["read_count"], unread);
        if unread > 0 {
            self.model.markers[user].up_to = self.model.position;
        }
        self.compare_unread().await
    }

    /// Compares a page, as both users see it, with this range of the messages that are not deleted.
    async fn compare_page(&self, query: &str, range: std::ops::Range<usize>, more: bool) -> Result<(), TestCaseError> {
        let listed = self.model.listed();
        let expected: Vec<Value> = listed[range].iter().map(|message| self.model.expected(message)).collect();
        for person in &self.people {
            let page = person.client.get(&format!("/messages/{}?{query}", self.room)).await.expect(200);
            let compared = |message: &Value| {
                json!({"id": message["id"], "seq": message["seq"], "content": message["content"],
                    "is_read": message["is_read"]})
            };
            let shown: Vec<Value> = page["messages"].as_array().unwrap().iter().map(compared).collect();
            prop_assert_eq!(&shown, &expected, "{}", query);
            prop_assert_eq!(&page["has_more"], more, "{}", query);
            prop_assert_eq!(&page["total_count"], listed.len());
            prop_assert_eq!(&page["position"], self.model.position);
        }
        Ok(())
    }

    async fn compare_unread(&self) -> Result<(), TestCaseError> {
        for (user, person) in self.people.iter().enumerate() {
            prop_assert_eq!(person.unread(self.room).await as usize, self.model.unread(user));
        }
        Ok(())
    }

    /// Compares the newest page, the unread counts, and the room in the list of rooms.
    async fn compare(&self) -> Result<(), TestCaseError> {
        let listed = self.model.listed();
        self.compare_page("limit=100", listed.len().saturating_sub(100)..listed.len(), listed.len() > 100).await?;
        self.compare_unread().await?;
        for (user, person) in self.people.iter().enumerate() {
            let rooms = person.rooms().await;
            prop_assert_eq!(&rooms[0]["unread_count"], self.model.unread(user));
            prop_assert_eq!(rooms[0]["last_message"]["id"].as_str(), listed.last().map(|message| message.id.as_str()));
        }
        Ok(())
    }
}
