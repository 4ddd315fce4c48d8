//! Text in HTML. Names of processes, errors and addresses come from outside.

/// Text as content of an element or value of a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // HTML has no such characters.
            char if char.is_control() && char != '\n' && char != '\t' => escaped.push('\u{fffd}'),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        assert_eq!(escape("<b a=\"1\" b='2'>&"), "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;");
        assert_eq!(escape("채팅 99.9 %"), "채팅 99.9 %");
        assert_eq!(escape("a\0b\u{1b}[31m"), "a\u{fffd}b\u{fffd}[31m");
    }
}
