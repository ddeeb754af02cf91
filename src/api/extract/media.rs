//! Which declared media types count, and how the bytes of an image begin.

use axum::http::{HeaderMap, header};

/// What the sender says that a photo is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    /// A JPEG or a PNG. Which of the two it is, its bytes tell.
    Image,
    /// Nothing that tells a photo from another file; see [`says_nothing`]. The bytes decide.
    Unknown,
    /// Something else.
    Other,
}

impl Declared {
    /// From the `Content-Type` among some headers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let value = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |name: &str| essence.eq_ignore_ascii_case(name.as_bytes());
        if says_nothing(essence) {
            Self::Unknown
        } else if ["image/jpeg", "image/jpg", "image/pjpeg", "image/png"].into_iter().any(is) {
            Self::Image
        } else {
            Self::Other
        }
    }
}

/// Whether a declared type names no format: what clients send that do not know the type of their file.
///
/// That is `application/octet-stream`, which curl declares for an extension that it does not know, and its unofficial
/// siblings; a range such as `image/*`, taken over from a file chooser; the type of the form instead of the part's; an
/// unofficial name of PNG or JPEG; and what is no media type at all, such as `null` or `undefined`.
fn says_nothing(essence: &[u8]) -> bool {
    const NAMES: [&str; 5] = ["multipart/form-data", "image/x-png", "image/x-jpeg", "image/x-jpg", "image/jfif"];
    let Ok(text) = str::from_utf8(essence) else { return true };
    let Some((kind, subtype)) = text.split_once('/') else { return true };
    kind.is_empty()
        || matches!(subtype, "" | "*")
        || subtype.eq_ignore_ascii_case("octet-stream")
        || NAMES.iter().any(|name| text.eq_ignore_ascii_case(name))
}

/// Whether bytes begin as a JPEG or a PNG does.
pub(super) fn is_image(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xFF\xD8\xFF") || bytes.starts_with(b"\x89PNG\r\n\x1A\n")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_declared_type_is_read_as_people_write_it() {
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
            assert_eq!(Declared::of(&headers), expected, "{text}");
        }
        assert_eq!(Declared::of(&HeaderMap::new()), Declared::Unknown);
    }
}
