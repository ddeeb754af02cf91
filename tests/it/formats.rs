//! Formats beside JPEG and PNG, by content; and which way up their metadata says they are.

use image::codecs::bmp::BmpEncoder;
use image::codecs::gif::GifEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::tiff::TiffEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbaImage};
use proptest::prelude::*;
use semblance::domain::{DecodeFault, PhotoFault, PhotoFormat, PhotoFormats};
use semblance::image::{DecodeLimits, Photo, UprightImage, decode};

use crate::flavours::coded;
use crate::pictures::{chunk, exif, with_chunk, with_segment};

/// Those beside JPEG and PNG.
pub const OTHERS: [PhotoFormat; 4] = [PhotoFormat::WebP, PhotoFormat::Bmp, PhotoFormat::Tiff, PhotoFormat::Gif];

fn decoded_as(bytes: &[u8], formats: PhotoFormats) -> Result<UprightImage, PhotoFault> {
    decode(&Photo::new(bytes), &DecodeLimits { formats, ..DecodeLimits::default() })
}

fn decoded(bytes: &[u8]) -> Result<UprightImage, PhotoFault> {
    decoded_as(bytes, PhotoFormats::ALL)
}

/// Red, and below it green that is fully transparent.
fn flag() -> RgbaImage {
    RgbaImage::from_fn(
        48,
        32,
        |_, y| if y < 16 { image::Rgba([200, 10, 20, 255]) } else { image::Rgba([0, 255, 0, 0]) },
    )
}

/// A picture of two halves.
pub fn encoded(format: PhotoFormat) -> Vec<u8> {
    let picture = flag();
    let mut bytes = std::io::Cursor::new(Vec::new());
    let rgba = ExtendedColorType::Rgba8;
    let done = match format {
        PhotoFormat::WebP => WebPEncoder::new_lossless(&mut bytes).write_image(&picture, 48, 32, rgba),
        PhotoFormat::Bmp => BmpEncoder::new(bytes.get_mut()).write_image(&picture, 48, 32, rgba),
        PhotoFormat::Tiff => TiffEncoder::new(&mut bytes).write_image(&picture, 48, 32, rgba),
        PhotoFormat::Gif => GifEncoder::new(&mut bytes).encode(&picture, 48, 32, rgba),
        _ => PngEncoder::new(&mut bytes).write_image(&picture, 48, 32, rgba),
    };
    done.unwrap();
    bytes.into_inner()
}

#[test]
fn every_format_is_decoded_where_it_is_accepted() {
    for format in OTHERS.into_iter().chain([PhotoFormat::Png]) {
        let bytes = encoded(format);
        assert_eq!(PhotoFormat::sniff(&bytes), Some(format));
        let image = decoded(&bytes).unwrap();
        assert_eq!((image.width(), image.height()), (48, 32), "{format}");
        let top = &image.rgb()[..3];
        let bottom = &image.rgb()[3 * 48 * 31..][..3];
        assert!(top.iter().zip([200, 10, 20]).all(|(a, b)| a.abs_diff(b) <= 8), "{format}: {top:?}");
        assert_eq!(bottom, [255; 3], "{format}: transparent over white");
    }
}

#[test]
fn a_format_that_is_not_accepted_is_named_with_a_remedy() {
    for format in OTHERS {
        let fault = decoded_as(&encoded(format), PhotoFormats::CONTRACT).unwrap_err();
        assert_eq!(fault, DecodeFault::NotAccepted(format).into());
        assert_eq!(
            fault.to_string(),
            format!(
                "{format} is not in photo.formats; convert the photo to JPEG or PNG, or add the format to photo.formats"
            )
        );
    }
    let only_png = PhotoFormats::from_iter([PhotoFormat::Png]);
    assert_eq!(
        decoded_as(&coded("baseline", (16, 16)), only_png),
        Err(DecodeFault::NotAccepted(PhotoFormat::Jpeg).into())
    );
}

