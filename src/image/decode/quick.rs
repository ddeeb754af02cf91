//! Decodes the JPEGs of nearly every camera with zune-jpeg: it takes 0.7 times as long as libjpeg without an assembler,
//! but supports fewer kinds and does not report missing data.
//!
//! So it decodes only kinds that it reads as libjpeg does (the tests compare them), and only where missing data cannot go
//! unnoticed: one scan without restart markers, cut off before its end marker, so that the decoder reaches the end of the
//! bytes instead of inventing data. If it reports an error, libjpeg decodes the photo.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Picture;
use super::header::{Component, Header};

/// Decodes an ordinary JPEG; `None` when it is not one, or is incomplete.
pub(super) fn decode(jpeg: &[u8], header: &Header<'_>) -> Option<Picture> {
    let jpeg = ordinary(jpeg, header)?;
    let frame = header.frame.as_ref()?;
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    let gray = frame.components.len() == 1;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(width)
        .set_max_height(height)
        .jpeg_set_out_colorspace(if gray { ColorSpace::Luma } else { ColorSpace::RGB });
    // It may panic; it shares no state, and libjpeg decodes the photo then.
    let decode = || JpegDecoder::new_with_options(Cursor::new(jpeg), options).decode();
    let pixels = match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(pixels)) => pixels,
        Ok(Err(error)) => {
            tracing::debug!(?error, "zune-jpeg does not decode this JPEG; libjpeg is next");
            return None;
        }
        Err(_) => return None,
    };
    let rgb = if gray { pixels.iter().flat_map(|&y| [y; 3]).collect() } else { pixels };
    let whole = rgb.len() == 3 * width * height;
    whole.then_some(Picture { width: frame.width.into(), height: frame.height.into(), rgb })
}

/// The JPEG up to its end marker, if it is an ordinary one: baseline, Huffman coded, 8 bits, in one scan without
/// restart markers, grey or YCbCr with the usual sampling factors.
fn ordinary<'a>(jpeg: &'a [u8], header: &Header<'_>) -> Option<&'a [u8]> {
    let frame = header.frame.as_ref()?;
    let scan = header.scan.as_ref()?;
    let usual = match frame.components[..] {
        [Component { h: 1, v: 1, .. }] => true,
        [y, b, r] => {
            let ids = matches!([y.id, b.id, r.id], [1, 2, 3] | [0, 1, 2]);
            let chroma = matches!((y.h, y.v), (1 | 2, 1 | 2)) && (b.h, b.v, r.h, r.v) == (1, 1, 1, 1);
            ids && chroma && matches!(header.adobe, None | Some(1))
        }
        _ => false,
    };
    let baseline = matches!(frame.marker, 0xc0 | 0xc1) && frame.precision == 8;
    let one_scan = usize::from(scan.components) == frame.components.len();
    let sized = frame.width > 0 && frame.height > 0;
    if !(usual && baseline && one_scan && sized && header.huffman_tables && header.restart_interval == 0) {
        return None;
    }
    let mut end = scan.data;
    loop {
        end += jpeg.get(end..)?.iter().position(|&byte| byte == 0xff)?;
        match jpeg.get(end + 1)? {
            // A stuffed byte.
            0 => end += 2,
            0xd9 => return jpeg.get(..end),
            _ => return None,
        }
    }
}
