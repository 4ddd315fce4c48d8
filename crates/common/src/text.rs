//! Texts of people: which show nothing, and which change the direction of their surroundings.

use icu_properties::props::{BinaryProperty, DefaultIgnorableCodePoint};

/// Whether a text shows nothing: it consists of white space and of characters without a glyph, such as U+200B or the Hangul
/// filler U+3164. Such a text counts as empty.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.is_control() || has_no_glyph(c))
}

/// The Braille pattern without dots, the musical null notehead, and the marks of annotations show nothing either, although
/// Unicode does not let them be ignored.
fn has_no_glyph(c: char) -> bool {
    DefaultIgnorableCodePoint::for_char(c) || matches!(c, '\u{2800}' | '\u{1D159}' | '\u{FFF9}'..='\u{FFFB}')
}

/// Whether a text contains an embedding, an override or an isolate of the direction. One that is not closed reverses the text
/// after it. The marks U+200E, U+200F and U+061C affect only their neighbors.
pub fn changes_direction(text: &str) -> bool {
    text.contains(|c| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn characters_without_a_glyph_show_nothing() {
        for text in ["", " \n\t\u{3000}", "\u{200b}", "\u{feff}", "\u{2060}", "\u{2800}", "\u{3164}", "\u{ad}", "\u{0}"]
        {
            assert!(is_blank(text), "{text:?}");
            assert!(is_blank(&format!(" {text}\u{200d}{text}\u{2028}\u{fe0f}")), "{text:?}");
            assert!(!is_blank(&format!("{text}가{text}")), "{text:?}");
        }
    }

    #[test]
    fn text_in_any_script_shows_something() {
        for text in [".", "ㅋ", "👩‍💻", "❤\u{fe0f}", "🏴\u{e0067}\u{e0062}\u{e007f}", "⠿", "ـ", "\u{301}"]
        {
            assert!(!is_blank(text), "{text:?}");
        }
    }

    #[test]
    fn embeddings_overrides_and_isolates_change_the_direction() {
        for c in ['\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}'] {
            assert!(changes_direction(&format!("gro{c}up")), "{c:?}");
        }
        for text in ["שלום", "العربية", "\u{200f}a\u{200e}", "group"] {
            assert!(!changes_direction(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_letter_or_a_digit_always_shows(before in "\\PC{0,4}", c in "[\\p{L}\\p{N}&&[^\u{115f}\u{1160}\u{3164}\u{ffa0}]]") {
            prop_assert!(!is_blank(&(before + &c)));
        }
    }
}