#[test]
fn heic_and_avif_are_named_with_a_remedy() {
    let media = |brands: &[&[u8; 4]]| {
        let brands = brands.iter().flat_map(|brand| **brand).collect::<Vec<u8>>();
        [&(8 + brands.len() as u32).to_be_bytes()[..], b"ftyp", &brands, &[0; 40]].concat()
    };
    let cases: [(&[&[u8; 4]], Option<PhotoFormat>); 7] = [
        (&[b"heic", b"\0\0\0\0", b"mif1", b"heic"], Some(PhotoFormat::Heic)),
        (&[b"mif1", b"\0\0\0\0", b"mif1", b"heix"], Some(PhotoFormat::Heic)),
        (&[b"mif1", b"\0\0\0\0"], Some(PhotoFormat::Heic)),
        (&[b"avif", b"\0\0\0\0", b"avif", b"mif1"], Some(PhotoFormat::Avif)),
        (&[b"mif1", b"\0\0\0\0", b"mif1", b"avif"], Some(PhotoFormat::Avif)),
        (&[b"isom", b"\0\0\0\0", b"mp41"], None),
        (&[b"qt  ", b"\0\0\0\0"], None),
    ];
    for (brands, format) in cases {
        let expected = format.map_or(DecodeFault::NotAPhoto, DecodeFault::NotDecoded);
        assert_eq!(decoded(&media(brands)), Err(expected.into()), "{brands:?}");
    }
    assert_eq!(
        DecodeFault::NotDecoded(PhotoFormat::Heic).to_string(),
        "HEIC is not decoded; convert the photo to JPEG, or set the phone's camera to \"Most Compatible\""
    );
}

#[test]
fn truncated_files_are_refused() {
    for format in OTHERS {
        let whole = encoded(format);
        for share in [10, 30, 50, 80] {
            let fault = decoded(&whole[..whole.len() * share / 100]).unwrap_err();
            assert_eq!(fault, DecodeFault::Damaged(format).into(), "{share} % of a {format}");
        }
    }
}

