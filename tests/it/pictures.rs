//! Pictures made by hand: flavours, metadata, chunks.

use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};

pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The pictures of `tests/fixtures`, which no encoder at hand makes.
pub const FIXTURES: [&str; 10] = [
    "progressive.jpg",
    "restarts.jpg",
    "cmyk.jpg",
    "cmyk_unmarked.jpg",
    "ycck.jpg",
    "grey.jpg",
    "palette.png",
    "palette_transparent.png",
    "interlaced.png",
    "animated.png",
];

pub fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

pub fn jpeg(picture: &RgbImage, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(picture).unwrap();
    bytes
}

pub fn png(pixels: &[u8], width: u32, height: u32, colour: ExtendedColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(pixels, width, height, colour).unwrap();
    bytes
}

/// An Exif block with nothing but an orientation, in either byte order.
pub fn exif(orientation: u8, big: bool) -> Vec<u8> {
    if big {
        let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0];
        [b"MM\0\x2a\0\0\0\x08\0\x01".as_slice(), &entry, &[0; 4]].concat()
    } else {
        let entry = [0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0];
        [b"II\x2a\0\x08\0\0\0\x01\0".as_slice(), &entry, &[0; 4]].concat()
    }
}

pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// A chunk of a PNG.
pub fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind, data].concat();
    [&(data.len() as u32).to_be_bytes()[..], &body, &crc32(&body).to_be_bytes()].concat()
}

/// A PNG with something put in behind its head.
pub fn with_chunk(png: &[u8], chunk: &[u8]) -> Vec<u8> {
    [&png[..33], chunk, &png[33..]].concat()
}

/// A JPEG with a segment put in behind its first marker.
pub fn with_segment(jpeg: &[u8], marker: u8, data: &[u8]) -> Vec<u8> {
    let length = ((data.len() + 2) as u16).to_be_bytes();
    [&jpeg[..2], &[0xff, marker], &length, data, &jpeg[2..]].concat()
}

/// A PNG with its checksums recomputed, as far as its chunks can be parsed.
pub fn with_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut at = PNG.len();
    while bytes.starts_with(PNG) {
        let Some(length) = bytes.get(at..at + 4).map(|four| u32::from_be_bytes(four.try_into().unwrap()) as usize)
        else {
            break;
        };
        let Some(body) = at.checked_add(8 + length).and_then(|end| bytes.get(at + 4..end)) else { break };
        let crc = crc32(body).to_be_bytes();
        at += 8 + length;
        bytes.iter_mut().skip(at).zip(crc).for_each(|(byte, new)| *byte = new);
        at += 4;
    }
    bytes
}

/// A zlib stream of nothing but zeros, without its checksum: so many megabytes in a thousandth of the room.
pub fn zeros(megabytes: usize) -> Vec<u8> {
    // One block with fixed codes: a zero, then copies of the 258 bytes before.
    let mut bits: Vec<bool> = vec![true, true, false];
    bits.extend([false, false, true, true, false, false, false, false]);
    let copy = [true, true, false, false, false, true, false, true, false, false, false, false, false];
    for _ in 0..megabytes * (1 << 20) / 258 {
        bits.extend(copy);
    }
    bits.extend([false; 7]);
    let bytes = bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| (byte << 1) | u8::from(*bit)));
    [0x78, 0x01].into_iter().chain(bytes).collect()
}

/// A grey or coloured progressive JPEG of one flat colour: every scan after the first refines nothing, at length.
pub fn progressive(width: u16, height: u16, components: u8, scans: usize) -> Vec<u8> {
    let segment =
        |marker: u8, data: &[u8]| [&[0xff, marker], &((data.len() + 2) as u16).to_be_bytes()[..], data].concat();
    let each = |entry: fn(u8) -> Vec<u8>| (1..=components).flat_map(entry).collect::<Vec<u8>>();
    let size = [&[8], &height.to_be_bytes()[..], &width.to_be_bytes(), &[components]].concat();
    // One code of one bit in each table: no difference (DC), and a run of ended blocks (AC).
    let table = |class: u8, symbol: u8| [&[class, 1], &[0; 15][..], &[symbol]].concat();
    let mut jpeg = [
        vec![0xff, 0xd8],
        segment(0xdb, &[&[0], &[1; 64][..]].concat()),
        segment(0xc2, &[size, each(|id| vec![id, 0x11, 0])].concat()),
        segment(0xc4, &table(0x00, 0x00)),
        segment(0xc4, &table(0x10, 0xe0)),
        segment(0xda, &[&[components][..], &each(|id| vec![id, 0]), &[0, 0, 0]].concat()),
    ]
    .concat();
    let blocks = usize::from(width).div_ceil(8) * usize::from(height).div_ceil(8);
    jpeg.extend(vec![0; (blocks * usize::from(components)).div_ceil(8)]);
    // 15 bits say "and 32767 blocks more": eight of them fill 15 bytes.
    let bits: u128 = (0..8).fold(0, |bits, _| (bits << 15) | 0x3fff);
    let run: Vec<u8> =
        bits.to_be_bytes()[1..].iter().flat_map(|b| if *b == 0xff { vec![0xff, 0] } else { vec![*b] }).collect();
    let runs = run.repeat(blocks.div_ceil(8 * 32767));
    for scan in 1..scans {
        let component = 1 + (scan % usize::from(components)) as u8;
        jpeg.extend(segment(0xda, &[1, component, 0, 1, 63, 0x10]));
        jpeg.extend(&runs);
    }
    jpeg.extend([0xff, 0xd9]);
    jpeg
}

/// A colour baseline JPEG whose every scan is its head and a byte: eleven that say "once more".
pub fn scanned_again(width: u16, height: u16, scans: usize) -> Vec<u8> {
    let mut bytes = progressive(width, height, 3, 1);
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc2]).unwrap();
    bytes[frame + 1] = 0xc0;
    let first = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    bytes.truncate(first);
    bytes.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0].repeat(scans));
    bytes.extend([0xff, 0xd9]);
    bytes
}
