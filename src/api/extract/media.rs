//! Which declared media types count, and how the bytes of an image begin.

use axum::http::{HeaderMap, header};

/// What the sender says that a photo is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    /// A JPEG or a PNG. Which of the two it is, its bytes tell.
    Image,
    /// Nothing, or `application/octet-stream`, which is what curl says of an extension it does
    /// not know. The bytes decide.
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
        if essence.is_empty() || is("application/octet-stream") {
            Self::Unknown
        } else if ["image/jpeg", "image/jpg", "image/pjpeg", "image/png"].into_iter().any(is) {
            Self::Image
        } else {
            Self::Other
        }
    }
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
            ("image", Declared::Other),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(text).unwrap())]);
            assert_eq!(Declared::of(&headers), expected, "{text}");
        }
        assert_eq!(Declared::of(&HeaderMap::new()), Declared::Unknown);
    }
}
