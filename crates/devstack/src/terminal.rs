//! Output on the terminal. A terminal that is gone does not stop the program.

use std::io::{self, Write};
use std::time::Duration;

use tokio::time::{Instant, interval_at};

const PROGRESS_EVERY: Duration = Duration::from_secs(10);

pub fn print(line: &str) {
    print_raw(format!("{line}\n").as_bytes());
}

/// Prints the output of another program as it is.
pub fn print_raw(output: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(output).and_then(|()| out.flush());
}

pub fn print_error(line: &str) {
    let _ = writeln!(io::stderr(), "error: {line}");
}

/// Prints a line about one component.
pub fn print_about(name: &str, text: &str) {
    print(&format!("  {name:<18} {text}"));
}

/// Prints that a step is done, and how long it took.
pub fn print_step(name: &str, text: &str, since: Instant) {
    print_about(name, &format!("{text} ({:.1} s)", since.elapsed().as_secs_f32()));
}

/// Prints what a component waits for, at once and every 10 s until `work` is done.
pub async fn with_progress<T>(name: &str, activity: &str, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    print_about(name, activity);
    let mut ticks = interval_at(started + PROGRESS_EVERY, PROGRESS_EVERY);
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = ticks.tick() => print_about(name, &format!("still {activity} ({} s)", started.elapsed().as_secs())),
        }
    }
}

/// Text without the escape sequences of colours and erased lines.
pub fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\x1b' => match chars.next() {
                // A control sequence ends with a letter.
                Some('[') => drop(chars.find(char::is_ascii_alphabetic)),
                // The choice of a character set, with which libtest resets colours, is one more character.
                Some('(') => drop(chars.next()),
                _ => {}
            },
            char => plain.push(char),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_removed_and_the_text_stays() {
        assert_eq!(without_escapes("test a ... \x1b[31mFAILED\x1b(B\x1b[m"), "test a ... FAILED");
        assert_eq!(without_escapes("\x1b[K\x1b[1m\x1b[32m   Running\x1b[0m x"), "   Running x");
    }
}
