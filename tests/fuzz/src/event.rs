//! Events from Kafka.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use common::events::Event;
use common::events::chat::{
    ChatRoomCreated, MemberAdded, MemberLeft, MessageDeleted, MessageEdited, MessageSent, MessagesRead, ReactionChanged,
};
use common::events::friend::{
    FriendRemoved, FriendRequestAccepted, FriendRequestCancelled, FriendRequestRejected, FriendRequestSent,
    UserBlocked, UserUnblocked,
};
use common::events::user::{UserOnlineStatusChanged, UserProfileUpdated, UserRegistered};
use engines::kafka::received::Received;
use engines::kafka::record::Fetched;
use uuid::Uuid;

/// An event that can be read can be published and read again, with the same content.
pub fn event(bytes: &[u8]) {
    let Ok(received) = Received::read(record(Bytes::copy_from_slice(bytes))) else { return };
    macro_rules! republish {
        ($($event:ty),*) => { $(if received.is::<$event>() { republish::<$event>(&received); })* };
    }
    republish!(ChatRoomCreated, MemberAdded, MemberLeft);
    republish!(MessageDeleted, MessageEdited, MessageSent, MessagesRead, ReactionChanged);
    republish!(FriendRequestAccepted, FriendRequestCancelled, FriendRequestRejected, FriendRequestSent);
    republish!(FriendRemoved, UserBlocked, UserUnblocked);
    republish!(UserOnlineStatusChanged, UserProfileUpdated, UserRegistered);
}

fn republish<E: Event>(received: &Received) {
    let Ok(event) = received.decode::<E>() else { return };
    let encode = |event: &E| common::events::encode(Uuid::nil(), Some(1), DateTime::UNIX_EPOCH, event).unwrap();
    let once = encode(&event);
    let again = Received::read(record(once.clone().into())).expect("a published event is an event");
    assert_eq!(encode(&again.decode().expect("a published event can be decoded")), once);
    event.key();
}

fn record(payload: Bytes) -> Fetched {
    let at = DateTime::<Utc>::UNIX_EPOCH;
    Fetched { topic: "t".into(), partition: 0, offset: 0, key: String::new(), payload, headers: Vec::new(), at }
}
