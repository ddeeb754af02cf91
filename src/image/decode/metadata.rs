//! The orientation of a photo: Exif (tag 274, typed SHORT or LONG), or else XMP (`tiff:Orientation`). The `image` crate
//! reads Exif of type SHORT only, and no XMP.

use image::metadata::Orientation;

use super::header::Header;
use crate::domain::PhotoFormat;

/// The namespace of TIFF's properties in XMP.
const TIFF: &[u8] = b"http://ns.adobe.com/tiff/1.0/";

/// The orientation in the metadata of a photo. Exif takes precedence over XMP: cameras write it, and programs that turn
/// pixels update it first. Unreadable metadata is ignored; it is no reason to refuse a photo.
pub(super) fn orientation(photo: &[u8], format: PhotoFormat, jpeg: Option<&Header<'_>>) -> Orientation {
    let (exif, xmp) = match format {
        PhotoFormat::Jpeg => jpeg.map_or((None, None), |header| (header.exif, header.xmp)),
        PhotoFormat::Png => png(photo),
        PhotoFormat::WebP => webp(photo),
        // A TIFF is what Exif is made of.
        PhotoFormat::Tiff => (Some(photo), None),
        _ => (None, None),
    };
    let value = exif.and_then(exif_orientation).or_else(|| xmp.and_then(xmp_orientation));
    value.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

type Blocks<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// The Exif block and the XMP packet of a PNG, in any order.
fn png(photo: &[u8]) -> Blocks<'_> {
    let mut exif = None;
    let mut xmp = None;
    for (kind, data) in super::png_chunks(photo) {
        match kind {
            b"eXIf" => exif = exif.or(Some(bare(data))),
            b"iTXt" => {
                // Keyword, whether it is compressed and how, a language, the keyword in that, the text.
                let text = data.strip_prefix(b"XML:com.adobe.xmp\0\0\0");
                xmp = xmp.or_else(|| text?.splitn(3, |&byte| byte == 0).nth(2));
            }
            _ => {}
        }
    }
    (exif, xmp)
}

/// The Exif block and the XMP packet of a WebP.
fn webp(photo: &[u8]) -> Blocks<'_> {
    let mut exif = None;
    let mut xmp = None;
    let mut rest = photo.get(12..).unwrap_or_default();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let [kind @ .., a, b, c, d] = head;
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let data = after.get(..length).unwrap_or(after);
        match kind {
            b"EXIF" => exif = exif.or(Some(bare(data))),
            b"XMP " => xmp = xmp.or(Some(data)),
            _ => {}
        }
        // A chunk of odd length is followed by a byte of padding.
        rest = after.get(length.saturating_add(length % 2)..).unwrap_or_default();
    }
    (exif, xmp)
}

/// Removes the marker of a JPEG's Exif segment, which some programs also write in other formats.
fn bare(exif: &[u8]) -> &[u8] {
    exif.strip_prefix(b"Exif\0\0").unwrap_or(exif)
}

/// The orientation in the first directory of an Exif block, which is a TIFF.
fn exif_orientation(tiff: &[u8]) -> Option<u8> {
    let big = match tiff.get(..4)? {
        b"II\x2a\0" => false,
        b"MM\0\x2a" => true,
        _ => return None,
    };
    let short = |at: usize| {
        let two = *tiff.get(at..)?.first_chunk::<2>()?;
        Some(if big { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) })
    };
    let long = |at: usize| {
        let four = *tiff.get(at..)?.first_chunk::<4>()?;
        Some(if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
    };
    let directory = long(4)? as usize;
    let entries = usize::from(short(directory)?);
    let mut found = (0..entries).map_while(|entry| {
        let at = directory + 2 + 12 * entry;
        Some((short(at)?, short(at + 2)?, at + 8))
    });
    let (_, kind, value) = found.find(|(tag, ..)| *tag == 0x112)?;
    let value = match kind {
        3 => u32::from(short(value)?),
        4 => long(value)?,
        _ => return None,
    };
    u8::try_from(value).ok().filter(|value| (1..=8).contains(value))
}

