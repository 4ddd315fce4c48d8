//! A case: fresh users, whose acts are executed one after another and compared with the model.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use proptest::prelude::*;
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, Client, Sse};
use uuid::Uuid;

use crate::act::{Credential, Kind, Service, Step};
use crate::call::Call;
use crate::model::{Model, Person, Secret, User, text_of};
use crate::services::Services;
use crate::streams::Streams;
use crate::tokens;
use crate::witness::Witness;

pub const PEOPLE: usize = 5;

/// How long an ended session, a deactivation or a block may take to all services. The contract allows five seconds.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(15);

/// A ticket that is older than this may be refused, because it lives for 30 seconds.
const FRESH_TICKET: Duration = Duration::from_secs(20);

/// Unique over all cases, so that the text of an earlier case is recognized as well.
static NEXT_SECRET: AtomicU64 = AtomicU64::new(1);

/// How often calls were allowed and refused.
#[derive(Default)]
pub struct Counts {
    /// With the caller's own token.
    pub kinds: BTreeMap<Kind, [u32; 2]>,
    pub credentials: BTreeMap<(Service, Credential), [u32; 2]>,
}

impl Counts {
    fn add(&mut self, call: &Call, allowed: bool) {
        let column = usize::from(!allowed);
        if call.credential == Credential::Own || call.kind == Kind::ListAllBlocks {
            self.kinds.entry(call.kind).or_default()[column] += 1;
        }
        if call.kind.is_authenticated() {
            self.credentials.entry((call.kind.service(), call.credential)).or_default()[column] += 1;
        }
    }

    /// Adds the counts of another case.
    pub fn merge(&mut self, other: Self) {
        for (kind, [allowed, refused]) in other.kinds {
            let sum = self.kinds.entry(kind).or_default();
            *sum = [sum[0] + allowed, sum[1] + refused];
        }
        for (credential, [allowed, refused]) in other.credentials {
            let sum = self.credentials.entry(credential).or_default();
            *sum = [sum[0] + allowed, sum[1] + refused];
        }
    }
}

/// The answer to a call: a body that is read, or a stream that goes on.
enum Response {
    Answer(Answer),
    Stream(Sse),
}

impl Response {
    fn answer(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            Self::Stream(_) => panic!("the answer is a stream"),
        }
    }
}

pub struct Case<'a> {
    pub services: &'a Services,
    pub model: Model,
    pub witness: Witness,
    /// The beginning of all usernames.
    pub prefix: String,
    clients: [Client; 3],
    streams: Streams,
    tickets_taken: Vec<Instant>,
    /// A line for each act.
    trace: Vec<String>,
    counts: Counts,
}

/// The numbers of the secrets in a text.
pub fn secrets_in(text: &str) -> impl Iterator<Item = u64> {
    static SECRET: LazyLock<Regex> = LazyLock::new(|| Regex::new("zq([0-9]+)qz").unwrap());
    SECRET.captures_iter(text).map(|found| found[1].parse().unwrap())
}

