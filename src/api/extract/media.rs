//! The declared media types of photos, and how the bytes of an image begin.

use axum::http::{HeaderMap, header};

use crate::domain::{PhotoFormat, PhotoFormats};

/// What the sender declares a part to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    /// A photo of an accepted format. Its bytes decide which one.
    Image,
    /// An unspecific type; see [`is_unspecific`]. The bytes decide.
    Unknown,
    /// Something else.
    Other,
}

impl Declared {
    /// From the `Content-Type` among some headers.
    pub(super) fn new(headers: &HeaderMap, formats: PhotoFormats) -> Self {
        let value = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |name: &str| essence.eq_ignore_ascii_case(name.as_bytes());
        if is_unspecific(essence) {
            Self::Unknown
        } else if TYPES.iter().any(|(name, format)| is(name) && formats.contains(*format)) {
            Self::Image
        } else {
            Self::Other
        }
    }
}

/// Whether a declared type names no format: clients send such types when they do not know the type of their file.
///
/// These are `application/octet-stream`, which curl declares for an unknown extension, and its unofficial siblings; a
/// range such as `image/*`, from a file chooser; the type of the form instead of the part's; an unofficial name of PNG
/// or JPEG; and texts that are not a media type, such as `null` or `undefined`.
fn is_unspecific(essence: &[u8]) -> bool {
    const NAMES: [&str; 5] = ["multipart/form-data", "image/x-png", "image/x-jpeg", "image/x-jpg", "image/jfif"];
    let Ok(text) = str::from_utf8(essence) else { return true };
    let Some((kind, subtype)) = text.split_once('/') else { return true };
    kind.is_empty()
        || matches!(subtype, "" | "*")
        || subtype.eq_ignore_ascii_case("octet-stream")
        || NAMES.iter().any(|name| text.eq_ignore_ascii_case(name))
}

/// The media types that a photo of each format is declared as.
const TYPES: [(&str, PhotoFormat); 10] = [
    ("image/jpeg", PhotoFormat::Jpeg),
    ("image/jpg", PhotoFormat::Jpeg),
    ("image/pjpeg", PhotoFormat::Jpeg),
    ("image/png", PhotoFormat::Png),
    ("image/webp", PhotoFormat::WebP),
    ("image/bmp", PhotoFormat::Bmp),
    ("image/x-ms-bmp", PhotoFormat::Bmp),
    ("image/tiff", PhotoFormat::Tiff),
    ("image/gif", PhotoFormat::Gif),
    ("image/x-bmp", PhotoFormat::Bmp),
];

/// Whether bytes begin as a photo of an accepted format does.
pub(super) fn is_image(bytes: &[u8], formats: PhotoFormats) -> bool {
    PhotoFormat::sniff(bytes).is_some_and(|format| formats.contains(format))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_declared_type_is_read_in_every_spelling() {
        for (text, expected) in [
            ("image/jpeg", Declared::Image),
            ("IMAGE/JPG", Declared::Image),
            ("image/pjpeg", Declared::Image),
            (" image/png ; name=x.png", Declared::Image),
            ("", Declared::Unknown),
            ("application/octet-stream", Declared::Unknown),
            ("image/gif", Declared::Other),
            ("text/plain; charset=utf-8", Declared::Other),
            ("image/webp", Declared::Other),
            ("application/json", Declared::Other),
            ("image/*", Declared::Unknown),
            ("*/*", Declared::Unknown),
            ("application/*", Declared::Unknown),
            ("multipart/form-data; boundary=x", Declared::Unknown),
            ("binary/octet-stream", Declared::Unknown),
            ("Application/Octet-Stream", Declared::Unknown),
            ("null", Declared::Unknown),
            ("undefined", Declared::Unknown),
            ("image", Declared::Unknown),
            ("image/", Declared::Unknown),
            ("image/x-png", Declared::Unknown),
            ("image/jfif", Declared::Unknown),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(text).unwrap())]);
            assert_eq!(Declared::new(&headers, PhotoFormats::CONTRACT), expected, "{text}");
        }
        assert_eq!(Declared::new(&HeaderMap::new(), PhotoFormats::CONTRACT), Declared::Unknown);
    }

    #[test]
    fn an_image_has_an_accepted_format() {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("image/WebP"))]);
        assert_eq!(Declared::new(&headers, PhotoFormats::CONTRACT), Declared::Other);
        assert_eq!(Declared::new(&headers, PhotoFormats::ALL), Declared::Image);
        let webp = b"RIFF\x04\0\0\0WEBPVP8 ";
        assert!(is_image(webp, PhotoFormats::ALL) && !is_image(webp, PhotoFormats::CONTRACT));
    }
}
