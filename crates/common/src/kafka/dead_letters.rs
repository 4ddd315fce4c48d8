//! Dead letters: records that no try could work off, kept with the reason, to be looked at and sent again.

use chrono::{SecondsFormat, Utc};

use crate::kafka::producer::Record;
use crate::kafka::record::Fetched;
use crate::kafka::topics::TopicNames;

pub const REASON: &str = "x-dlq-reason";
pub const GROUP: &str = "x-dlq-group";
pub const TOPIC: &str = "x-dlq-topic";
pub const PARTITION: &str = "x-dlq-partition";
pub const OFFSET: &str = "x-dlq-offset";
pub const AT: &str = "x-dlq-at";

/// Brokers refuse a record above 1 MB, and a reason can be a whole stack of causes.
const REASON_CHARS: usize = 1_000;

/// A record as it lies among the dead letters: untouched, with headers that say where it was and why it is here.
pub(super) fn record(dead: &Fetched, group: &str, reason: &str) -> Record {
    let mut headers: Vec<_> = dead.headers.iter().filter(|(name, _)| !name.starts_with("x-dlq-")).cloned().collect();
    let why = [
        (REASON, reason.chars().take(REASON_CHARS).collect()),
        (GROUP, group.to_owned()),
        (TOPIC, dead.topic.clone()),
        (PARTITION, dead.partition.to_string()),
        (OFFSET, dead.offset.to_string()),
        (AT, Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)),
    ];
    headers.extend(why.map(|(name, value)| (name.to_owned(), value)));
    let topic = TopicNames::dead_letters(&dead.topic);
    Record { topic, key: dead.key.clone(), payload: dead.payload.clone(), headers }
}
