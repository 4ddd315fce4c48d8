//! Times as MongoDB holds them: whole milliseconds.

use chrono::{DateTime, Utc};
use mongodb::bson;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Now, as it will be read again.
pub fn now() -> DateTime<Utc> {
    from_bson(to_bson(Utc::now()))
}

pub fn to_bson(time: DateTime<Utc>) -> bson::DateTime {
    bson::DateTime::from_millis(time.timestamp_millis())
}

fn from_bson(time: bson::DateTime) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.timestamp_millis()).unwrap_or_default()
}

pub fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    to_bson(*time).serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    bson::DateTime::deserialize(deserializer).map(from_bson)
}

/// The same for a time that may be absent.
pub mod optional {
    use super::*;

    pub fn serialize<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(to_bson).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
        Ok(Option::<bson::DateTime>::deserialize(deserializer)?.map(from_bson))
    }
}
