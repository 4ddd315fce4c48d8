//! Texts of errors for the log, without the values that they quote.
//!
//! Libraries quote what they could not read or store: a message, an e-mail address, a name.

/// The text without everything between its first and its last quotation mark.
pub fn without_values(text: &str) -> String {
    let is_mark = |c: char| matches!(c, '"' | '\'' | '`');
    match (text.find(is_mark), text.rfind(is_mark)) {
        (Some(first), Some(last)) => format!("{}…{}", &text[..first], &text[last + 1..]),
        _ => text.to_owned(),
    }
}

/// The text of an error of serde_json: the kind of the problem, the position, and the name of a missing field, which is
/// not part of the input.
pub fn json_problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field `") { text } else { without_values(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only read")]
        id: i64,
        #[expect(dead_code, reason = "only read")]
        kind: Kind,
    }

    #[derive(Debug, Deserialize)]
    enum Kind {
        Known,
    }

    #[test]
    fn values_between_quotation_marks_are_left_out() {
        for (text, shown) in [
            ("no quotation marks", "no quotation marks"),
            ("dup key: { name: \"ann\" }", "dup key: { name: … }"),
            ("inside 'é' (bytes 0..2) of `émile`", "inside …"),
            ("it's", "it…s"),
            ("a \"b\\\"c\" d", "a … d"),
        ] {
            assert_eq!(without_values(text), shown);
        }
    }

    #[test]
    fn the_text_of_a_json_error_has_no_value_of_the_input() {
        for (json, shown) in [
            (r#"{"id": "ann@example.com"}"#, "invalid type: string …, expected i64 at line 1 column 24"),
            (r#"{"id": "a \" b"}"#, "invalid type: string …, expected i64 at line 1 column 15"),
            (r#"{"id": 1, "kind": "ann"}"#, "unknown variant … at line 1 column 23"),
            (r#"{"ann@example.com": 1}"#, "unknown field … at line 1 column 18"),
            (r#"{"id": 1}"#, "missing field `kind` at line 1 column 9"),
            ("ann", "expected value at line 1 column 1"),
        ] {
            assert_eq!(json_problem(&serde_json::from_str::<Sample>(json).unwrap_err()), shown);
        }
        assert!(serde_json::from_str::<Sample>(r#"{"id": 1, "kind": "Known"}"#).is_ok());
    }
}
