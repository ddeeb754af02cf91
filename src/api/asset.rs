//! Static files that the binary carries, and the headers that bind their pages.

use std::io::Write as _;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::outcome::Outcome;

/// The browser may keep a file, but must ask before each use whether it changed.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// Scripts, styles, pictures and calls of this origin alone; photos as blobs; no inline code, and no text that becomes
/// markup.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; connect-src \
     'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'",
);

/// Other origins can neither reach these pages through a window nor load their files.
const ISOLATION: [(HeaderName, HeaderValue); 2] = [
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// One content in one encoding.
struct Encoded {
    content: Bytes,
    etag: HeaderValue,
}

/// One embedded file.
pub(super) struct File {
    media_type: &'static str,
    plain: Encoded,
    /// Absent where it would not be smaller.
    gzip: Option<Encoded>,
}

impl File {
    /// A file with this name and content, compressed once.
    pub(super) fn new(path: &str, content: &'static [u8]) -> Self {
        Self {
            media_type: media_type(path),
            plain: Encoded { content: Bytes::from_static(content), etag: etag(content) },
            gzip: gzip(content),
        }
    }

    /// The response to a request for it. `permissions`: what its page may ask a person for.
    pub(super) fn serve(&self, request: &HeaderMap, permissions: HeaderValue) -> Response {
        let gzip = self.gzip.as_ref().filter(|_| accepts_gzip(request));
        let Encoded { content, etag } = gzip.unwrap_or(&self.plain);
        let mut response = if knows(request, etag) {
            Outcome::plain(StatusCode::NOT_MODIFIED)
        } else {
            Outcome::plain(([(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type))], content.clone()))
        };
        let headers = response.headers_mut();
        if gzip.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::ETAG, etag.clone());
        headers.insert(header::CACHE_CONTROL, NO_CACHE);
        headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(HeaderName::from_static("permissions-policy"), permissions);
        headers.extend(ISOLATION);
        response
    }
}

fn gzip(content: &[u8]) -> Option<Encoded> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).ok()?;
    let compressed = encoder.finish().ok().filter(|compressed| compressed.len() < content.len())?;
    Some(Encoded { etag: etag(&compressed), content: compressed.into() })
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// A strong validator: a part of the content's digest.
fn etag(content: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(content);
    let text = format!("\"{}\"", hex::encode(digest.get(..16).unwrap_or(&digest)));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The entries of a header that is a list.
fn entries(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
}

fn accepts_gzip(request: &HeaderMap) -> bool {
    entries(request, header::ACCEPT_ENCODING).any(|entry| {
        let (name, quality) = entry.split_once(';').unwrap_or((entry, ""));
        let refused = quality.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// Whether the browser has this content.
fn knows(request: &HeaderMap, etag: &HeaderValue) -> bool {
    entries(request, header::IF_NONE_MATCH).any(|known| known.trim_start_matches("W/") == etag)
}
