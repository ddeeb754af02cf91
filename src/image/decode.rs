//! Limits first, then decode, then orientation.
//!
//! Every flavour of JPEG and PNG ends as 8-bit RGB: grey is repeated, a palette is looked up, 16 bits
//! are rounded to 8, CMYK and YCCK are read as every reader reads them (inverted, as Adobe writes
//! them). Transparent pixels are laid over white, not merely stripped of their alpha: below full
//! transparency a file may hold any colour, often black, and a viewer shows paper. Of an animation
//! the first picture counts.
//!
//! A JPEG that ends too early is refused, though decoders paint what is missing in grey: half a face
//! must not be enrolled. A lost end marker alone is forgiven, because cameras forget it too, and so is
//! the loss of a part of the last row of blocks, which cannot be told from a picture that ends in grey.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, Limits};

use super::orient::upright;
use super::{Photo, UprightImage};
use crate::domain::{DecodeFault, PhotoFault};

/// Most scans of a JPEG, those of its thumbnails counted. Usual are 1, 10 (progressive) and 18 (progressive CMYK).
const MOST_SCANS: usize = 64;

/// How often all the pixels of the largest photo allowed may be walked over; smaller photos may have more scans.
const MOST_WALKS: u64 = 20;

/// What a photo may cost. Checked against its header, before any pixel has memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most pixels (width times height). Default: 50 million.
    pub pixels: u64,
    /// Most pixels along either side. Default: 16,384.
    pub side: u32,
    /// Most bytes of decoded pixels as the file stores them, where 16-bit RGBA takes 8 bytes a
    /// pixel; also the bound for compressed metadata. Default: 256 MiB.
    pub bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { pixels: 50_000_000, side: 16_384, bytes: 256 << 20 }
    }
}

/// Decodes a photo into upright RGB pixels.
///
/// # Errors
/// [`PhotoFault::Empty`] when there are no bytes; [`PhotoFault::Undecodable`] when they are neither
/// JPEG nor PNG, are damaged, end too early, or exceed a limit.
pub fn decode(photo: &Photo, limits: &DecodeLimits) -> Result<UprightImage, PhotoFault> {
    // Nothing of ours is changed before a decoder is done, so its panic costs no more than this photo.
    let decoded = catch_unwind(AssertUnwindSafe(|| decode_bytes(photo.bytes(), limits)));
    decoded.unwrap_or_else(|_| Err(undecodable("the decoder panicked")))
}

fn decode_bytes(bytes: &[u8], limits: &DecodeLimits) -> Result<UprightImage, PhotoFault> {
    match bytes {
        [] => Err(PhotoFault::Empty),
        [0xff, 0xd8, 0xff, ..] => {
            let scans = scans(bytes);
            if scans > MOST_SCANS {
                return Err(undecodable(format_args!("{scans} scans")));
            }
            let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(undecodable)?;
            let (width, height) = decoder.dimensions();
            let walked = u64::from(width) * u64::from(height) * scans as u64;
            if walked > limits.pixels.saturating_mul(MOST_WALKS) {
                return Err(undecodable(format_args!("{scans} scans of {width} x {height} pixels")));
            }
            let image = read(decoder, limits)?;
            if !ends_with_marker(bytes) && last_row_is_missing(&image) {
                return Err(undecodable("the JPEG ends too early"));
            }
            Ok(image)
        }
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => {
            if !has_whole_palette(bytes) {
                return Err(undecodable("a palette of broken entries"));
            }
            let mut allowed = Limits::no_limits();
            allowed.max_image_width = Some(limits.side);
            allowed.max_image_height = Some(limits.side);
            allowed.max_alloc = Some(limits.bytes);
            read(PngDecoder::with_limits(Cursor::new(bytes), allowed).map_err(undecodable)?, limits)
        }
        _ => Err(undecodable("neither JPEG nor PNG")),
    }
}

fn undecodable(reason: impl std::fmt::Display) -> PhotoFault {
    tracing::debug!(photo.reason = %reason, "a photo cannot be decoded");
    DecodeFault::NotAPhoto.into()
}

