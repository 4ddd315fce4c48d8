//! Output: results on stdout, progress on stderr. A terminal that is gone does not stop the benchmark.

use std::io::{self, IsTerminal, Write};

pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

pub fn print_error(text: &str) {
    let _ = writeln!(io::stderr(), "error: {text}");
}

/// A line on stderr that stays.
pub fn note(text: &str) {
    let erase = if io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
    let _ = writeln!(io::stderr(), "{erase}{text}");
}

/// A line on stderr that the next one replaces. Without a terminal, it is printed only if `lasting` is set.
pub fn progress(text: &str, lasting: bool) {
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
    } else if lasting {
        let _ = writeln!(err, "{text}");
    }
}

/// Removes the line of `progress`.
pub fn clear_progress() {
    progress("", false);
}
