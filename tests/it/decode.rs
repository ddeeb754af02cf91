//! Every flavour of JPEG and PNG decodes to the same upright pixels; nothing hostile gets far.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, RgbImage};
use proptest::prelude::*;
use semblance::domain::{DecodeFault, PhotoFault};
use semblance::image::{DecodeLimits, Photo, UprightImage, decode};

use crate::pictures::{chunk, crc32, exif, fixture, jpeg, png, progressive, scanned_again};

type Rgb = [u8; 3];

const QUARTERS: [Rgb; 4] = [[220, 30, 40], [30, 200, 50], [40, 60, 210], [120, 120, 120]];

fn decoded(bytes: impl Into<Vec<u8>>) -> Result<UprightImage, PhotoFault> {
    decode(&Photo::new(bytes.into()), &DecodeLimits::default())
}

/// The colours in the middle of the four quarters.
fn colours(image: &UprightImage) -> [Rgb; 4] {
    let (w, h) = (image.width(), image.height());
    [(1, 1), (3, 1), (1, 3), (3, 3)].map(|(x, y)| {
        let at = 3 * (y * h / 4 * w + x * w / 4) as usize;
        image.rgb()[at..at + 3].try_into().unwrap()
    })
}

#[track_caller]
fn assert_quarters(image: &UprightImage, expected: [Rgb; 4], what: &str) {
    let found = colours(image);
    let near = found.iter().flatten().zip(expected.iter().flatten()).all(|(a, b)| a.abs_diff(*b) <= 6);
    assert!(near, "{what}: {found:?} instead of {expected:?}");
    assert_eq!((image.width(), image.height()), (64, 48), "{what}");
}

fn quarters() -> RgbImage {
    RgbImage::from_fn(64, 48, |x, y| image::Rgb(QUARTERS[usize::from(x >= 32) + 2 * usize::from(y >= 24)]))
}

#[test]
fn every_format_decodes_to_the_same_colors() {
    let coloured = ["progressive.jpg", "restarts.jpg", "cmyk.jpg", "cmyk_unmarked.jpg", "ycck.jpg"];
    for name in coloured.into_iter().chain(["palette.png", "interlaced.png", "animated.png"]) {
        assert_quarters(&decoded(fixture(name)).unwrap(), QUARTERS, name);
    }
    assert_quarters(&decoded(fixture("grey.jpg")).unwrap(), [[88; 3], [132; 3], [71; 3], [120; 3]], "grey.jpg");
    assert_quarters(&decoded(jpeg(&quarters(), 95)).unwrap(), QUARTERS, "baseline");
    let raw = quarters().into_raw();
    assert_quarters(&decoded(png(&raw, 64, 48, ExtendedColorType::Rgb8)).unwrap(), QUARTERS, "png");
    let wide: Vec<u8> = raw.iter().flat_map(|v| (u16::from(*v) * 257).to_ne_bytes()).collect();
    assert_quarters(&decoded(png(&wide, 64, 48, ExtendedColorType::Rgb16)).unwrap(), QUARTERS, "16 bits");
    let grey: Vec<u8> = raw.chunks_exact(3).map(|p| p[0]).collect();
    let expected = QUARTERS.map(|q| [q[0]; 3]);
    assert_quarters(&decoded(png(&grey, 64, 48, ExtendedColorType::L8)).unwrap(), expected, "grey png");
}

#[test]
fn transparent_pixels_are_blended_with_white() {
    let mut expected = QUARTERS;
    expected[1] = [255; 3];
    assert_quarters(&decoded(fixture("palette_transparent.png")).unwrap(), expected, "palette");
    let half: Vec<u8> = quarters().pixels().flat_map(|p| [p[0], p[1], p[2], 128]).collect();
    let mixed = QUARTERS.map(|q| q.map(|c| ((u16::from(c) * 128 + 255 * 127) / 255) as u8));
    assert_quarters(&decoded(png(&half, 64, 48, ExtendedColorType::Rgba8)).unwrap(), mixed, "half");
}

