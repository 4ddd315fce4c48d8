//! Removes metadata from the files of pictures: the place and the device of a photo, comments, and anything after its end. The pixels,
//! the profile of the colours, animations, and how the picture is turned remain.

use common::error::BoxError;
use image::ImageFormat;
use image::metadata::Orientation;
use img_parts::png::Png;
use img_parts::riff::{RiffChunk, RiffContent};
use img_parts::webp::WebP;
use img_parts::{Bytes, ImageEXIF};

/// The chunks of PNG that change what is seen.
const PNG_CHUNKS: [&[u8; 4]; 16] = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT", b"bKGD",
    b"pHYs", b"acTL", b"fcTL", b"fdAT",
];

/// The chunks of WebP that change what is seen.
const WEBP_CHUNKS: [&[u8; 4]; 7] = [b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"];

/// The flag of a WebP with XMP data in the first byte of its features.
const XMP_FLAG: u8 = 0x04;

/// Limit on a chunk of PNG that is no image data and no profile: a palette of 256 colours has as many bytes.
const MAX_PNG_CHUNK: usize = 768;

/// The markers of JPEG by ITU-T T.81, table B.1.
mod marker {
    pub const RESTART: std::ops::RangeInclusive<u8> = 0xD0..=0xD7;
    pub const START: u8 = 0xD8;
    pub const END: u8 = 0xD9;
    pub const SCAN: u8 = 0xDA;
    pub const APP0: u8 = 0xE0;
    pub const APP1: u8 = 0xE1;
    pub const APP2: u8 = 0xE2;
    pub const APP14: u8 = 0xEE;
    /// Frames, tables, scans and their parameters.
    pub const PICTURE: std::ops::RangeInclusive<u8> = 0xC0..=0xDF;
}

/// The file without metadata.
///
/// # Errors
/// Returns an error if the structure of the file is damaged.
pub fn remove(file: Vec<u8>, format: ImageFormat, orientation: Orientation) -> Result<Vec<u8>, BoxError> {
    match format {
        ImageFormat::Jpeg => jpeg(&file, orientation),
        ImageFormat::Png => png(file.into(), orientation),
        ImageFormat::WebP => webp(file.into(), orientation),
        ImageFormat::Gif => gif(&file),
        other => Err(format!("{other:?} is not supported").into()),
    }
}

/// Exif data that only says how the picture is turned; none if it stands upright.
fn turned(orientation: Orientation) -> Option<Bytes> {
    if orientation == Orientation::NoTransforms {
        return None;
    }
    let mut exif = Vec::from(*b"MM\0\x2A\0\0\0\x08");
    // One entry: the tag 0x0112 as one SHORT, and no other directory.
    exif.extend(*b"\0\x01\x01\x12\0\x03\0\0\0\x01\0");
    exif.push(orientation.to_exif());
    exif.extend([0; 6]);
    Some(exif.into())
}

fn png(file: Bytes, orientation: Orientation) -> Result<Vec<u8>, BoxError> {
    let mut png = Png::from_bytes(file)?;
    png.chunks_mut().retain(|chunk| {
        let may_be_long = [*b"IDAT", *b"fdAT", *b"iCCP"].contains(&chunk.kind());
        PNG_CHUNKS.contains(&&chunk.kind()) && (may_be_long || chunk.contents().len() <= MAX_PNG_CHUNK)
    });
    png.set_exif(turned(orientation));
    Ok(png.encoder().bytes().into())
}

fn webp(file: Bytes, orientation: Orientation) -> Result<Vec<u8>, BoxError> {
    let mut webp = WebP::from_bytes(file)?;
    webp.chunks_mut().retain(|chunk: &RiffChunk| WEBP_CHUNKS.contains(&&chunk.id()));
    for chunk in webp.chunks_mut().iter_mut().filter(|chunk| chunk.id() == *b"VP8X") {
        let Some(features) = chunk.content().data() else { continue };
        let mut features = features.to_vec();
        if let Some(flags) = features.first_mut() {
            *flags &= !XMP_FLAG;
        }
        *chunk = RiffChunk::new(*b"VP8X", RiffContent::Data(features.into()));
    }
    webp.set_exif(turned(orientation));
    Ok(webp.encoder().bytes().into())
}

/// Copies the frames as they are compressed.
fn gif(file: &[u8]) -> Result<Vec<u8>, BoxError> {
    let mut options = gif::DecodeOptions::new();
    options.skip_frame_decoding(true);
    let mut frames = options.read_info(file)?;
    let palette = frames.global_palette().unwrap_or_default().to_vec();
    let mut copy = gif::Encoder::new(Vec::with_capacity(file.len()), frames.width(), frames.height(), &palette)?;
    let mut repeat = gif::Repeat::default();
    while let Some(frame) = frames.read_next_frame()?.cloned() {
        // It stands before the first frame, and is known after it.
        if frames.repeat() != repeat {
            repeat = frames.repeat();
            copy.set_repeat(repeat)?;
        }
        copy.write_lzw_pre_encoded_frame(&frame)?;
    }
    Ok(copy.into_inner()?)
}

/// Copies the segments of a JPEG up to its end. A progressive picture has several scans with segments between them. The end may be missing,
/// and bytes may stand between segments: decoders show such a picture.
fn jpeg(file: &[u8], orientation: Orientation) -> Result<Vec<u8>, BoxError> {
    let damaged = || "the JPEG is damaged";
    let mut copy = Vec::with_capacity(file.len());
    copy.extend([0xFF, marker::START]);
    let mut rest = file.strip_prefix(&[0xFF, marker::START]).ok_or_else(damaged)?;
    let mut exif = turned(orientation);
    let mut has_scan = false;
    loop {
        match rest {
            // The byte may be a fill byte, or stand between segments.
            [0xFF, 0xFF | 0, ..] => rest = &rest[1..],
            [first, _, ..] if *first != 0xFF => rest = &rest[1..],
            [0xFF, marker::END, ..] | [] | [_] if has_scan => {
                copy.extend([0xFF, marker::END]);
                return Ok(copy);
            }
            [] | [_] | [_, marker::START | marker::END, ..] => return Err(damaged().into()),
            [_, kind, after @ ..] => {
                let kind = *kind;
                let length = after.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
                let (segment, following) = after.split_at_checked(length.unwrap_or(0)).ok_or_else(damaged)?;
                let content = segment.get(2..).ok_or_else(damaged)?;
                // The Exif data stands after the segment of JFIF, if there is one.
                if kind != marker::APP0
                    && let Some(exif) = exif.take()
                {
                    append(&mut copy, marker::APP1, &[b"Exif\0\0", &*exif].concat());
                }
                if let Some(content) = seen(kind, content) {
                    append(&mut copy, kind, &content);
                }
                has_scan |= kind == marker::SCAN;
                let scan = if kind == marker::SCAN { scan_length(following) } else { 0 };
                copy.extend(&following[..scan]);
                rest = &following[scan..];
            }
        }
    }
}

fn append(copy: &mut Vec<u8>, kind: u8, content: &[u8]) {
    copy.extend([0xFF, kind]);
    // The length counts itself; a segment that was read, and that of the Exif data, has at most 65,535 bytes.
    copy.extend(((content.len() + 2) as u16).to_be_bytes());
    copy.extend(content);
}

/// The part of a segment's content that changes what is seen: all of a table or a scan, and of the applications' data the density of
/// JFIF without its thumbnail, the profile of the colours, and Adobe's transformation of colours.
fn seen(kind: u8, content: &[u8]) -> Option<Vec<u8>> {
    match kind {
        marker::APP0 if content.starts_with(b"JFIF\0") => Some([content.get(..12)?, &[0, 0]].concat()),
        marker::APP2 if content.starts_with(b"ICC_PROFILE\0") => Some(content.to_vec()),
        marker::APP14 if content.starts_with(b"Adobe") => Some(content.get(..12)?.to_vec()),
        kind if marker::PICTURE.contains(&kind) => Some(content.to_vec()),
        _ => None,
    }
}

/// The length of the compressed data up to the next marker that ends them.
fn scan_length(data: &[u8]) -> usize {
    let ends = |pair: &[u8]| pair[0] == 0xFF && pair[1] != 0 && !marker::RESTART.contains(&pair[1]);
    data.windows(2).position(ends).unwrap_or(data.len())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, RgbImage};
    use img_parts::ImageICC;
    use img_parts::png::PngChunk;
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"37.5665N";

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let pixels = RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 20, y as u8 * 30, 99]));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::ImageRgb8(pixels).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|found| found == part)
    }

    fn pixels(bytes: &[u8]) -> DynamicImage {
        image::load_from_memory(bytes).unwrap()
    }

    /// Asserts that the copy of a file has its pixels and not its secret, and that the copy of the copy is the same.
    fn assert_clean(file: &[u8], format: ImageFormat) {
        assert!(contains(file, SECRET), "{format:?}");
        let clean = remove(file.to_vec(), format, Orientation::NoTransforms).unwrap();
        assert!(!contains(&clean, SECRET), "{format:?}");
        assert_eq!(pixels(&clean), pixels(file), "{format:?}");
        assert_eq!(remove(clean.clone(), format, Orientation::NoTransforms).unwrap(), clean, "{format:?}");
    }

    fn segment(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        append(&mut bytes, kind, content);
        bytes
    }

    #[test]
    fn a_jpeg_has_no_data_of_applications_and_no_comments() {
        let jpeg = encoded(ImageFormat::Jpeg);
        for (kind, content) in [
            (marker::APP1, [b"Exif\0\0", SECRET].concat()),
            (marker::APP1, [b"http://ns.adobe.com/xap/1.0/\0", SECRET].concat()),
            (marker::APP2, [b"MPF\0", SECRET].concat()),
            (0xED, [b"Photoshop 3.0\0", SECRET].concat()),
            (0xEE, [b"Adobe\0\x64\0\0\0\0\x01", SECRET].concat()),
            (0xF0, SECRET.to_vec()),
            (0xFE, SECRET.to_vec()),
        ] {
            assert_clean(&[&jpeg[..2], &segment(kind, &content), &jpeg[2..]].concat(), ImageFormat::Jpeg);
        }
        assert_clean(&[&jpeg, SECRET].concat(), ImageFormat::Jpeg);
        let with_thumbnail = [b"JFIF\0\x01\x02\0\0\x01\0\x01\x01\x03", SECRET, b"x"].concat();
        let after_jfif = 2 + 2 + usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]]));
        assert_clean(
            &[&jpeg[..2], &segment(marker::APP0, &with_thumbnail), &jpeg[after_jfif..]].concat(),
            ImageFormat::Jpeg,
        );
        let (secret, stray) = (segment(0xFE, SECRET), [1, 2, 3]);
        let stray = jpeg_without(&[&jpeg[..2], &secret, &stray, &jpeg[2..jpeg.len() - 2]].concat());
        assert_eq!(stray, jpeg_without(&jpeg), "the end is added, and stray bytes are removed");
        let profile = segment(marker::APP2, b"ICC_PROFILE\0\x01\x01colours");
        let file = [&jpeg[..2], &profile, &jpeg[2..]].concat();
        assert!(contains(&jpeg_without(&file), &profile));
    }

    fn jpeg_without(file: &[u8]) -> Vec<u8> {
        jpeg(file, Orientation::NoTransforms).unwrap()
    }

    #[test]
    fn the_scans_of_a_progressive_jpeg_remain() {
        let scan = [segment(marker::SCAN, &[1, 1, 0, 0, 63, 0]), vec![1, 0xFF, 0, 2, 0xFF, 0xD3, 3]].concat();
        let tables = segment(0xC4, &[0; 20]);
        let start = [0xFF, marker::START];
        let clean = [&start[..], &tables, &scan, &tables, &scan, &[0xFF, marker::END]].concat();
        let comment = segment(0xFE, SECRET);
        let file =
            [&start[..], &tables, &scan, &comment, &[0xFF], &tables, &scan, &[0xFF, marker::END], SECRET].concat();
        assert_eq!(jpeg_without(&file), clean);
    }

    #[test]
    fn a_png_has_no_texts_and_nothing_after_its_end() {
        let mut png = Png::from_bytes(encoded(ImageFormat::Png).into()).unwrap();
        let whole = png.clone().encoder().bytes();
        assert_clean(&[&whole, SECRET].concat(), ImageFormat::Png);
        for kind in [*b"tEXt", *b"iTXt", *b"eXIf", *b"zzZz"] {
            png.chunks_mut().insert(1, PngChunk::new(kind, SECRET.into()));
        }
        assert_clean(&png.encoder().bytes(), ImageFormat::Png);
    }

    #[test]
    fn a_webp_has_no_exif_and_no_xmp() {
        let mut webp = WebP::from_bytes(encoded(ImageFormat::WebP).into()).unwrap();
        webp.set_exif(Some(SECRET.into()));
        webp.set_icc_profile(Some("colours".into()));
        webp.chunks_mut().push(RiffChunk::new(*b"XMP ", RiffContent::Data(SECRET.into())));
        let mut file = webp.encoder().bytes().to_vec();
        let flags = file.windows(4).position(|part| part == b"VP8X").unwrap() + 8;
        file[flags] |= XMP_FLAG;
        assert_clean(&[&file, SECRET].concat(), ImageFormat::WebP);
    }

    #[test]
    fn a_gif_keeps_its_frames_and_their_times_and_has_no_comments() {
        let mut animation = gif::Encoder::new(Vec::new(), 4, 2, &[0, 0, 0, 255, 255, 255]).unwrap();
        animation.set_repeat(gif::Repeat::Finite(3)).unwrap();
        animation.write_raw_extension(gif::AnyExtension(0xFE), &[SECRET]).unwrap();
        for delay in [7, 9] {
            let frame =
                gif::Frame { delay, ..gif::Frame::from_indexed_pixels(4, 2, vec![0, 1, 1, 0, 1, 0, 0, 1], None) };
            animation.write_frame(&frame).unwrap();
        }
        let file = animation.into_inner().unwrap();
        assert_clean(&[&*file, SECRET].concat(), ImageFormat::Gif);

        let clean = gif(&file).unwrap();
        let mut frames = gif::DecodeOptions::new().read_info(&*clean).unwrap();
        let mut delays = Vec::new();
        while let Some(frame) = frames.read_next_frame().unwrap() {
            delays.push(frame.delay);
        }
        assert_eq!((delays, frames.repeat()), (vec![7, 9], gif::Repeat::Finite(3)));
    }

    #[test]
    fn a_turned_picture_stays_turned_without_other_exif_data() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let turned = remove(encoded(format), format, Orientation::Rotate90).unwrap();
            let mut decoder = image::ImageReader::with_format(Cursor::new(&turned), format).into_decoder().unwrap();
            assert_eq!(image::ImageDecoder::orientation(&mut decoder).unwrap(), Orientation::Rotate90, "{format:?}");
            assert_eq!(remove(turned.clone(), format, Orientation::Rotate90).unwrap(), turned, "{format:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            format in prop::sample::select(vec![ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif]),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut file = encoded(format);
            for (index, byte) in changes {
                let index = index.index(file.len());
                file[index] = byte;
            }
            file.truncate(cut.index(file.len()) + 1);
            let _ = super::super::prepare(file.clone(), format.to_mime_type(), true);
            let _ = remove(file, format, Orientation::Rotate180);
        }
    }
}
