//! `<service> dlq list|show|replay`: dead letters on the terminal, as JSON.
//!
//! Every service's program shows the letters of all five topics, so that an operator need not know which consumer gave
//! up.

use std::io::{self, Write};

use common::config::Env;
use common::error::BoxError;
use common::events::topics::TopicNames;
use engines::kafka::dead_letters::{AT, DeadLetters, GROUP, OFFSET, PARTITION, REASON, TOPIC};
use engines::kafka::producer::Producer;
use engines::kafka::record::Fetched;
use platform::Service;
use platform::config::KafkaConfig;
use prometheus::Registry;
use serde_json::{Map, Value, json};

const USAGE: &str = "dlq list [TOPIC]…, dlq show LETTER…, dlq replay LETTER…; a LETTER has the name that the list shows, \
                     such as user.events/0/17";

pub(super) async fn execute(service: Service, env: &Env, args: &[String]) -> Result<(), BoxError> {
    let Some((action, names)) = args.split_first() else { return Err(USAGE.into()) };
    let kafka = || KafkaConfig::read(env, service.name);
    match action.as_str() {
        "list" => list(&kafka()?, names).await,
        "show" if !names.is_empty() => show(&kafka()?, names).await,
        "replay" if !names.is_empty() => replay(&kafka()?, names).await,
        _ => Err(USAGE.into()),
    }
}

/// Prints one line for each letter, the oldest of a topic first.
async fn list(kafka: &KafkaConfig, topics: &[String]) -> Result<(), BoxError> {
    for topic in chosen(&kafka.topics, topics)? {
        for letter in DeadLetters::of(kafka, topic).list().await? {
            print(&summary(&Name::of(topic, &letter), &letter).to_string())?;
        }
    }
    Ok(())
}

/// Prints letters with their headers and payload.
async fn show(kafka: &KafkaConfig, names: &[String]) -> Result<(), BoxError> {
    for name in &named(kafka, names)? {
        let letter = name.find(kafka).await?;
        print(&format!("{:#}", whole(name, &letter)))?;
    }
    Ok(())
}

/// Sends letters to their own topics again, until one cannot be sent.
async fn replay(kafka: &KafkaConfig, names: &[String]) -> Result<(), BoxError> {
    let names = named(kafka, names)?;
    let producer = Producer::new(kafka, &Registry::new())?;
    for name in &names {
        let letter = name.find(kafka).await?;
        DeadLetters::of(kafka, &name.topic).replay(&producer, &letter).await?;
        print(&json!({"letter": name.to_string(), "sent_to": letter.header(TOPIC)}).to_string())?;
    }
    Ok(())
}

/// The named topics, or all topics that have dead letters.
fn chosen<'a>(names: &'a TopicNames, wanted: &[String]) -> Result<Vec<&'a str>, BoxError> {
    let all = names.consumed();
    if let Some(unknown) = wanted.iter().find(|topic| !all.contains(&topic.as_str())) {
        return Err(format!("{unknown:?} has no dead letters; there are {}", all.join(", ")).into());
    }
    Ok(all.into_iter().filter(|topic| wanted.is_empty() || wanted.iter().any(|wanted| wanted == topic)).collect())
}

fn named(kafka: &KafkaConfig, names: &[String]) -> Result<Vec<Name>, BoxError> {
    let has_letters = |name: &Name| kafka.topics.consumed().contains(&name.topic.as_str());
    let read = |text: &String| {
        Name::read(text).filter(has_letters).ok_or_else(|| format!("{text:?} names no letter; {USAGE}"))
    };
    Ok(names.iter().map(read).collect::<Result<_, _>>()?)
}

/// The name of a letter: its own topic, and its partition and offset in `<topic>.dlq`.
#[derive(Debug, PartialEq)]
struct Name {
    topic: String,
    partition: i32,
    offset: i64,
}

impl Name {
    fn of(topic: &str, letter: &Fetched) -> Self {
        Self { topic: topic.to_owned(), partition: letter.partition, offset: letter.offset }
    }

    fn read(text: &str) -> Option<Self> {
        let (rest, offset) = text.rsplit_once('/')?;
        let (topic, partition) = rest.rsplit_once('/')?;
        Some(Self { topic: topic.to_owned(), partition: partition.parse().ok()?, offset: offset.parse().ok()? })
    }

    async fn find(&self, kafka: &KafkaConfig) -> Result<Fetched, BoxError> {
        let found = DeadLetters::of(kafka, &self.topic).show(self.partition, self.offset).await;
        Ok(found.map_err(|error| format!("{self}: {error}"))?)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// The line of a letter in the list.
fn summary(name: &Name, letter: &Fetched) -> Value {
    let event = serde_json::from_slice(&letter.payload).unwrap_or(Value::Null);
    let number = |header| letter.header(header).and_then(|text| text.parse::<i64>().ok());
    json!({
        "letter": name.to_string(),
        "at": letter.header(AT),
        "reason": letter.header(REASON),
        "group": letter.header(GROUP),
        "key": letter.key,
        "event_type": event["event_type"],
        "event_id": event["event_id"],
        "from": {"topic": letter.header(TOPIC), "partition": number(PARTITION), "offset": number(OFFSET)},
    })
}

fn whole(name: &Name, letter: &Fetched) -> Value {
    let headers: Map<String, Value> = letter.headers.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    // Invalid JSON is often the reason.
    let text = || json!(String::from_utf8_lossy(&letter.payload));
    let payload = serde_json::from_slice(&letter.payload).unwrap_or_else(|_| text());
    json!({"letter": name.to_string(), "key": letter.key, "headers": headers, "payload": payload})
}

/// Prints a line. A closed pipe, as of `head`, is no error.
fn print(line: &str) -> io::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use chrono::Utc;

    fn letter(payload: &'static [u8]) -> Fetched {
        let headers = [(REASON, "no event_type"), (TOPIC, "chat.events"), (PARTITION, "2"), (OFFSET, "7")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let (topic, payload) = ("chat.events.dlq".to_owned(), Bytes::from_static(payload));
        Fetched { topic, partition: 0, offset: 17, key: "5".into(), payload, headers, at: Utc::now() }
    }

    #[test]
    fn the_name_in_the_list_identifies_a_letter() {
        let name = Name::of("chat.events", &letter(b"{}"));
        assert_eq!(summary(&name, &letter(b"{}"))["letter"], "chat.events/0/17");
        assert_eq!(Name::read("chat.events/0/17"), Some(name));
        assert_eq!([Name::read("17"), Name::read("0/17"), Name::read("chat.events/a/17")], [None, None, None]);
    }

    #[test]
    fn a_letter_that_is_not_json_is_shown_as_text() {
        let name = Name::of("chat.events", &letter(b""));
        assert_eq!(summary(&name, &letter(b"no event"))["event_type"], Value::Null);
        assert_eq!(whole(&name, &letter(b"no event"))["payload"], "no event");
        assert_eq!(whole(&name, &letter(br#"{"n":1}"#))["payload"], json!({"n": 1}));
        assert_eq!(whole(&name, &letter(b"{}"))["headers"][REASON], "no event_type");
    }

    #[test]
    fn only_topics_with_dead_letters_are_listed() {
        let names = TopicNames::default();
        assert_eq!(chosen(&names, &[]).unwrap().len(), 5);
        assert_eq!(chosen(&names, &["chat.events".to_owned()]).unwrap(), ["chat.events"]);
        let rejected = chosen(&names, &["chat.events.dlq".to_owned()]).unwrap_err().to_string();
        assert!(rejected.starts_with("\"chat.events.dlq\" has no dead letters"), "{rejected}");
    }
}