/// Headers that promise more pixels than allowed: refused before memory is taken.
#[test]
fn bombs_are_refused_by_their_headers() {
    let mut bmp = encoded(PhotoFormat::Bmp);
    bmp[18..26].copy_from_slice(&[0, 0x40, 0, 0, 0, 0x40, 0, 0]);
    let mut gif = encoded(PhotoFormat::Gif);
    gif[6..10].copy_from_slice(&[0, 0x40, 0, 0x40]);
    for (bytes, what) in [(bmp, "bmp"), (gif, "gif")] {
        let expected = DecodeFault::TooManyPixels { width: 16_384, height: 16_384, limit: 64_000_000 };
        assert_eq!(decoded(&bytes), Err(expected.into()), "{what}");
    }
    let mut gif = encoded(PhotoFormat::Gif);
    gif[6..10].fill(0xff);
    let expected = DecodeFault::TooLong { width: 65_535, height: 65_535, limit: 16_384 };
    assert_eq!(decoded(&gif), Err(expected.into()));
    let extended = [&[0_u8; 4][..], &[0xff, 0x3f, 0, 0xff, 0x3f, 0]].concat();
    let webp = [b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0", &extended[..]].concat();
    assert!(decoded(&webp).is_err());
}

/// A packet of XMP with an orientation, as attribute or as element.
pub fn xmp(orientation: u8, element: bool) -> Vec<u8> {
    let inside = if element { format!("<tiff:Orientation>{orientation}</tiff:Orientation>") } else { String::new() };
    let attribute = if element { String::new() } else { format!(r#" tiff:Orientation="{orientation}""#) };
    format!(
        r#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
        <rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{attribute}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>"#
    )
    .into_bytes()
}

/// A chunk of a WebP, which an extended header has to announce.
fn webp_with(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let plain = encoded(PhotoFormat::WebP);
    let mut chunk = [&kind[..], &(data.len() as u32).to_le_bytes(), data].concat();
    chunk.extend(vec![0; data.len() % 2]);
    let flag = if kind == b"EXIF" { 0x08 } else { 0x04 };
    let body = [b"WEBPVP8X\x0a\0\0\0", &[0x10 | flag, 0, 0, 0, 47, 0, 0, 31, 0, 0][..], &plain[12..], &chunk].concat();
    [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
}

#[test]
fn orientation_is_read_from_every_place() {
    let jpeg = coded("baseline", (48, 32));
    let png = encoded(PhotoFormat::Png);
    let end = png.len() - 12;
    let behind = |kind: &[u8; 4], data: &[u8]| [&png[..end], &chunk(kind, data), &png[end..]].concat();
    let segment = |mark: &[u8], data: &[u8]| with_segment(&jpeg, 0xe1, &[mark, data].concat());
    let exif_mark = &b"Exif\0\0"[..];
    let xmp_mark = &b"http://ns.adobe.com/xap/1.0/\0"[..];
    let text = |data: &[u8]| [b"XML:com.adobe.xmp\0\0\0\0\0", data].concat();
    let mut tiff = encoded(PhotoFormat::Tiff);
    turn_tiff(&mut tiff);
    let cases = [
        ("XMP attribute in a JPEG", segment(xmp_mark, &xmp(6, false))),
        ("XMP element in a JPEG", segment(xmp_mark, &xmp(6, true))),
        ("XMP in a PNG", with_chunk(&png, &chunk(b"iTXt", &text(&xmp(8, false))))),
        ("XMP behind the data of a PNG", behind(b"iTXt", &text(&xmp(8, true)))),
        ("eXIf in a PNG", with_chunk(&png, &chunk(b"eXIf", &exif(6, true)))),
        ("eXIf behind the data of a PNG", behind(b"eXIf", &exif(6, false))),
        ("Exif in a WebP", webp_with(b"EXIF", &exif(5, false))),
        ("XMP in a WebP", webp_with(b"XMP ", &xmp(7, false))),
        ("a TIFF", tiff),
        ("Exif without orientation, XMP with", {
            let mut other = exif(1, true);
            other[11] = 0x13;
            with_segment(&segment(xmp_mark, &xmp(6, false)), 0xe1, &[exif_mark, &other].concat())
        }),
        (
            "Exif against XMP",
            with_segment(&segment(xmp_mark, &xmp(1, false)), 0xe1, &[exif_mark, &exif(6, true)].concat()),
        ),
        (
            "XMP before Exif",
            with_segment(&segment(exif_mark, &exif(6, true)), 0xe1, &[xmp_mark, &xmp(3, true)].concat()),
        ),
    ];
    for (name, bytes) in cases {
        let image = decoded(&bytes).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!((image.width(), image.height()), (32, 48), "{name}");
    }
    let upright = with_segment(&segment(xmp_mark, &xmp(6, false)), 0xe1, &[exif_mark, &exif(1, true)].concat());
    assert_eq!(decoded(&upright).unwrap().width(), 48, "Exif says that it is upright");
}

/// Makes a TIFF's first unneeded tag its orientation: 6.
fn turn_tiff(tiff: &mut [u8]) {
    let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    let entries = usize::from(u16::from_le_bytes(tiff[directory..directory + 2].try_into().unwrap()));
    let tag = |at: usize| u16::from_le_bytes(tiff[at..at + 2].try_into().unwrap());
    let mut places = (0..entries).map(|entry| directory + 2 + 12 * entry);
    // Resolution in x: not used.
    let at = places.find(|at| tag(*at) == 282).unwrap();
    tiff[at..at + 12].copy_from_slice(&[0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_files_of_every_format_never_panic(
        which in 0usize..4,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = encoded(OTHERS[which]);
        for (at, value) in edits {
            *at.get_mut(&mut bytes) = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let limits = DecodeLimits { pixels: 1_000_000, formats: PhotoFormats::ALL, ..DecodeLimits::default() };
        if let Ok(image) = decode(&Photo::new(bytes), &limits) {
            prop_assert_eq!(image.rgb().len() as u64, 3 * u64::from(image.width()) * u64::from(image.height()));
        }
    }
}
