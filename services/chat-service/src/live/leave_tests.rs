//! A reader who leaves a room before the client has taken all events that are at hand.

use std::pin::pin;
use std::sync::Arc;

use axum::response::sse::Event;
use common::error::Result;
use common::id::{RoomId, UserId};
use futures_util::{FutureExt, Stream, StreamExt};
use prometheus::{Histogram, HistogramOpts, IntGauge};
use service::auth::CurrentUser;
use tokio_util::sync::CancellationToken;

use super::feed::Feed;
use super::{AllRoomsReader, Hub, Join, MembershipChange, RoomReader, Scope, StreamLimits, Subscribers, Usage};
use crate::store::{Epoch, Log, Messages, Snapshots, StoreClock};
use crate::wire::Frame;

const ROOM: RoomId = RoomId(7);
const ANN: UserId = UserId(1);

/// A room with a started feed, whose readers ask no store.
struct Live {
    hub: Hub,
    feed: Arc<Feed>,
    subscribers: Subscribers,
    snapshots: Snapshots,
    epoch: Epoch,
}

impl Live {
    async fn start() -> Self {
        let client = mongodb::Client::with_uri_str("mongodb://127.0.0.1:1").await.unwrap();
        let database = client.database("test");
        let delays = Histogram::with_opts(HistogramOpts::new("delays", "Delays")).unwrap();
        let hub = Hub::new(Log::new(&database), Messages::new(&database), delays, 1 << 20);
        let much = Usage { streams: 10, rooms: 10 };
        let limits = StreamLimits { user: much, network: None, replica: much };
        let gauge = IntGauge::new("streams", "Open streams").unwrap();
        let subscribers = Subscribers::new(limits, None, gauge, CancellationToken::new());
        let snapshots = Snapshots::new(&database, StoreClock::new(&database));
        let epoch = serde_json::from_value(serde_json::json!(1)).unwrap();
        Self { feed: hub.start_feed(ROOM), hub, subscribers, snapshots, epoch }
    }

    fn subscribe(&self, scope: Scope) -> super::subscribers::Subscription {
        let user = CurrentUser { id: ANN, username: None, session: "s".into(), expires_at: i64::MAX, sid: None };
        self.subscribers.open(&user, scope).unwrap()
    }

    async fn room_reader(&self) -> impl Stream<Item = Result<Event>> {
        let subscription = self.subscribe(Scope::Room(ROOM));
        RoomReader::start(&self.hub, subscription, ROOM, self.epoch, None).await.unwrap().events()
    }

    async fn all_rooms_reader(&self) -> impl Stream<Item = Result<Event>> {
        let subscription = self.subscribe(Scope::AllRooms);
        AllRoomsReader::unstored(&self.hub, &self.snapshots, subscription, ROOM, self.epoch).await.unwrap().events()
    }

    /// Sends three messages.
    fn send_messages(&self) {
        for position in 1..=3 {
            let event = Event::default().data("message");
            self.feed.offer(Frame { position, event, bytes: 1, sent_at: None, roster_change: None });
        }
    }

    /// Sends three events without a position.
    fn send_events(&self) {
        for _ in 0..3 {
            self.feed.broadcast(|| Event::default().data("typing"));
        }
    }

    fn leave(&self) {
        self.subscribers.set_membership(ANN, ROOM, &MembershipChange::Left(Event::default().data("left")));
    }

    fn come_back(&self, after: i64) {
        self.subscribers.set_membership(ANN, ROOM, &MembershipChange::Joined(Join { after, created: None }));
    }
}

/// Takes one event, leaves, and returns how many more events the stream has.
async fn after_leaving(live: &Live, events: impl Stream<Item = Result<Event>>) -> usize {
    let mut events = pin!(events);
    assert!(events.next().await.is_some_and(|event| event.is_ok()));
    live.leave();
    let mut more = 0;
    while let Some(Some(Ok(_))) = events.next().now_or_never() {
        more += 1;
    }
    more
}

#[tokio::test]
async fn the_stream_of_a_room_has_no_event_after_the_reader_has_left() {
    for send in [Live::send_messages, Live::send_events] {
        let live = Live::start().await;
        let events = live.room_reader().await;
        send(&live);
        assert_eq!(after_leaving(&live, events).await, 0);
    }
}

#[tokio::test]
async fn the_stream_of_all_rooms_tells_a_leave_and_has_no_other_event_after_it() {
    for send in [Live::send_messages, Live::send_events] {
        let live = Live::start().await;
        let events = live.all_rooms_reader().await;
        send(&live);
        assert_eq!(after_leaving(&live, events).await, 1, "the end of the membership");
    }
}

#[tokio::test]
async fn the_stream_of_all_rooms_tells_a_leave_that_a_return_follows_before_the_next_event_is_taken() {
    let live = Live::start().await;
    let mut events = pin!(live.all_rooms_reader().await);
    assert!(events.next().now_or_never().is_none(), "nothing has happened");

    live.leave();
    live.come_back(3);

    assert!(events.next().now_or_never().is_some(), "the end of the first membership");
    assert!(events.next().now_or_never().is_none(), "the stream has the room again");
    live.send_events();
    assert!(events.next().now_or_never().is_some(), "an event of the second one");
}

#[tokio::test]
async fn a_stream_that_opened_after_a_return_is_not_told_of_the_leave_before_it() {
    let live = Live::start().await;
    let mut events = pin!(live.all_rooms_reader().await);

    live.leave();
    // The join with which the stream has begun.
    live.come_back(-1);

    assert!(events.next().now_or_never().is_none());
    live.send_events();
    assert!(events.next().now_or_never().is_some(), "an event of the membership");
}
