//! Panics in the log.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};

use common::error::without_values;

/// Logs panics in place of the text that the standard library prints, which can quote a value: a slice that cuts a
/// character quotes the whole text. A backtrace is added if `RUST_BACKTRACE` asks for it.
pub(super) fn log() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(location, backtrace, panic = text(panic.payload()), "panicked");
    }));
}

/// The text of a panic without values.
pub(crate) fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    without_values(text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn the_text_of_a_panic_has_no_value() {
        let name = "émile@example.com".to_owned();
        let boundary = catch_unwind(|| name[1..].len()).unwrap_err();
        assert!(!text(&*boundary).contains("example"), "{}", text(&*boundary));
        let literal = catch_unwind(|| panic!("a fault")).unwrap_err();
        assert_eq!(text(&*literal), "a fault");
    }
}
