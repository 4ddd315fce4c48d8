//! Files of messages: their names, types and limits, and how a browser may show them. Rules only, no I/O.

use std::fmt::Write;

use axum::http::StatusCode;
use common::error::{Error, Result};
use common::input::Breach;
use common::text::{changes_direction, is_blank, nfc};

use super::message::MessageType;

/// The greatest number of code points in a name, in NFC. Most file systems allow 255 bytes, which are 85 Hangul syllables.
const MAX_NAME_CHARS: usize = 200;

/// The greatest length of each half of a media type, by RFC 6838.
const MAX_TYPE_CHARS: usize = 127;

/// The types that are shown as pictures: browsers know them, they run no code as an SVG can, and chat-service decodes them.
const IMAGES: [&str; 4] = ["image/gif", "image/jpeg", "image/png", "image/webp"];

/// Types that a browser may run or take for a page. The answer to a download names no such type.
const ACTIVE: [&str; 8] = [
    "application/ecmascript",
    "application/javascript",
    "application/xhtml+xml",
    "application/xml",
    "image/svg+xml",
    "text/html",
    "text/javascript",
    "text/xml",
];

/// The name of a file, in NFC: one line, without a path, and not reversed by characters that change the direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// # Errors
    /// Refuses a name that is empty or too long, is a path, or has characters that hide its end.
    pub fn parse(name: &str) -> Result<Self, Breach> {
        let name = nfc(name.trim()).into_owned();
        if is_blank(&name) || [".", ".."].contains(&name.as_str()) {
            return Err(Breach("The file name must contain a visible character"));
        }
        if name.chars().count() > MAX_NAME_CHARS {
            return Err(Breach("The file name must have at most 200 characters"));
        }
        if name.contains(['/', '\\']) {
            return Err(Breach("The file name must not contain a path"));
        }
        if name.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
            return Err(Breach("The file name must not contain control characters"));
        }
        if changes_direction(&name) || name.contains(['\u{200E}', '\u{200F}', '\u{061C}']) {
            return Err(Breach("The file name must not contain characters that change the direction"));
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The media type of a file in lower case, without parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileType(String);

impl FileType {
    /// # Errors
    /// Refuses a text that is not of the form `type/subtype`.
    pub fn parse(text: &str) -> Result<Self, Breach> {
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.split_once('/') {
            Some((kind, subtype)) if is_token(kind) && is_token(subtype) => Ok(Self(essence)),
            _ => Err(Breach("The file type must be a media type, such as image/png")),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_image(&self) -> bool {
        IMAGES.contains(&self.as_str())
    }
}

/// Whether a half of a media type has the characters of RFC 6838.
fn is_token(half: &str) -> bool {
    (1..=MAX_TYPE_CHARS).contains(&half.len())
        && half.starts_with(|c: char| c.is_ascii_alphanumeric())
        && half.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
}

/// The files that this deployment accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// The greatest size of an image in bytes.
    pub image_bytes: u64,
    /// The greatest size of another file in bytes.
    pub file_bytes: u64,
    /// The greatest size of all files of a user in bytes.
    pub quota_bytes: u64,
    /// The accepted types: `image/png`, or `image/*` for all of a kind.
    pub types: Vec<String>,
}

impl FileLimits {
    /// The greatest size of a file of a type in bytes.
    pub fn bytes_of(&self, file_type: &FileType) -> u64 {
        if file_type.is_image() { self.image_bytes } else { self.file_bytes }
    }

    /// # Errors
    /// Refuses a type that is not accepted, and a file that is too large for its type.
    pub fn admit(&self, file_type: &FileType, bytes: u64) -> Result<()> {
        if !self.types.iter().any(|accepted| matches(accepted, file_type)) {
            let message = "Files of this type are not accepted";
            return Err(Error::refused(StatusCode::BAD_REQUEST, "FILE_TYPE_NOT_ALLOWED", message));
        }
        let limit = self.bytes_of(file_type);
        if bytes > limit {
            let message = format!("A file of this type has at most {limit} bytes");
            return Err(Error::refused(StatusCode::BAD_REQUEST, "FILE_TOO_LARGE", message));
        }
        Ok(())
    }
}

fn matches(accepted: &str, file_type: &FileType) -> bool {
    match accepted.strip_suffix("/*") {
        Some(kind) => file_type.as_str().split_once('/').is_some_and(|(found, _)| found == kind),
        None => accepted == file_type.as_str(),
    }
}

/// # Errors
/// Refuses a type of messages that cannot have this file.
pub fn allow_file_in(message: MessageType, file_type: &FileType) -> Result<()> {
    let refusal = match message {
        MessageType::File => return Ok(()),
        MessageType::Image if file_type.is_image() => return Ok(()),
        MessageType::Image => "The file of an image message must be a GIF, JPEG, PNG or WebP image",
        MessageType::Text | MessageType::System => "Only messages of the types image and file can have a file",
    };
    Err(Error::refused(StatusCode::BAD_REQUEST, "INVALID_INPUT", refusal))
}

/// The headers with which the store answers a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadHeaders {
    pub content_type: String,
    pub disposition: String,
}

impl DownloadHeaders {
    /// A checked picture is shown, any other file is saved. No answer has a type that a browser would run.
    pub fn of(name: &str, file_type: &str, is_picture: bool) -> Self {
        let kind = if is_picture { "inline" } else { "attachment" };
        let is_active = ACTIVE.contains(&file_type) || file_type.ends_with("+xml");
        let content_type = if is_active { "application/octet-stream" } else { file_type };
        Self { content_type: content_type.to_owned(), disposition: disposition(kind, name) }
    }
}

/// `Content-Disposition` by RFC 6266: the name in UTF-8 by RFC 8187, and an approximation in ASCII for old clients.
fn disposition(kind: &str, name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && !['"', '\\', '%'].contains(&c) || c == ' ';
    let ascii: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mut text = format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file_type(text: &str) -> FileType {
        FileType::parse(text).unwrap()
    }

    #[test]
    fn a_name_is_one_line_without_a_path() {
        for name in ["휴가 사진.png", "a", ".env", "report (1).pdf", "שלום.txt", "a'b\"c;d%.txt", "👩‍💻.png"]
        {
            assert_eq!(FileName::parse(name).unwrap().as_str(), name);
        }
        for name in ["", "  ", "\u{200b}", ".", "..", "../a", "a/b", "C:\\a", "a\nb", "a\u{0}", "a\u{2028}b", "a\u{7f}"]
        {
            assert!(FileName::parse(name).is_err(), "{name:?}");
        }
        for name in ["gpj.\u{202e}exe", "\u{2066}a", "a\u{200f}", "a\u{200e}b", "\u{61c}a"] {
            assert!(FileName::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_name_is_stored_in_nfc_without_white_space_at_its_ends_and_limited_in_code_points() {
        assert_eq!(FileName::parse(" \u{1112}\u{1161}\u{11ab}.txt ").unwrap().as_str(), "한.txt");
        let longest = "\u{1112}\u{1161}\u{11ab}".repeat(200);
        assert_eq!(FileName::parse(&longest).unwrap().as_str().chars().count(), 200);
        assert!(FileName::parse(&"가".repeat(201)).is_err());
    }

    #[test]
    fn a_type_has_two_halves_and_no_parameters() {
        assert_eq!(file_type("Text/Plain; charset=utf-8").as_str(), "text/plain");
        assert_eq!(file_type("application/vnd.ms-excel").as_str(), "application/vnd.ms-excel");
        for invalid in ["", "image", "image/", "/png", "image/png/x", "image/p ng", "image/\r\nx", "한/글", "*/*"] {
            assert!(FileType::parse(invalid).is_err(), "{invalid:?}");
        }
        assert!(FileType::parse(&format!("image/{}", "x".repeat(128))).is_err());
    }

    #[test]
    fn the_size_is_limited_by_the_type() {
        let types = vec!["image/*".to_owned(), "text/plain".to_owned()];
        let limits = FileLimits { image_bytes: 10, file_bytes: 100, quota_bytes: 1_000, types };
        assert!(limits.admit(&file_type("image/png"), 10).is_ok());
        assert!(limits.admit(&file_type("image/png"), 11).is_err());
        assert!(limits.admit(&file_type("image/tiff"), 100).is_ok(), "browsers do not show it");
        assert!(limits.admit(&file_type("text/plain"), 100).is_ok());
        assert!(limits.admit(&file_type("text/plain"), 101).is_err());
        assert!(limits.admit(&file_type("text/html"), 1).is_err());
    }

    #[test]
    fn only_images_and_files_have_a_file() {
        let (png, svg) = (file_type("image/png"), file_type("image/svg+xml"));
        assert!(allow_file_in(MessageType::Image, &png).is_ok());
        assert!(allow_file_in(MessageType::Image, &svg).is_err());
        assert!(allow_file_in(MessageType::File, &svg).is_ok());
        assert!(allow_file_in(MessageType::Text, &png).is_err());
        assert!(allow_file_in(MessageType::System, &png).is_err());
    }

    #[test]
    fn a_name_in_korean_is_encoded_and_approximated() {
        let headers = DownloadHeaders::of("휴가 1.png", "image/png", true);
        let expected = "inline; filename=\"__ 1.png\"; filename*=UTF-8''%ED%9C%B4%EA%B0%80%201.png";
        assert_eq!((headers.disposition.as_str(), headers.content_type.as_str()), (expected, "image/png"));
        let quoted = DownloadHeaders::of("a\"; b=\\%.txt", "text/plain", false).disposition;
        assert_eq!(quoted, "attachment; filename=\"a_; b=__.txt\"; filename*=UTF-8''a%22%3B%20b%3D%5C%25.txt");
    }

    #[test]
    fn a_file_that_a_browser_would_run_is_saved_without_its_type() {
        for active in ["image/svg+xml", "text/html", "application/xhtml+xml", "application/atom+xml", "text/javascript"]
        {
            let headers = DownloadHeaders::of("a", active, false);
            assert_eq!(headers.content_type, "application/octet-stream", "{active}");
            assert!(headers.disposition.starts_with("attachment; "), "{active}");
        }
        assert!(DownloadHeaders::of("a", "application/pdf", false).disposition.starts_with("attachment; "));
    }

    proptest! {
        #[test]
        fn every_accepted_name_is_one_valid_header(name in "\\PC{1,40}") {
            if let Ok(name) = FileName::parse(&name) {
                let text = DownloadHeaders::of(name.as_str(), "text/plain", false).disposition;
                prop_assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()));
                prop_assert_eq!(text.matches('"').count(), 2);
            }
        }
    }
}
