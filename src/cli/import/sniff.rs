//! Whether a file is meant to be a photo, by its first bytes. Whether it can be read is for the decoder to say.

/// Whether the first bytes of a file are those of a known format of photos.
pub(super) fn looks_like_a_photo(head: &[u8]) -> bool {
    match head {
        [0xff, 0xd8, 0xff, ..] | [0x89, b'P', b'N', b'G', ..] | [b'G', b'I', b'F', b'8', ..] => true,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => true,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => true,
        [b'B', b'M', ..] => {
            head.get(14..18).is_some_and(|size| matches!(size, [12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
        }
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => {
            let brand = brand.get(..4).unwrap_or_default();
            [&b"heic"[..], b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"]
                .contains(&brand)
        }
        _ => false,
    }
}
