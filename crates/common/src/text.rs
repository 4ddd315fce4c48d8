//! Texts of people: the form in which they are compared, which of them show nothing, and which change the direction of their
//! surroundings.

use std::borrow::Cow;

use icu_casemap::CaseMapper;
use icu_properties::props::{BinaryProperty, DefaultIgnorableCodePoint};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The form in which texts are compared without regard to case: Unicode's full case folding over NFC, in NFC.
///
/// It equates `Straße` with `STRASSE`, both forms of the Greek sigma, and texts that differ only in whether a letter and its
/// accent are one character. The dot that folding leaves above the i of `İstanbul` is dropped, because an i shows its dot
/// anyway: `istanbul` finds it. The dotless ı is another letter.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let composed = nfc(text);
    let folded = CaseMapper::new().fold_string(&composed);
    nfc(&without_dots(&folded)).into_owned()
}

/// The text in NFC.
pub fn nfc(text: &str) -> Cow<'_, str> {
    if is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

/// The text without each U+0307 that follows an i.
fn without_dots(text: &str) -> Cow<'_, str> {
    if !text.contains("i\u{307}") {
        return Cow::Borrowed(text);
    }
    let mut after_i = false;
    let kept = text.chars().filter(|c| {
        let is_dot = after_i && *c == '\u{307}';
        after_i = *c == 'i' || is_dot;
        !is_dot
    });
    Cow::Owned(kept.collect())
}

/// Whether a text has no visible character: it consists of white space and of characters without a glyph, such as U+200B or the Hangul
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

    #[test]
    fn texts_that_differ_in_case_or_normalization_have_one_form() {
        for (text, form) in [
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("STRA\u{1e9e}E", "strasse"),
            ("ΟΔΟΣ", "οδοσ"),
            ("οδος", "οδοσ"),
            ("İstanbul", "istanbul"),
            ("I\u{307}STANBUL", "istanbul"),
            ("ıstanbul", "ıstanbul"),
            ("i\u{307}\u{301}", "í"),
            ("E\u{301}mile", "émile"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("ﬁn", "fin"),
            ("ЁЛКА", "ёлка"),
            ("\u{1fbc}", "αι"),
            ("Ａ", "ａ"),
        ] {
            assert_eq!(fold(text), form, "{text}");
        }
    }

    #[test]
    fn folding_any_single_character_twice_changes_nothing() {
        for c in '\0'..='\u{2FFFF}' {
            let once = fold(c.encode_utf8(&mut [0; 4]));
            assert_eq!(fold(&once), once, "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn the_form_of_a_form_is_itself(text in "[iıİIsßſΣς\u{301}\u{307}\u{327}\u{345}αᾼ가\u{1112}\u{1161}]{0,12}|\\PC{0,20}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn every_normalization_of_a_text_has_one_form(text in "\\PC{0,20}") {
            prop_assert_eq!(fold(&text.nfd().collect::<String>()), fold(&text));
            prop_assert_eq!(fold(&text.nfc().collect::<String>()), fold(&text));
        }

        #[test]
        fn a_letter_or_a_digit_always_shows(before in "\\PC{0,4}", c in "[\\p{L}\\p{N}&&[^\u{115f}\u{1160}\u{3164}\u{ffa0}]]") {
            prop_assert!(!is_blank(&(before + &c)));
        }
    }
}