impl<'a> Case<'a> {
    /// Executes a sequence. The error has all acts up to the one that differs from the model.
    pub async fn run(services: &'a Services, steps: &[Step]) -> (Counts, Result<(), TestCaseError>) {
        let mut case = Self::new(services).await;
        let mut result = Ok(());
        for step in steps {
            result = case.step(step).await;
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() {
            result = case.end().await;
        }
        let lines = case.trace.join("\n  ");
        (case.counts, result.map_err(|e| TestCaseError::fail(format!("{e}\n  {lines}"))))
    }

    async fn new(services: &'a Services) -> Self {
        let clients = Service::ALL.map(|service| services.client(service));
        let prefix = format!("p{}", &Uuid::new_v4().simple().to_string()[..10]);
        let mut model = Model::default();
        let register = (0..=PEOPLE).map(|n| register(&clients[2], format!("{prefix}-{n}")));
        // Kafka's keys of friendships are the smaller ids. The witness has the greatest one.
        let mut people = join_all(register).await;
        people.sort_by_key(|(person, _)| person.id);
        let last = people.pop().map(|(person, _)| person);
        for (user, (person, secrets)) in people.into_iter().enumerate() {
            let [email, password, status] = secrets;
            model.secrets.extend([(email, Secret::Private(user)), (password, Secret::Private(user))]);
            model.secrets.insert(status, Secret::Status(user));
            model.people.push(person);
        }
        let witness = Witness::new(services, &clients, last.as_ref(), &model).await;
        let (streams, tickets_taken, trace) = (Streams::default(), Vec::new(), Vec::new());
        let counts = Counts::default();
        let mut case = Self { services, model, witness, prefix, clients, streams, tickets_taken, trace, counts };
        for user in 0..PEOPLE {
            let device = case.next_secret();
            let call = Call { by: user, ..case.call(Kind::LogIn, user, device) };
            case.model.log_in(user, &case.send(&call).await.answer().expect(200), device);
            let edit = Call { secret: status_of(&case.model.people[user]), ..case.call(Kind::EditProfile, user, 0) };
            case.send(&edit).await.answer().expect(200);
        }
        case.refuse_strangers(PEOPLE - 1).await;
        case
    }

    /// Lets only friends bring a user into groups, and waits until chat-service knows.
    async fn refuse_strangers(&mut self, user: User) {
        let change = json!({"refuse_stranger_groups": true});
        self.observer(Service::User, user).put("/profile/me", change).await.expect(200);
        self.model.people[user].refuses_strangers = true;
        self.witness.is_refused_by(user, self.client(Service::Chat)).await;
    }

    pub fn client(&self, service: Service) -> &Client {
        &self.clients[service as usize]
    }

    /// A client with a valid token of a session that the test does not end.
    pub fn observer(&self, service: Service, user: User) -> Client {
        let person = &self.model.people[user];
        self.client(service).with_token(&self.services.space.token(person.id, &person.username))
    }

    fn next_secret(&mut self) -> u64 {
        let secret = NEXT_SECRET.fetch_add(1, Ordering::Relaxed);
        self.model.secrets.insert(secret, Secret::Refused);
        secret
    }

    /// A call of a user with their own token.
    fn call(&self, kind: Kind, by: User, secret: u64) -> Call {
        let step = Step { kind, by: 0, rightful: false, credential: Credential::Own, target: 0, other: 0 };
        Call { by, ..Call::of(&step, &self.model, secret) }
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let secret = self.next_secret();
        let mut call = Call::of(step, &self.model, secret);
        let person = &self.model.people[call.by];
        if call.kind.is_authenticated()
            && call.credential == Credential::Own
            && person.active
            && self.model.live_session(call.by).is_none()
        {
            call = self.call(Kind::LogIn, call.by, secret);
        }
        if call.kind == Kind::Deactivate && !person.active || self.ticket_is_old(&call) {
            return Ok(());
        }
        if call.credential == Credential::Ended && self.model.ended_session(call.by).is_none() {
            call.credential = Credential::Expired;
        }
        let line = call.line(&self.model);
        self.trace.push(format!("{line} -> no answer"));
        self.settle_sessions(&call).await?;
        let expected = self.model.expected(&call);
        let (status, answer) = match call.kind {
            Kind::Deactivate => (self.deactivate(call.by).await?, None),
            _ => match self.send(&call).await {
                // A repeat within a second is not sent to the streams.
                Response::Answer(answer) if call.kind == Kind::Typing && answer.status == 429 => (202, Some(answer)),
                Response::Answer(answer) => (answer.status, Some(answer)),
                Response::Stream(sse) => (self.listen(&call, sse), None),
            },
        };
        if let Some(last) = self.trace.last_mut() {
            *last = format!("{line} -> {status}");
        }
        let text = answer.as_ref().map_or("a stream", |answer| &answer.text);
        prop_assert_eq!(status, expected, "the model expects another status; answered {}", text);
        let body = answer.map(|answer| answer.body).unwrap_or_default();
        let allowed = status < 300;
        self.counts.add(&call, allowed);
        if call.kind == Kind::UseTicket
            && let Some(ticket) = call.ticket
        {
            self.model.tickets[ticket].used = true;
        }
        if allowed {
            self.model.apply(&call, &body);
            if call.kind == Kind::TakeTicket {
                self.tickets_taken.push(Instant::now());
            }
            self.streams.follow(&call, &self.model);
            if call.kind == Kind::RequestUpload {
                store_file(&body, text_of(call.secret)).await;
            }
        }
        // After the change, because the answer to a change shows its result.
        let viewer = (call.credential != Credential::Service).then_some(call.by);
        self.check_secrets(viewer, &body, Some(call.secret))?;
        if allowed {
            self.check_answer(&call, &body)?;
            self.settle_blocks(&call).await?;
        }
        self.check_affected(&call).await?;
        self.streams.check(&self.model)
    }

    /// Compares everything that every user can read with the model.
    async fn end(&mut self) -> Result<(), TestCaseError> {
        self.trace.push("at the end".into());
        self.streams.complete().await?;
        self.streams.check(&self.model)?;
        for user in 0..PEOPLE {
            if self.model.people[user].active {
                self.check_relations(user).await?;
                self.check_account(user).await?;
                self.check_rooms(user).await?;
            }
        }
        Ok(())
    }

    fn ticket_is_old(&self, call: &Call) -> bool {
        let taken = call.ticket.filter(|_| call.kind == Kind::UseTicket).map(|ticket| self.tickets_taken[ticket]);
        taken.is_some_and(|taken| taken.elapsed() > FRESH_TICKET)
    }

    /// The tokens of a call.
    fn token(&self, call: &Call) -> String {
        let sessions = &self.model.sessions;
        let newest = self.model.live_session(call.by).or_else(|| self.model.ended_session(call.by));
        let own = newest.map_or("", |session| &sessions[session].access);
        let (called, space) = (call.kind.service(), &self.services.space);
        match call.credential {
            _ if !call.kind.is_authenticated() => String::new(),
            Credential::Own => own.to_owned(),
            Credential::Ended => {
                self.model.ended_session(call.by).map(|n| sessions[n].access.clone()).unwrap_or_default()
            }
            Credential::Expired => tokens::expired(own),
            Credential::Tampered => tokens::tampered(own, self.model.people[(call.by + 1) % PEOPLE].id),
            Credential::Unsigned => tokens::unsigned(own),
            Credential::Absent => String::new(),
            Credential::Service => space.service_token(other_than(called).name(), called.name()),
            Credential::OtherService => space.service_token(called.name(), other_than(called).name()),
        }
    }

    /// Sends a call.
    async fn send(&self, call: &Call) -> Response {
        let last_id = self.streams.last_id(call.stream);
        let request = call.request(&self.model, &self.prefix, last_id);
        let client = self.client(call.kind.service()).with_token(&self.token(call));
        let mut builder = client.request(request.method, &request.path);
        if let Some(body) = request.body {
            builder = builder.json(&body);
        }
        if let Some(id) = request.last_event_id {
            builder = builder.header("last-event-id", id);
        }
        if call.kind == Kind::LogIn {
            builder = builder.header("user-agent", text_of(call.secret));
        }
        let response = builder.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let is_stream = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        if is_stream {
            return Response::Stream(Sse::new(response));
        }
        let text = response.text().await.unwrap();
        // The content of a file is no JSON.
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
        Response::Answer(Answer { status, headers, body, text })
    }

    /// Reads a stream that was opened.
    fn listen(&mut self, call: &Call, sse: Sse) -> u16 {
        let session = match call.kind {
            Kind::UseTicket => call.ticket.map(|ticket| self.model.tickets[ticket].session),
            _ => self.model.live_session(call.by),
        };
        let room = call.room.filter(|_| !matches!(call.kind, Kind::StreamAll | Kind::ResumeAll));
        if let Some(session) = session {
            self.streams.add(self.model.sessions[session].user, session, room, sse);
        }
        200
    }

    /// Deactivates an account as an operator does, and waits until all services know.
    async fn deactivate(&self, user: User) -> Result<u16, TestCaseError> {
        let update = sqlx::query("UPDATE users SET is_active = FALSE, updated_at = UTC_TIMESTAMP(6) WHERE id = ?");
        update.bind(self.model.people[user].id).execute(&self.services.accounts).await.unwrap();
        for service in Service::ALL {
            for session in self.model.sessions.iter().filter(|session| session.user == user) {
                self.until_refused(service, &session.access).await?;
            }
        }
        Ok(200)
    }

    /// Waits until the called service knows that the session of a call has ended: it may remember for three seconds that the
    /// session was live.
    async fn settle_sessions(&self, call: &Call) -> Result<(), TestCaseError> {
        let ended = match call.kind {
            Kind::UseTicket => call.ticket.map(|ticket| self.model.tickets[ticket].session),
            _ if call.credential == Credential::Ended => self.model.ended_session(call.by),
            _ => None,
        };
        if let Some(session) = ended.map(|ended| &self.model.sessions[ended]).filter(|session| !session.live) {
            self.until_refused(call.kind.service(), &session.access).await?;
        }
        Ok(())
    }

    async fn until_refused(&self, service: Service, token: &str) -> Result<(), TestCaseError> {
        let path = match service {
            Service::Chat => "/chat-rooms?limit=1",
            Service::Friend => "/friends/blocked",
            Service::User => "/auth/sessions",
        };
        let client = self.client(service).with_token(token);
        let refused = async || client.get(path).await.status == 401;
        settled(&format!("{service:?} refuses the token of an ended session"), refused).await
    }

    async fn settle_blocks(&mut self, call: &Call) -> Result<(), TestCaseError> {
        let Some(other) = call.user.filter(|_| matches!(call.kind, Kind::Block | Kind::Unblock)) else { return Ok(()) };
        let low = call.by.min(other);
        let viewer = self.model.people[low].active.then(|| self.observer(Service::User, low));
        self.witness.follow(low, &self.clients, viewer).await
    }

    /// Checks that a text has no secret of another. `own` is a text that the caller sent.
    pub fn check_secrets(&self, viewer: Option<User>, body: &Value, own: Option<u64>) -> Result<(), TestCaseError> {
        for secret in secrets_in(&body.to_string()).filter(|secret| Some(*secret) != own) {
            let owner = self.model.secrets.get(&secret);
            let may = self.model.may_read(viewer, secret);
            prop_assert!(may, "user {:?} reads the secret {:?} in {}", viewer, owner, body);
        }
        Ok(())
    }
}

/// Stores a file with the request of an upload.
async fn store_file(upload: &Value, content: String) {
    let store = Client::new(upload["url"].as_str().unwrap(), "");
    let request = store.request(Method::PUT, "").header("content-type", "text/plain").body(content);
    store.send(request).await.expect(200);
}

/// Polls until something holds.
pub async fn settled(what: &str, holds: impl AsyncFn() -> bool) -> Result<(), TestCaseError> {
    let polled = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(SETTLED_WITHIN, polled).await.is_ok();
    prop_assert!(in_time, "not within {:?}: {}", SETTLED_WITHIN, what);
    Ok(())
}

fn other_than(service: Service) -> Service {
    if service == Service::User { Service::Chat } else { Service::User }
}

/// Registers an account. Returns the numbers of its e-mail address, its password and its status message.
async fn register(client: &Client, username: String) -> (Person, [u64; 3]) {
    let secrets = [(); 3].map(|()| NEXT_SECRET.fetch_add(1, Ordering::Relaxed));
    let [email, password, status] = secrets.map(text_of);
    let (email, password) = (format!("{email}@example.com"), format!("{password}!A1"));
    let account = json!({"email": email, "username": username, "password": password});
    let id = client.post("/auth/register", account).await.expect(201)["id"].as_i64().unwrap();
    (Person { id, username, email, password, status, active: true, refuses_strangers: false }, secrets)
}

fn status_of(person: &Person) -> u64 {
    secrets_in(&person.status).next().unwrap_or_default()
}
