//! PNG, WebP, BMP, TIFF and GIF, with the `image` crate.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageError, ImageResult, Limits};

use super::{DecodeLimits, Picture, check_size, png_chunks};
use crate::domain::{DecodeFault, PhotoFormat};

/// Decodes a photo of one of these formats; of an animation, the first frame.
pub(super) fn decode(photo: &[u8], format: PhotoFormat, limits: &DecodeLimits) -> Result<Picture, DecodeFault> {
    let fault = |error: ImageError| fault(&error, format);
    let bytes = Cursor::new(photo);
    match format {
        PhotoFormat::Png if !has_whole_palette(photo) => Err(DecodeFault::Damaged(format)),
        PhotoFormat::Png => {
            // The constructor reads metadata, so it needs the limits.
            let allowed = allowed(limits, limits.bytes);
            read(PngDecoder::with_limits(bytes, allowed).map_err(fault)?, format, limits)
        }
        PhotoFormat::WebP => read(WebPDecoder::new(bytes).map_err(fault)?, format, limits),
        PhotoFormat::Bmp => read(BmpDecoder::new(bytes).map_err(fault)?, format, limits),
        PhotoFormat::Gif => read(GifDecoder::new(bytes).map_err(fault)?, format, limits),
        PhotoFormat::Tiff => read(TiffDecoder::new(bytes).map_err(fault)?, format, limits),
        PhotoFormat::Jpeg | PhotoFormat::Heic | PhotoFormat::Avif => Err(DecodeFault::NotDecoded(format)),
    }
}

fn allowed(limits: &DecodeLimits, bytes: u64) -> Limits {
    let mut allowed = Limits::no_limits();
    allowed.max_image_width = Some(limits.side);
    allowed.max_image_height = Some(limits.side);
    allowed.max_alloc = Some(bytes);
    allowed
}

fn fault(error: &ImageError, format: PhotoFormat) -> DecodeFault {
    tracing::debug!(%error, "a photo cannot be decoded");
    match error {
        ImageError::Unsupported(_) => {
            DecodeFault::Unsupported { format, variant: "an unusual kind of pixels or coding" }
        }
        _ => DecodeFault::Damaged(format),
    }
}

fn read(mut decoder: impl ImageDecoder, format: PhotoFormat, limits: &DecodeLimits) -> Result<Picture, DecodeFault> {
    let (width, height) = decoder.dimensions();
    check_size(width, height, decoder.total_bytes(), limits)?;
    // A strip or a frame may be decoded separately and be as large as the image.
    let limit = limits.bytes.saturating_mul(2);
    let too_much = |error: ImageError| match error {
        ImageError::Limits(_) => DecodeFault::TooMuchMemory { width, height, limit },
        error => fault(&error, format),
    };
    decoder.set_limits(allowed(limits, limit)).map_err(too_much)?;
    let picture = from_decoder(decoder).map_err(too_much)?;
    Ok(Picture { width, height, rgb: rgb(picture) })
}

fn from_decoder(decoder: impl ImageDecoder) -> ImageResult<DynamicImage> {
    DynamicImage::from_decoder(decoder)
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

/// Whether the palette of a PNG, if any, has whole colors only. The decoder panics otherwise (png 0.18.1).
fn has_whole_palette(png: &[u8]) -> bool {
    png_chunks(png).all(|(kind, data)| kind != b"PLTE" || data.len().is_multiple_of(3))
}