/// The orientation in an XMP packet: `tiff:Orientation="6"` or `<tiff:Orientation>6</tiff:Orientation>`, with any
/// prefix of the namespace.
fn xmp_orientation(xmp: &[u8]) -> Option<u8> {
    let prefix = prefix_of_tiff(xmp)?;
    let name = [prefix, b":Orientation"].concat();
    let mut rest = xmp;
    while let Some(at) = find(rest, &name) {
        let before = at.checked_sub(1).and_then(|at| rest.get(at));
        rest = &rest[at + name.len()..];
        let after = rest.trim_ascii_start();
        let value = match before {
            Some(b'<') => after.strip_prefix(b">").map(|text| (text, b'<')),
            Some(byte) if byte.is_ascii_whitespace() => {
                after.strip_prefix(b"=").map(<[u8]>::trim_ascii_start).and_then(|text| {
                    text.split_first().map(|(quote, text)| (text, *quote)).filter(|(_, quote)| b"\"'".contains(quote))
                })
            }
            _ => None,
        };
        if let Some((text, end)) = value {
            let value = text.split(|&byte| byte == end).next().unwrap_or_default().trim_ascii();
            if let [digit @ b'1'..=b'8'] = value {
                return Some(digit - b'0');
            }
        }
    }
    None
}

/// The prefix in `xmlns:PREFIX="http://ns.adobe.com/tiff/1.0/"`.
fn prefix_of_tiff(xmp: &[u8]) -> Option<&[u8]> {
    let mut from = 0;
    loop {
        let at = from + find(xmp.get(from..)?, TIFF)?;
        from = at + TIFF.len();
        let (before, quote) = xmp[..at].split_last().map(|(quote, before)| (before, *quote))?;
        let declared = xmp.get(from) == Some(&quote) && b"\"'".contains(&quote);
        let name = before.trim_ascii_end().strip_suffix(b"=").map(<[u8]>::trim_ascii_end).unwrap_or_default();
        let start = name.iter().rposition(|&byte| byte == b':' || byte.is_ascii_whitespace()).map_or(0, |at| at + 1);
        if declared && start < name.len() && name[..start].ends_with(b"xmlns:") {
            return Some(&name[start..]);
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn xmp_is_read_in_both_forms_and_under_any_prefix() {
        let attribute = r#"<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>"#;
        let element = r"<r:D xmlns:t = 'http://ns.adobe.com/tiff/1.0/'><t:Orientation> 8 </t:Orientation></r:D>";
        let later = r#"<x a="http://ns.adobe.com/tiff/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
            my_tiff:Orientation="3" tiff:Orientations="2"
            tiff:Orientation = '5'>"#;
        for (packet, expected) in [
            (attribute, Some(6)),
            (element, Some(8)),
            (later, Some(5)),
            (&attribute.replace("\"6\"", "\"9\""), None),
            (&attribute.replace("\"6\"", "\"16\""), None),
            (&attribute.replace("\"6\"", "6"), None),
            (&attribute.replace("1.0/\" ", "2.0/\" "), None),
            ("", None),
        ] {
            assert_eq!(xmp_orientation(packet.as_bytes()), expected, "{packet}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_orientation_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let tiff = [b"II\x2a\0", &bytes[..]].concat();
            let _ = (exif_orientation(&tiff), xmp_orientation(&bytes), webp(&bytes), png(&bytes));
        }

        #[test]
        fn any_text_about_orientation_ends(text in "[<>:= \"'t0-9]{0,30}") {
            let named = text.replace('t', "t:Orientation");
            let packet = format!("xmlns:t=\"http://ns.adobe.com/tiff/1.0/\"{named}{text}xmlns:t='http://ns.adobe.com/tiff/1.0/{text}");
            let _ = xmp_orientation(packet.as_bytes());
        }
    }
}
