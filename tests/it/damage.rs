//! Damaged and cut-off JPEGs: what is missing is known from the decoder, whatever the file ends with.

use semblance::domain::{DecodeFault, PhotoFault, PhotoFormat};
use semblance::image::{DecodeLimits, Photo, UprightImage, decode};

use crate::flavours::{coded, codings, marker};
use crate::pictures::exif;

const SIZE: (u32, u32) = (256, 256);

fn decoded(bytes: &[u8]) -> Result<UprightImage, PhotoFault> {
    decode(&Photo::new(bytes), &DecodeLimits::default())
}

fn is_refused(bytes: &[u8]) -> bool {
    let lost = |fault| matches!(fault, DecodeFault::Incomplete { .. } | DecodeFault::Damaged(PhotoFormat::Jpeg));
    matches!(decoded(bytes), Err(PhotoFault::Undecodable(fault)) if lost(fault))
}

#[test]
fn a_cut_off_jpeg_is_refused_whatever_is_appended() {
    let other = coded("baseline", SIZE);
    let tails: [(&str, &[u8]); 4] = [
        ("nothing", &[]),
        ("an end marker", &[0xff, 0xd9]),
        ("another JPEG", &other),
        ("an end marker and another JPEG", &[&[0xff, 0xd9], &other[..]].concat()),
    ];
    for coding in codings() {
        let whole = coded(coding, SIZE);
        assert!(decoded(&whole).is_ok(), "{coding}");
        // The end of arithmetically coded data looks like a flat surface, so only the scan that carries the
        // shape is judged.
        let several = coding.contains("per component") || coding.contains("progressive");
        let shares = if coding.contains("arithmetic") && several { 20..=30 } else { 20..=80 };
        for share in shares.step_by(10) {
            for (name, tail) in tails {
                let bytes = [&whole[..whole.len() * share / 100], tail].concat();
                assert!(is_refused(&bytes), "{share} % of {coding}, then {name}: {:?}", decoded(&bytes));
            }
        }
    }
}

#[test]
fn part_of_the_last_row_may_be_missing() {
    let whole = coded("baseline", SIZE);
    // 32 rows of blocks, each about as long.
    let cut = |rows: usize| [&whole[..whole.len() - rows * whole.len() / 64], &[0xff, 0xd9]].concat();
    assert!(decoded(&cut(1)).is_ok());
    assert_eq!(decoded(&cut(3)), Err(DecodeFault::Incomplete { missing: 2, total: 32 }.into()));
    // Rows are not exactly as long as each other.
    let half = decoded(&cut(32));
    assert!(
        matches!(half, Err(PhotoFault::Undecodable(DecodeFault::Incomplete { missing: 15..=18, total: 32 }))),
        "{half:?}"
    );
}

/// The places of the restart markers.
fn restarts(jpeg: &[u8]) -> Vec<usize> {
    let data = marker(jpeg, 0xda).unwrap();
    (data..jpeg.len() - 1).filter(|at| jpeg[*at] == 0xff && (0xd0..=0xd7).contains(&jpeg[at + 1])).collect()
}

/// How many of the 32 rows of blocks differ between two pictures.
fn rows_that_differ(a: &UprightImage, b: &UprightImage) -> Vec<usize> {
    let row = 3 * 8 * SIZE.0 as usize;
    let rows = a.rgb().chunks(row).zip(b.rgb().chunks(row));
    rows.enumerate().filter(|(_, (a, b))| a != b).map(|(at, _)| at).collect()
}

#[test]
fn decoding_continues_at_the_next_restart_marker() {
    for coding in ["restart each row", "arithmetic, restart each row"] {
        let whole = coded(coding, SIZE);
        let picture = decoded(&whole).unwrap();
        let marks = restarts(&whole);
        assert_eq!(marks.len(), 31, "{coding}");
        // Row 5 without its second half.
        let middle = usize::midpoint(marks[4], marks[5]);
        let damaged = [&whole[..middle], &whole[marks[5]..]].concat();
        assert_eq!(rows_that_differ(&decoded(&damaged).unwrap(), &picture), [5], "{coding}: half a row is lost");
        // Row 5 and its marker.
        let damaged = [&whole[..marks[4]], &whole[marks[5]..]].concat();
        assert_eq!(rows_that_differ(&decoded(&damaged).unwrap(), &picture), [5], "{coding}: a row is lost");
        // Rows 5 and 6.
        let damaged = [&whole[..marks[4]], &whole[marks[6]..]].concat();
        let expected = DecodeFault::Incomplete { missing: 2, total: 32 };
        assert_eq!(decoded(&damaged), Err(expected.into()), "{coding}: two rows are lost");
    }
    // Halves of rows 5, 11 and 20, which is more than a row.
    let whole = coded("restart each row", SIZE);
    let marks = restarts(&whole);
    let mut damaged = whole.clone();
    for row in [20, 11, 5] {
        damaged.drain(usize::midpoint(marks[row - 1], marks[row])..marks[row]);
    }
    assert!(is_refused(&damaged), "{:?}", decoded(&damaged));
}

#[test]
fn the_largest_photos_of_phones_are_decoded() {
    use image::codecs::jpeg::JpegEncoder;
    for (width, height) in [(8160, 6144), (8192, 6144)] {
        let mut bytes = Vec::new();
        let pixels = vec![90; width as usize * height as usize];
        JpegEncoder::new_with_quality(&mut bytes, 50)
            .encode(&pixels, width, height, image::ExtendedColorType::L8)
            .unwrap();
        let image = decoded(&bytes).unwrap();
        assert_eq!((image.width(), image.height()), (width, height));
        assert_eq!(image.rgb()[..3], [90; 3]);
    }
}

#[test]
fn a_refusal_names_the_limit_and_the_values() {
    let mut large = coded("baseline", (16, 16));
    let frame = marker(&large, 0xc0).unwrap();
    large[frame + 5..frame + 9].copy_from_slice(&[0x20, 0, 0x40, 0]);
    let fault = decoded(&large).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "16384 x 8192 = 134217728 pixels exceed limits.photo_pixels = 64000000; send a smaller photo, or raise the limit"
    );
    let unusual = |at: usize, value: u8| {
        let mut bytes = coded("baseline", (16, 16));
        bytes[frame + at] = value;
        decoded(&bytes).unwrap_err().to_string()
    };
    let remedy = "is not decoded; convert the photo to an ordinary JPEG or PNG";
    assert_eq!(unusual(4, 12), format!("JPEG with other than 8 bits a sample {remedy}"));
    assert_eq!(unusual(1, 0xc3), format!("JPEG with lossless or hierarchical coding {remedy}"));
}

/// Exif with an orientation of another type, among other tags.
#[test]
fn exif_orientation_may_be_typed_long() {
    for (big, kind, value) in [(true, 4, [0, 0, 0, 6]), (false, 4, [6, 0, 0, 0]), (true, 3, [0, 6, 0, 0])] {
        let mut block = exif(1, big);
        block[if big { 13 } else { 12 }] = kind;
        block[18..22].copy_from_slice(&value);
        let segment = [b"Exif\0\0", &block[..]].concat();
        let photo = crate::pictures::with_segment(&coded("baseline", (32, 16)), 0xe1, &segment);
        let image = decoded(&photo).unwrap();
        assert_eq!((image.width(), image.height()), (16, 32), "{big} {kind}");
    }
}
