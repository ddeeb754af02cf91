//! Ids from the names of files and folders.

use std::ffi::OsStr;
use std::fmt::Write as _;

use unicode_normalization::UnicodeNormalization as _;

use crate::domain::{IdError, TemplateId};

/// An id derived from a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedId {
    pub(super) id: TemplateId,
    /// Whether the name is not UTF-8, and the id has `%XX` for each byte that is not.
    pub(super) escaped: bool,
}

/// The id derived from a name, in Unicode normalization form C: macOS decomposes letters, and a name must have one id
/// on all systems.
pub(super) fn id_of(name: &OsStr) -> Result<NamedId, IdError> {
    let escaped = name.to_str().is_none();
    let text: String = text_of(name).nfc().collect();
    Ok(NamedId { id: text.parse()?, escaped })
}

/// A name as text. Bytes that are not UTF-8 are written as `%XX`.
pub(super) fn text_of(name: &OsStr) -> String {
    name.as_encoded_bytes().utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "%{byte:02X}"); // writing to a string does not fail
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_and_decomposed_names_have_one_id() {
        let apart = id_of(OsStr::new("Mu\u{308}ller, Rene\u{301}")).unwrap();
        assert_eq!(apart.id.as_str(), "M\u{fc}ller, Ren\u{e9}");
        assert_eq!(apart, id_of(OsStr::new("M\u{fc}ller, Ren\u{e9}")).unwrap());
        assert!(!apart.escaped);
    }

    #[test]
    fn invalid_ids_are_errors() {
        assert_eq!(id_of(OsStr::new("a\nb")), Err(IdError::Control));
        assert_eq!(id_of(OsStr::new(&"x".repeat(129))), Err(IdError::TooLong(128)));
        assert_eq!(id_of(OsStr::new(" ")), Err(IdError::Empty));
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_not_utf8_are_escaped() {
        let latin1 = std::os::unix::ffi::OsStrExt::from_bytes(b"M\xfcller");
        let named = id_of(latin1).unwrap();
        assert_eq!(named.id.as_str(), "M%FCller");
        assert!(named.escaped);
    }
}