/// How to store a picture so that the orientation turns it upright again.
fn stored(orientation: u8) -> RgbImage {
    let undo = match orientation {
        6 => 8,
        8 => 6,
        other => other,
    };
    let mut picture = DynamicImage::ImageRgb8(quarters());
    picture.apply_orientation(Orientation::from_exif(undo).unwrap());
    picture.into_rgb8()
}

#[test]
fn all_eight_orientations_decode_to_the_same_image() {
    for orientation in 1..=8 {
        for big in [false, true] {
            let picture = stored(orientation);
            let exif = exif(orientation, big);
            let (width, height) = picture.dimensions();
            let mut bytes = Vec::new();
            let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
            encoder.set_exif_metadata(exif.clone()).unwrap();
            encoder.encode_image(&picture).unwrap();
            assert_quarters(&decoded(bytes).unwrap(), QUARTERS, &format!("jpeg {orientation} {big}"));
            let mut bytes = Vec::new();
            let mut encoder = PngEncoder::new(&mut bytes);
            encoder.set_exif_metadata(exif).unwrap();
            encoder.write_image(&picture, width, height, ExtendedColorType::Rgb8).unwrap();
            assert_quarters(&decoded(bytes).unwrap(), QUARTERS, &format!("png {orientation} {big}"));
        }
    }
}

#[test]
fn an_empty_file_and_an_unknown_format_are_distinguished() {
    assert_eq!(decoded([]), Err(PhotoFault::Empty));
    for bytes in [&b"\xff"[..], b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a\x01\0\x01\0\0\0\0;", b"<svg/>", b"BM"] {
        assert!(matches!(decoded(bytes), Err(PhotoFault::Undecodable(_))), "{bytes:?}");
    }
}

#[test]
fn a_photo_that_ends_too_early_is_refused() {
    // Noise, so that every row costs bytes.
    let noise = RgbImage::from_fn(256, 256, |x, y| image::Rgb([x, y, x ^ y].map(|v| (v * 97 + x * y * 13) as u8)));
    let whole = jpeg(&noise, 90);
    assert!(decoded(&whole[..]).is_ok());
    assert!(decoded(&whole[..whole.len() - 2]).is_ok(), "only the end marker is lost");
    // At 97 % only a part of the last row of blocks is lost: that is let through.
    for share in [3, 10, 30, 50, 70, 90] {
        assert!(
            matches!(decoded(&whole[..whole.len() * share / 100]), Err(PhotoFault::Undecodable(_))),
            "{share} % of a JPEG"
        );
    }
    let whole = png(noise.as_raw(), 256, 256, ExtendedColorType::Rgb8);
    for share in [3, 10, 30, 50, 70, 90, 97] {
        assert!(
            matches!(decoded(&whole[..whole.len() * share / 100]), Err(PhotoFault::Undecodable(_))),
            "{share} % of a PNG"
        );
    }
}

#[test]
fn limits_are_checked_before_anything_is_decoded() {
    let within = |limits: DecodeLimits| decode(&Photo::new(jpeg(&quarters(), 90)), &limits).is_ok();
    let limits = DecodeLimits { pixels: 64 * 48, side: 64, bytes: 3 * 64 * 48, ..DecodeLimits::default() };
    assert!(within(limits));
    assert!(!within(DecodeLimits { pixels: 64 * 48 - 1, ..limits }));
    assert!(!within(DecodeLimits { side: 63, ..limits }));
    assert!(!within(DecodeLimits { bytes: 3 * 64 * 48 - 1, ..limits }));
}

