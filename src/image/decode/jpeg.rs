//! JPEG: which decoder, and how much work it may be.

use super::header::Header;
use super::{DecodeLimits, Picture, check_work, libjpeg, quick};
use crate::domain::DecodeFault;

/// Most scans of a JPEG, those of its thumbnails counted. Usual are 1, 10 (progressive) and 18 (progressive CMYK).
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

/// How many scans a JPEG has at most. Each makes the decoder walk over the pixels again and costs the sender eleven
/// bytes. What looks like the head of a scan is counted wherever it stands, so that no file can make a decoder find
/// more; by chance five such bytes stand nowhere.
fn scans(jpeg: &[u8]) -> usize {
    let is_head = |five: &&[u8]| matches!(five, [0xff, 0xda, 0, length, of @ 1..=4] if *length == 6 + 2 * of);
    jpeg.windows(5).filter(is_head).count()
}
