//! Pictures: their size, preview and thumbnails, and the file without metadata. A client chose all bytes.
//!
//! The header tells the size of the picture, and one that is too large is not decoded. The decoders have more ways to take memory and
//! time than that, so a process of its own runs them, with limits that the system keeps: see [`process`].

mod metadata;
mod process;

use std::io::Cursor;

use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::error::{BoxError, Error};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::domain::{Picture, THUMBNAILS};

pub use process::{COMMAND, PictureProcess, Task, execute};

/// Limit on the pixels of a picture, which is checked before it is decoded.
const MAX_PIXELS: u64 = 40_000_000;

/// Limit on each side. WebP and most cameras stay below.
const MAX_SIDE: u32 = 16_384;

/// Limit on the decoded picture: 40 megapixels in three colours of a byte.
const MAX_DECODED_BYTES: u64 = 128 << 20;

/// Limit on the memory with which the head of a file is read.
const MAX_HEAD_MEMORY: u64 = 1 << 20;

/// The bytes at the start of a file by which its type is recognized, and mostly its size, too.
pub const HEAD_BYTES: u64 = 64 << 10;

/// The longest side of a preview in pixels. It takes about 200 bytes.
const PREVIEW_SIDE: u32 = 24;

/// Begins the text of a preview.
const PREVIEW_PREFIX: &str = "data:image/webp;base64,";

/// Limit on the text of a preview. A larger one is left out.
const MAX_PREVIEW_CHARS: usize = 1_000;

/// The qualities of WebP, from 0 to 100.
const PREVIEW_QUALITY: f32 = 30.0;
const THUMBNAIL_QUALITY: f32 = 78.0;

/// A file without metadata, and what is shown of it.
pub struct Prepared {
    /// None if the picture is not decoded.
    pub picture: Option<Picture>,
    pub file: Vec<u8>,
    /// WebP, in the order of [`THUMBNAILS`]; none without a picture.
    pub thumbnails: Vec<Vec<u8>>,
}

/// Refuses a file that starts as another type than the one that its sender named, and one whose size is over the limits.
///
/// # Errors
/// Refuses with 400. A file whose size is not in its head passes.
pub fn check_head(head: &[u8], file_type: &str) -> Result<(), Error> {
    let refused = |message| Error::refused(StatusCode::BAD_REQUEST, "IMAGE_NOT_VALID", message);
    let format = format_of(head, file_type).map_err(|_| refused("The file is not an image of its type"))?;
    match reader(head, format, MAX_HEAD_MEMORY).into_dimensions() {
        Ok((width, height)) => limit(width, height).map_err(|_| refused("The image has too many pixels")),
        // Large metadata can stand before the size. The check after the send sees all of it.
        Err(_) => Ok(()),
    }
}

/// Decodes a picture, makes what is shown of it, and removes its metadata. A picture that cannot be decoded, is over the limits, or is not
/// to be decoded, only loses its metadata.
///
/// # Errors
/// Returns an error if the file has not the structure of the type.
fn prepare(file: Vec<u8>, file_type: &str, decodes: bool) -> Result<Prepared, BoxError> {
    let format = format_of(&file, file_type)?;
    let decoder = decoder(&file, format).ok();
    let orientation = decoder.as_ref().map_or(Orientation::NoTransforms, |(_, orientation)| *orientation);
    let shown = decoder.filter(|_| decodes).and_then(|(decoder, orientation)| show(decoder, orientation).ok());
    let (picture, thumbnails) = shown.map_or((None, Vec::new()), |(picture, thumbnails)| (Some(picture), thumbnails));
    Ok(Prepared { picture, thumbnails, file: metadata::remove(file, format, orientation)? })
}

/// Makes what is shown of a picture.
fn show(decoder: impl ImageDecoder, orientation: Orientation) -> Result<(Picture, Vec<Vec<u8>>), BoxError> {
    let (width, height) = decoder.dimensions();
    let mut shown = decode(decoder)?;
    shown.apply_orientation(orientation);
    let (width, height) = if lies_on_its_side(orientation) { (height, width) } else { (width, height) };
    let thumbnails = THUMBNAILS.iter().map(|side| webp(&within(&shown, *side), THUMBNAIL_QUALITY));
    let thumbnails = thumbnails.collect::<Result<_, _>>()?;
    Ok((Picture { width, height, preview: preview(&shown)? }, thumbnails))
}

/// The format, if the bytes start with the mark of the named type.
fn format_of(bytes: &[u8], file_type: &str) -> Result<ImageFormat, BoxError> {
    let format = image::guess_format(bytes)?;
    if format.to_mime_type() == file_type { Ok(format) } else { Err("the file has another type".into()) }
}

fn limit(width: u32, height: u32) -> Result<(), BoxError> {
    let is_small = u64::from(width) * u64::from(height) <= MAX_PIXELS && width.max(height) <= MAX_SIDE;
    if is_small { Ok(()) } else { Err("too many pixels".into()) }
}

/// Decodes the picture, or the first one of an animation. Returns it as large as it is shown at most, so that the whole is in memory
/// only here.
fn decode(decoder: impl ImageDecoder) -> Result<DynamicImage, BoxError> {
    let (width, height) = decoder.dimensions();
    limit(width, height)?;
    if decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err("the picture takes too much memory".into());
    }
    Ok(within(&DynamicImage::from_decoder(decoder)?, THUMBNAILS[THUMBNAILS.len() - 1]))
}

/// The decoder of a picture, and how it is turned. Damaged metadata are no reason to refuse a picture.
fn decoder(file: &[u8], format: ImageFormat) -> Result<(impl ImageDecoder, Orientation), BoxError> {
    let mut decoder = reader(file, format, MAX_DECODED_BYTES).into_decoder()?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((decoder, orientation))
}

fn reader(bytes: &[u8], format: ImageFormat, memory: u64) -> ImageReader<Cursor<&[u8]>> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(memory);
    reader.limits(limits);
    reader
}

fn lies_on_its_side(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH)
}

/// The picture, made smaller to fit into a square.
fn within(picture: &DynamicImage, side: u32) -> DynamicImage {
    if picture.width().max(picture.height()) <= side { picture.clone() } else { picture.thumbnail(side, side) }
}

fn preview(picture: &DynamicImage) -> Result<String, BoxError> {
    let small = webp(&within(picture, PREVIEW_SIDE), PREVIEW_QUALITY)?;
    let text = format!("{PREVIEW_PREFIX}{}", BASE64_STANDARD.encode(small));
    Ok(if text.len() <= MAX_PREVIEW_CHARS { text } else { String::new() })
}

fn webp(picture: &DynamicImage, quality: f32) -> Result<Vec<u8>, ImageError> {
    let (width, height) = (picture.width(), picture.height());
    let encoded = if picture.color().has_alpha() {
        webp::Encoder::from_rgba(&picture.to_rgba8(), width, height).encode_simple(false, quality)
    } else {
        webp::Encoder::from_rgb(&picture.to_rgb8(), width, height).encode_simple(false, quality)
    };
    match encoded {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(e) => Err(ImageError::IoError(std::io::Error::other(format!("{e:?}")))),
    }
}
