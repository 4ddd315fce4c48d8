//! The check of a file after its message is sent, and the picture that it finds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The longest sides of the thumbnails in pixels, in rising order.
pub const THUMBNAILS: [u32; 2] = [320, 1_280];

/// Whether a file can be downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// It is checked.
    Pending,
    Ready,
    /// The scanner found something in it, or its content is not the one that was announced. Its bytes are removed.
    Rejected,
}

impl FileState {
    /// The state with this name; none for an unknown one.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Ready, Self::Rejected].into_iter().find(|state| state.as_str() == name)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Rejected => "rejected",
        }
    }
}

/// A file that is shown as a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Picture {
    /// In pixels, as the picture is shown.
    #[schema(example = 4032)]
    pub width: u32,
    /// In pixels, as the picture is shown.
    #[schema(example = 3024)]
    pub height: u32,
    /// A tiny picture as a `data:` URL of at most 1,000 characters, for the time until a thumbnail is loaded. May be empty.
    #[schema(example = "data:image/webp;base64,UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")]
    pub preview: String,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckedFile {
    Rejected,
    /// A file that is as it was sent, and has no picture.
    Plain,
    /// An image without its metadata, and the size that is left. It has no picture if it could not be decoded.
    Image {
        picture: Option<Picture>,
        bytes: i64,
    },
}
