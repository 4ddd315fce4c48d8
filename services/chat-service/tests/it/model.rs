//! Random acts of two people in a room, compared with a plain list: positions, pages, cursors, unread counts, receipts.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::app::{Person, TestApp};

#[derive(Clone, Debug)]
enum Step {
    Say(usize),
    /// The nth message, as the others below, counted round and round.
    Edit(usize),
    Delete(usize),
    Read(usize, Vec<usize>),
    ReadAll(usize),
    Page(usize, usize),
    Before(usize, usize),
    After(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (who, nth, limit) = (0..2_usize, 0..40_usize, 1..12_usize);
    let step = prop_oneof![
        8 => who.clone().prop_map(Step::Say),
        2 => nth.clone().prop_map(Step::Edit),
        2 => nth.clone().prop_map(Step::Delete),
        2 => (who.clone(), prop::collection::vec(nth.clone(), 1..4)).prop_map(|(who, some)| Step::Read(who, some)),
        1 => who.prop_map(Step::ReadAll),
        3 => (limit.clone(), nth.clone()).prop_map(|(limit, skip)| Step::Page(limit, skip)),
        3 => (nth.clone(), limit.clone()).prop_map(|(nth, limit)| Step::Before(nth, limit)),
        3 => (nth, limit).prop_map(|(nth, limit)| Step::After(nth, limit)),
    ];
    prop::collection::vec(step, 1..60)
}

/// The plain list.
#[derive(Default)]
struct Model {
    position: i64,
    messages: Vec<Said>,
    marks: [Mark; 2],
}

struct Said {
    id: String,
    seq: i64,
    by: usize,
    content: String,
    deleted: bool,
}

#[derive(Default)]
struct Mark {
    up_to: i64,
    read: BTreeSet<i64>,
}

impl Mark {
    fn covers(&self, seq: i64) -> bool {
        seq <= self.up_to || self.read.contains(&seq)
    }
}

impl Model {
    fn next(&mut self) -> i64 {
        self.position += 1;
        self.position
    }

    fn listed(&self) -> Vec<&Said> {
        self.messages.iter().filter(|said| !said.deleted).collect()
    }

    fn unread(&self, who: usize) -> usize {
        self.listed().iter().filter(|said| said.by != who && !self.marks[who].covers(said.seq)).count()
    }