/// A header that promises 65,000 x 65,000 pixels of 8 bytes: 33 GB, were it believed.
#[test]
fn a_decompression_bomb_is_refused_by_its_header() {
    let mut bomb = png(&[0; 3], 1, 1, ExtendedColorType::Rgb8);
    bomb[16..24].copy_from_slice(&[0, 0, 0xfd, 0xe8, 0, 0, 0xfd, 0xe8]);
    bomb[24..26].copy_from_slice(&[16, 6]);
    let crc = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    assert!(matches!(decoded(bomb), Err(PhotoFault::Undecodable(_))));

    let mut bomb = jpeg(&quarters(), 90);
    let frame = bomb.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bomb[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    assert!(matches!(decoded(bomb), Err(PhotoFault::Undecodable(_))));
}

/// Found by fuzzing: the decoder panics when the last colour of a palette lacks a part.
#[test]
fn a_png_with_a_truncated_palette_is_refused() {
    let whole = fixture("palette.png");
    let at = whole.windows(4).position(|kind| kind == b"PLTE").unwrap();
    let length = u32::from_be_bytes(whole[at - 4..at].try_into().unwrap()) as usize;
    for lost in 0..6 {
        let palette = chunk(b"PLTE", &whole[at + 4..at + 4 + length - lost]);
        let bytes = [&whole[..at - 4], &palette, &whole[at + 8 + length..]].concat();
        assert_eq!(decoded(bytes).is_ok(), lost % 3 == 0, "{lost} bytes are lost");
    }
}

/// Every scan walks over all blocks again, and costs the sender a few bytes.
#[test]
fn a_jpeg_of_very_many_scans_is_refused() {
    assert!(decoded(progressive(64, 48, 3, 60)).is_ok());
    assert!(matches!(decoded(progressive(64, 48, 3, 65)), Err(PhotoFault::Undecodable(_))));
    assert!(matches!(decoded(scanned_again(16_384, 64, 10_000)), Err(PhotoFault::Undecodable(_))));
    // A few of them are decoded, but hold no picture.
    assert_eq!(decoded(scanned_again(160, 64, 60)), Err(DecodeFault::Incomplete { missing: 8, total: 8 }.into()));
}

/// The larger the photo, the fewer scans: the limit is what they walk over.
#[test]
fn the_scan_limit_depends_on_the_size() {
    let limits = |pixels| DecodeLimits { pixels, ..DecodeLimits::default() };
    let photo = Photo::new(progressive(64, 48, 3, 40));
    assert!(decode(&photo, &limits(2 * 64 * 48)).is_ok());
    assert!(matches!(decode(&photo, &limits(2 * 64 * 48 - 1)), Err(PhotoFault::Undecodable(_))));
}

#[test]
fn debug_shows_no_pixels() {
    let image = decoded(jpeg(&quarters(), 90)).unwrap();
    assert_eq!(format!("{image:?}"), "UprightImage(64 x 48)");
}

fn originals() -> Vec<Vec<u8>> {
    let names = ["progressive.jpg", "restarts.jpg", "cmyk.jpg", "ycck.jpg", "grey.jpg"];
    let pictures = ["palette_transparent.png", "interlaced.png", "animated.png"];
    let mut all: Vec<_> = names.into_iter().chain(pictures).map(fixture).collect();
    all.push(jpeg(&stored(6), 80));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens to the bytes, decoding ends with a picture or a fault.
    #[test]
    fn damaged_bytes_never_panic(
        which in 0usize..9,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = originals().swap_remove(which);
        for (at, value) in edits {
            *at.get_mut(&mut bytes) = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let limits = DecodeLimits { pixels: 1_000_000, ..DecodeLimits::default() };
        if let Ok(image) = decode(&Photo::new(bytes), &limits) {
            prop_assert_eq!(image.rgb().len() as u64, 3 * u64::from(image.width()) * u64::from(image.height()));
        }
    }

    #[test]
    fn any_bytes_behind_a_magic_number_never_panic(rest in prop::collection::vec(any::<u8>(), 0..600), png in any::<bool>()) {
        let magic: &[u8] = if png { b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" } else { &[0xff, 0xd8, 0xff] };
        let _ = decode(&Photo::new([magic, &rest].concat()), &DecodeLimits { pixels: 1_000_000, ..DecodeLimits::default() });
    }
}
