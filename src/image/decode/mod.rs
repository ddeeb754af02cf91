//! Checks the limits, decodes, and applies the orientation.
//!
//! JPEG, PNG, WebP, BMP, TIFF and GIF of every kind become 8-bit RGB: gray is repeated, a palette is resolved, 16 bits
//! are rounded to 8, CMYK and YCCK are read inverted, as Adobe writes them. Transparent pixels are blended with white,
//! as viewers show them, because the color of a fully transparent pixel is arbitrary, often black. Of an animation the
//! first frame is decoded.
//!
//! A JPEG with more than one missing row of blocks is refused, although decoders paint missing rows gray: half a face must
//! not be enrolled. Rows are missing if the decoder did not find their data ([`tracker`]); the end of the file does not
//! matter: a missing end marker is accepted, as is data after the image, such as other images or padding.

mod header;
mod jpeg;
mod libjpeg;
mod metadata;
mod other;
mod quick;
mod tracker;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::header::Header;
use super::orient::upright;
use super::{Photo, UprightImage};
use crate::domain::{DecodeFault, PhotoFault, PhotoFormat, PhotoFormats};

/// Limits of a photo. Its size is checked by its header, before memory for pixels is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most pixels (width times height). Default: 64 million.
    pub pixels: u64,
    /// Most pixels along either side. Default: 16,384.
    pub side: u32,
    /// Most bytes of decoded pixels as the file stores them, where 16-bit RGBA takes 8 bytes a pixel; also the bound
    /// for compressed metadata. What a decoder needs besides (coefficients of a JPEG of several scans, a strip of a
    /// TIFF) may take twice as much. Default: 256 MiB.
    pub bytes: u64,
    /// Which formats are decoded. Default: JPEG and PNG.
    pub formats: PhotoFormats,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { pixels: 64_000_000, side: 16_384, bytes: 256 << 20, formats: PhotoFormats::CONTRACT }
    }
}

/// Most passes over all pixels of the largest photo allowed; smaller photos may have more scans.
const MAX_PASSES: u64 = 20;

/// Packed RGB pixels as they are stored.
struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

/// Decodes a photo into upright RGB pixels.
///
/// # Errors
/// [`PhotoFault::Empty`] when there are no bytes; [`PhotoFault::Undecodable`] when they are of no format that is
/// allowed, are damaged, end too early, or exceed a limit.
pub fn decode(photo: &Photo, limits: &DecodeLimits) -> Result<UprightImage, PhotoFault> {
    let bytes = photo.bytes();
    if bytes.is_empty() {
        return Err(PhotoFault::Empty);
    }
    let format = match PhotoFormat::sniff(bytes) {
        None => return Err(DecodeFault::NotAPhoto.into()),
        Some(format @ (PhotoFormat::Heic | PhotoFormat::Avif)) => return Err(DecodeFault::NotDecoded(format).into()),
        Some(format) if !limits.formats.contains(format) => return Err(DecodeFault::NotAccepted(format).into()),
        Some(format) => format,
    };
    // Decoders share no state, so a panic affects this photo only.
    let decoded = catch_unwind(AssertUnwindSafe(|| decode_as(bytes, format, limits)));
    Ok(decoded.unwrap_or(Err(DecodeFault::DecoderFailed(format)))?)
}

fn decode_as(bytes: &[u8], format: PhotoFormat, limits: &DecodeLimits) -> Result<UprightImage, DecodeFault> {
    let header = (format == PhotoFormat::Jpeg).then(|| Header::read(bytes));
    let picture = match &header {
        Some(header) => jpeg::decode(bytes, header, limits)?,
        None => other::decode(bytes, format, limits)?,
    };
    let orientation = metadata::orientation(bytes, format, header.as_ref());
    let (width, height, rgb) = upright(picture.width, picture.height, picture.rgb, orientation);
    UprightImage::new(width, height, rgb).ok_or(DecodeFault::Damaged(format))
}

/// Compares a size with the limits.
fn check_size(width: u32, height: u32, bytes: u64, limits: &DecodeLimits) -> Result<(), DecodeFault> {
    if width.max(height) > limits.side {
        return Err(DecodeFault::TooLong { width, height, limit: limits.side });
    }
    if u64::from(width) * u64::from(height) > limits.pixels {
        return Err(DecodeFault::TooManyPixels { width, height, limit: limits.pixels });
    }
    if bytes > limits.bytes {
        return Err(DecodeFault::TooMuchMemory { width, height, limit: limits.bytes });
    }
    Ok(())
}

/// Compares the size and the scans of a JPEG with the limits.
fn check_work(width: u32, height: u32, scans: usize, limits: &DecodeLimits) -> Result<(), DecodeFault> {
    let pixels = u64::from(width) * u64::from(height);
    check_size(width, height, 3 * pixels, limits)?;
    let limit = usize::try_from(limits.pixels.saturating_mul(MAX_PASSES) / pixels.max(1)).unwrap_or(usize::MAX);
    if scans > limit { Err(DecodeFault::TooManyScans { scans, limit }) } else { Ok(()) }
}

/// The chunks of a PNG, with their names.
fn png_chunks(png: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = png.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let (data, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize).unwrap_or((after, &[]));
        // Four bytes of checksum follow the data.
        rest = after.get(4..).unwrap_or_default();
        Some((kind, data))
    })
}
