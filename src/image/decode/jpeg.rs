//! JPEG: chooses the decoder and limits its work.

use super::header::Header;
use super::{DecodeLimits, Picture, check_work, libjpeg, quick};
use crate::domain::DecodeFault;

/// Most scans of a JPEG, including those of its thumbnails. Usual are 1, 10 (progressive) and 18 (progressive CMYK).
const MAX_SCANS: usize = 64;

/// Decodes a JPEG.
pub(super) fn decode(jpeg: &[u8], header: &Header<'_>, limits: &DecodeLimits) -> Result<Picture, DecodeFault> {
    let scans = scans(jpeg);
    if scans > MAX_SCANS {
        return Err(DecodeFault::TooManyScans { scans, limit: MAX_SCANS });
    }
    // libjpeg checks again, should it find another frame than this.
    let frame = header.frame.as_ref();
    if let Some(frame) = frame {
        check_work(frame.width.into(), frame.height.into(), scans, limits)?;
    }
    if let Some(picture) = quick::decode(jpeg, header) {
        return Ok(picture);
    }
    let arithmetic = frame.is_some_and(|frame| matches!(frame.marker, 0xc9..=0xcf));
    libjpeg::decode(jpeg, arithmetic, scans, limits)
}

/// An upper bound of the scans of a JPEG. Each costs the decoder a pass over the pixels and the sender eleven bytes.
/// Whatever looks like the header of a scan is counted, so that no file can make a decoder find more. These five bytes
/// do not occur by chance.
fn scans(jpeg: &[u8]) -> usize {
    let is_head = |five: &&[u8]| matches!(five, [0xff, 0xda, 0, length, of @ 1..=4] if *length == 6 + 2 * of);
    jpeg.windows(5).filter(is_head).count()
}