fn read(mut decoder: impl ImageDecoder, limits: &DecodeLimits) -> Result<UprightImage, PhotoFault> {
    let (width, height) = decoder.dimensions();
    if width.max(height) > limits.side
        || u64::from(width) * u64::from(height) > limits.pixels
        || decoder.total_bytes() > limits.bytes
    {
        return Err(undecodable(format_args!("{width} x {height} pixels exceed the limits")));
    }
    // Metadata that cannot be read must not cost the caller the photo.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    let (width, height, rgb) = upright(width, height, rgb(picture), orientation);
    UprightImage::new(width, height, rgb).ok_or_else(|| undecodable("no pixels"))
}

/// The pixels as packed 8-bit RGB, over white where they are transparent.
fn rgb(picture: DynamicImage) -> Vec<u8> {
    if !picture.color().has_alpha() {
        return picture.into_rgb8().into_raw();
    }
    let over_white = |colour: u8, alpha: u8| {
        let (c, a) = (u32::from(colour), u32::from(alpha));
        ((c * a + 255 * (255 - a) + 127) / 255) as u8
    };
    let rgba = picture.into_rgba8().into_raw();
    rgba.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, a]| [r, g, b].map(|c| over_white(c, a))).collect()
}

/// Whether the palette of a PNG, if it has one, ends with a whole colour. The decoder takes it for granted and
/// panics otherwise (png 0.18.1).
fn has_whole_palette(png: &[u8]) -> bool {
    let mut rest = png.get(8..).unwrap_or_default();
    while let Some((&[a, b, c, d, ref kind @ ..], after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([a, b, c, d]);
        if kind == b"PLTE" && !length.is_multiple_of(3) {
            return false;
        }
        // Four bytes of checksum follow the data.
        rest = after.get(length as usize..).and_then(|rest| rest.get(4..)).unwrap_or_default();
    }
    true
}

/// How many scans a JPEG has at most. Each makes the decoder walk over the pixels again and costs the sender eleven
/// bytes. What looks like the head of a scan is counted wherever it stands, so that no file can make a decoder find
/// more; by chance five such bytes stand nowhere.
fn scans(jpeg: &[u8]) -> usize {
    let is_head = |five: &&[u8]| matches!(five, [0xff, 0xda, 0, length, of @ 1..=4] if *length == 6 + 2 * of);
    jpeg.windows(5).filter(is_head).count()
}

/// Whether an end-of-image marker follows the start of the first scan. Markers before it belong to
/// thumbnails; in coded data the pair cannot occur, and trailers (other pictures, padding) may follow.
fn ends_with_marker(jpeg: &[u8]) -> bool {
    first_scan(jpeg).is_some_and(|coded| coded.windows(2).rev().any(|pair| pair == [0xff, 0xd9]))
}

/// What follows the first start-of-scan marker: each segment before it says how long it is.
fn first_scan(jpeg: &[u8]) -> Option<&[u8]> {
    let mut rest = jpeg.get(2..)?;
    loop {
        match rest {
            [0xff, 0xff, ..] => rest = rest.get(1..)?,
            [0xff, 0xda, coded @ ..] => return Some(coded),
            [0xff, _, high, low, ..] => rest = rest.get(2 + usize::from(u16::from_be_bytes([*high, *low]))..)?,
            _ => return None,
        }
    }
}

/// Whether the row that was stored last is the grey that decoders paint for missing data. Turned
/// photos have it at another edge, so all four are looked at.
fn last_row_is_missing(image: &UprightImage) -> bool {
    let (w, h) = (image.width() as usize, image.height() as usize);
    let (pixels, _) = image.rgb().as_chunks::<3>();
    let grey = |at: usize| pixels.get(at) == Some(&[128; 3]);
    (0..w).all(grey)
        || (0..w).all(|x| grey((h - 1) * w + x))
        || (0..h).all(|y| grey(y * w))
        || (0..h).all(|y| grey(y * w + w - 1))
}
