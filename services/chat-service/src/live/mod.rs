//! The live stream: the log is the truth, everything else a hint that there is more of it.
//!
//! A subscriber is a position: it replays from the store up to the live edge and then follows the [`Hub`], which keeps
//! the newest positions of each room that someone listens to. Own writes enter it right after their commit, those of
//! other replicas by Kafka. What is missing in between is read from the log, once per room. Should every hint fail, the
//! heads are looked at every two seconds. So delivery is exact and in order, although every hop is at least once.

mod frame;
mod hub;
mod streams;
mod subscriber;
mod window;

pub use hub::Hub;
pub use streams::{OpenStream, Streams};
pub use subscriber::Subscriber;
