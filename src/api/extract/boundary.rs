//! The boundary of a multipart form, including those of clients that violate the grammar.
//!
//! RFC 2045 requires quotes around a value with one of `= / : ? ,` or a blank in it. Clients that make up a boundary with
//! such characters often leave the quotes away (`===1718000000000===` in Java, base64 in Qt), or put stray blanks and
//! semicolons between the parameters. Their body is valid nevertheless, so the value is taken literally.

use axum::http::{HeaderMap, header};

/// Longest boundary, in bytes. RFC 2046 allows 70; the parser searches the body for it, so it must not be endless.
const MAX_BOUNDARY_BYTES: usize = 256;

/// The boundary of a form; `None` if the headers do not announce one.
pub(super) fn boundary(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let text = str::from_utf8(value.as_bytes()).ok()?;
    let boundary = multer::parse_boundary(text).ok().or_else(|| lenient(text))?;
    (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len()).then_some(boundary)
}

/// The value of the first parameter named `boundary`: what is between quotes, or all up to the next semicolon.
fn lenient(text: &str) -> Option<String> {
    let (essence, mut rest) = text.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let end = rest.find(['=', ';'])?;
        let (name, after) = rest.split_at(end);
        let Some(value) = after.strip_prefix('=') else {
            rest = after; // a name without a value
            continue;
        };
        let (value, after) = parameter_value(value.trim_start_matches([' ', '\t']));
        if name.trim().eq_ignore_ascii_case("boundary") {
            return Some(value);
        }
        rest = after;
    }
}

/// A parameter's value, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => return (value, &quoted[index + 1..]),
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        // The quote is never closed: it belongs to the value.
    }
    let end = text.find(';').unwrap_or(text.len());
    (text[..end].trim().to_owned(), &text[end..])
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(content_type: &str) -> Option<String> {
        let value = HeaderValue::from_bytes(content_type.as_bytes()).ok()?;
        boundary(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
    }

    #[test]
    fn boundaries_are_read_as_clients_write_them() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", "abc"),
            ("multipart/form-data;boundary=abc", "abc"),
            ("Multipart/Form-Data; Boundary=\"a b\"", "a b"),
            // The Java idiom, and Qt's base64.
            ("multipart/form-data; boundary====1718000000000===", "===1718000000000==="),
            ("multipart/form-data; boundary=boundary_.oOo._MjA0OTQ/NzE0==", "boundary_.oOo._MjA0OTQ/NzE0=="),
            ("multipart/form-data; boundary=a:b", "a:b"),
            ("multipart/form-data; boundary=a?b", "a?b"),
            ("multipart/form-data; boundary=a,b", "a,b"),
            ("multipart/form-data; boundary=a b", "a b"),
            ("multipart/form-data; boundary=(a)<b>@[c]", "(a)<b>@[c]"),
            // Blanks, tabs and semicolons between the parameters.
            ("multipart/form-data;   boundary=abc", "abc"),
            ("multipart/form-data;\tboundary=abc", "abc"),
            ("multipart/form-data ; boundary=abc", "abc"),
            ("multipart/form-data; boundary = abc", "abc"),
            ("multipart/form-data; boundary=abc ", "abc"),
            ("multipart/form-data;; boundary=abc", "abc"),
            ("multipart/form-data; boundary=abc;", "abc"),
            ("multipart/form-data; boundary==a=b; charset=utf-8", "=a=b"),
            ("multipart/form-data; charset=utf-8;; boundary==a", "=a"),
            ("multipart/form-data; charset; boundary==a", "=a"),
            ("multipart/form-data; x=\"; boundary=no\"; ; boundary=\"a;b\"", "a;b"),
            ("multipart/form-data;; boundary=\"a\\\"b\"", "a\"b"),
            ("multipart/form-data;; boundary=\"abc", "\"abc"),
            ("multipart/form-data;; boundary=ä", "ä"),
        ] {
            assert_eq!(read(content_type).as_deref(), Some(expected), "{content_type}");
        }
        let endless = format!("multipart/form-data; boundary={}", "x".repeat(257));
        for none in [
            "",
            "multipart/form-data",
            "multipart/form-data; boundary",
            "multipart/form-data; boundary=",
            "multipart/form-data;; boundary=;",
            "multipart/form-data;; boundary=\"\"",
            "multipart/mixed;; boundary=abc",
            "application/json; boundary=abc",
            "multipart/form-data; x=\"boundary=abc",
            &endless,
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    proptest! {
        /// Where the strict parse has an answer, the lenient one has the same.
        #[test]
        fn the_lenient_parse_agrees_with_the_strict_one(
            before in "(; ?[a-c]=([a-c]|\"[a-c;= ]{1,3}\")){0,2}",
            value in "[a-c'_-]{1,5}|\"[a-c;= ,:/?]{1,5}\"",
            after in "(; ?[a-c]=[a-c])?",
        ) {
            let text = format!("multipart/form-data{before}; boundary={value}{after}");
            let strict = multer::parse_boundary(&text).ok();
            prop_assume!(strict.is_some());
            prop_assert_eq!(lenient(&text), strict);
        }

        /// A value without a semicolon or a quote comes back as it is.
        #[test]
        fn an_unquoted_boundary_is_whole(value in "[!#-:<-~]([ !#-:<-~]{0,60}[!#-:<-~])?") {
            prop_assert_eq!(read(&format!("multipart/form-data;; boundary={value}; a=b")), Some(value));
        }
    }
}
