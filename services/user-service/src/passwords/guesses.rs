//! The estimate of how many guesses find a password.

/// Words about the user and this system that are shorter do not count: with `test` among them, `Test1234!@` would be
/// refused, which clients of the original use, and every common word would be part of someone's name.
const MIN_WORD_CHARS: usize = 5;

/// Words about the user and this system that count.
const MAX_WORDS: usize = 20;

/// The characters that are estimated at once. The time of an estimate grows with the cube of the length and more: 20
/// characters take at most about 15 ms, and 67 took 1.3 s.
const PART_CHARS: usize = 20;

/// About how many guesses find a password: zxcvbn's estimate of the first 20 and of the last 20 characters, the higher
/// one. An attacker guesses common passwords, names, dates, rows of the keyboard and the words `about` the user first.
pub(super) fn guesses(password: &str, about: &[String]) -> u64 {
    let words: Vec<&str> =
        about.iter().map(String::as_str).filter(|word| word.chars().count() >= MIN_WORD_CHARS).collect();
    let words = &words[..words.len().min(MAX_WORDS)];
    let chars: Vec<char> = password.chars().collect();
    let estimate = |part: &[char]| zxcvbn::zxcvbn(&part.iter().collect::<String>(), words).guesses();
    let length = chars.len().min(PART_CHARS);
    let first = estimate(&chars[..length]);
    if chars.len() == length { first } else { first.max(estimate(&chars[chars.len() - length..])) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    const THRESHOLD: u64 = 100_000;

    fn is_common(password: &str, about: &[&str]) -> bool {
        let about: Vec<String> = about.iter().map(|word| (*word).to_owned()).collect();
        guesses(password, &about) < THRESHOLD
    }

    #[test]
    fn common_passwords_and_their_variants_are_common() {
        for password in [
            "P@ssw0rd",
            "Passw0rd!",
            "Password1!",
            "Password123!",
            "Qwerty123!",
            "qwer1234!",
            "1q2w3e4r!",
            "Welcome1!",
            "iloveyou1!",
            "passwordpassword",
            "123456789012345",
            &"a".repeat(128),
        ] {
            assert!(is_common(password, &[]), "{password}");
        }
    }

    #[test]
    fn the_passwords_of_the_original_and_unusual_ones_are_not_common() {
        let about = ["testuser", "test", "BigTech", "Chat"];
        for password in
            ["Test1234!@", "Test1234!", "An0ther-one!", "비밀번호일이삼사1!", "three blue cars", "Ta11-tulips!"]
        {
            assert!(!is_common(password, &about), "{password}");
        }
        assert!(!is_common(&format!("{}Ta11-tulips!", "a".repeat(100)), &[]), "its end is unusual");
    }

    #[test]
    fn the_name_of_the_user_and_of_the_system_are_common() {
        assert!(is_common("Kim_minjun1!", &["kim_minjun"]) && !is_common("Kim_minjun1!", &["lee_seoyeon"]));
        assert!(is_common("BigTech1!", &["BigTech"]));
    }

    #[test]
    fn the_slowest_texts_take_a_bounded_time() {
        let started = Instant::now();
        for text in ["4[@!+060+|370$<19(21", "4@8({[<369|1!70$5+%2", "aA4@aA4@aA4@aA4@aA4@"] {
            guesses(&text.repeat(6), &[]);
        }
        // 0.1 s on an idle machine. Without the bound of the length, one of them takes over a minute.
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_estimate_panic(text in "\\PC{1,30}|[a-zA-Z0-9!@$é\u{301}\u{130}]{1,30}|.{1,30}", word in "\\PC{0,20}") {
            guesses(&text, &[word]);
        }
    }
}