    /// What the reader of a listing sees of a message.
    fn shown(&self, said: &Said, reader: usize) -> Value {
        let read = self.marks[1 - said.by].covers(said.seq);
        json!({"id": said.id, "seq": said.seq, "content": said.content, "is_read": read, "reader": reader})
    }
}

/// A room, its two people, and what should be in it.
struct Case {
    room: i64,
    people: [Person; 2],
    model: Model,
}

#[test]
fn the_service_answers_as_a_plain_list() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime.block_on(TestApp::start());
    let cases = AtomicI64::new(0);
    let config = Config { cases: 16, max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            // Each case has people of its own, so one service serves all cases.
            let first = 1 + 2 * cases.fetch_add(1, Ordering::Relaxed);
            runtime.block_on(async {
                let mut case = Case::open(&app, first).await;
                for step in &steps {
                    case.take(step).await?;
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

    async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Say(who) => self.say(*who).await,
            Step::Edit(nth) => self.change(*nth, false).await,
            Step::Delete(nth) => self.change(*nth, true).await,
            Step::Read(who, some) => self.read(*who, some).await,
            Step::ReadAll(who) => self.read_all(*who).await,
            Step::Page(limit, skip) => {
                let end = self.model.listed().len().saturating_sub(*skip);
                self.page(&format!("limit={limit}&skip={skip}"), end.saturating_sub(*limit)..end, end > *limit).await
            }
            Step::Before(nth, limit) => {
                let Some(cursor) = self.nth(*nth) else { return Ok(()) };
                let seq = self.model.messages[cursor].seq;
                let end = self.model.listed().iter().filter(|said| said.seq < seq).count();
                let query = format!("limit={limit}&before={}", self.model.messages[cursor].id);
                self.page(&query, end.saturating_sub(*limit)..end, end > *limit).await
            }
            Step::After(nth, limit) => {
                let Some(cursor) = self.nth(*nth) else { return Ok(()) };
                let seq = self.model.messages[cursor].seq;
                let listed = self.model.listed();
                let start = listed.iter().filter(|said| said.seq <= seq).count();
                let query = format!("limit={limit}&after={}", self.model.messages[cursor].id);
                self.page(&query, start..listed.len().min(start + limit), listed.len() > start + limit).await
            }
        }
    }

    fn nth(&self, nth: usize) -> Option<usize> {
        nth.checked_rem(self.model.messages.len())
    }

    async fn say(&mut self, by: usize) -> Result<(), TestCaseError> {
        let content = format!("{by} says {}", self.model.messages.len());
        let sent = self.people[by].says(self.room, &content).await;
        let seq = self.model.next();
        prop_assert_eq!(&sent["seq"], seq);
        let id = sent["id"].as_str().unwrap().to_owned();
        self.model.messages.push(Said { id, seq, by, content, deleted: false });
        Ok(())
    }

    async fn change(&mut self, nth: usize, delete: bool) -> Result<(), TestCaseError> {
        let Some(nth) = self.nth(nth) else { return Ok(()) };
        let position = self.model.position;
        let said = &mut self.model.messages[nth];
        let (client, path) = (&self.people[said.by].client, format!("/messages/{}", said.id));
        let expected = if said.deleted { 400 } else { 200 };
        if delete {
            client.delete(&path).await.expect(expected);
            said.deleted = true;
        } else {
            let content = format!("edited at {position}");
            client.put(&path, json!({"content": content})).await.expect(expected);
            said.content = content;
        }
        if expected == 200 {
            self.model.next();
        }
        Ok(())
    }

    async fn read(&mut self, who: usize, some: &[usize]) -> Result<(), TestCaseError> {
        let named: BTreeSet<usize> = some.iter().filter_map(|nth| self.nth(*nth)).collect();
        if named.is_empty() {
            return Ok(());
        }
        let named: Vec<&Said> = named.into_iter().map(|nth| &self.model.messages[nth]).collect();
        let ids: Vec<&str> = named.iter().map(|said| said.id.as_str()).collect();
        let body = json!({"room_id": self.room, "message_ids": ids});
        let answer = self.people[who].client.post("/messages/read", body).await.expect(200);
        let mark = &mut self.model.marks[who];
        let unread = |said: &&&Said| said.by != who && !said.deleted && !mark.covers(said.seq);
        let new: Vec<i64> = named.iter().filter(unread).map(|said| said.seq).collect();
        prop_assert_eq!(&answer["read_count"], new.len());
        mark.read.extend(new);
        self.counts().await
    }

    async fn read_all(&mut self, who: usize) -> Result<(), TestCaseError> {
        let answer = self.people[who].client.post("/messages/read", json!({"room_id": self.room})).await.expect(200);
        let unread = self.model.unread(who);
        prop_assert_eq!(&answer["read_count"], unread);
        if unread > 0 {
            self.model.marks[who].up_to = self.model.position;
        }
        self.counts().await
    }

    /// A page shows these of the messages that are not deleted, to both.
    async fn page(&self, query: &str, range: std::ops::Range<usize>, more: bool) -> Result<(), TestCaseError> {
        let listed = self.model.listed();
        for (reader, person) in self.people.iter().enumerate() {
            let page = person.client.get(&format!("/messages/{}?{query}", self.room)).await.expect(200);
            let seen = |message: &Value| {
                json!({"id": message["id"], "seq": message["seq"], "content": message["content"],
                    "is_read": message["is_read"], "reader": reader})
            };
            let seen: Vec<Value> = page["messages"].as_array().unwrap().iter().map(seen).collect();
            let expected: Vec<Value> =
                listed[range.clone()].iter().map(|said| self.model.shown(said, reader)).collect();
            prop_assert_eq!(seen, expected, "{}", query);
            prop_assert_eq!(&page["has_more"], more, "{}", query);
            prop_assert_eq!(&page["total_count"], listed.len());
            prop_assert_eq!(&page["position"], self.model.position);
        }
        Ok(())
    }

    async fn counts(&self) -> Result<(), TestCaseError> {
        for (who, person) in self.people.iter().enumerate() {
            prop_assert_eq!(person.unread(self.room).await as usize, self.model.unread(who));
        }
        Ok(())
    }

    /// At the end: all of it, by pages forwards and backwards, and the room in the list.
    async fn compare(&self) -> Result<(), TestCaseError> {
        let listed = self.model.listed();
        self.page("limit=100", listed.len().saturating_sub(100)..listed.len(), listed.len() > 100).await?;
        self.counts().await?;
        for (who, person) in self.people.iter().enumerate() {
            let rooms = person.client.get("/chat-rooms").await.expect(200);
            prop_assert_eq!(&rooms[0]["unread_count"], self.model.unread(who));
            prop_assert_eq!(rooms[0]["last_message"]["id"].as_str(), listed.last().map(|said| said.id.as_str()));
        }
        Ok(())
    }
}
