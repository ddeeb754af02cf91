//! Hostile photos, sent to the real server: each gets a documented response, memory stays bounded, nothing panics, and
//! honest photos are still served.

use image::{ExtendedColorType, RgbImage};
use serde_json::Value;

use super::process::{App, Database, Server, photo};
use crate::pictures::{
    FIXTURES, PNG, chunk, exif, fixture, jpeg, png, progressive, scanned_again, with_checksums, with_chunk,
    with_segment, zeros,
};

/// The most memory in MiB that a warm server with one inference thread may need in addition: the coefficients and the
/// pixels of the largest photo allowed, and a copy. See `docs/hostile-input.md`.
const MAX_PEAK_MIB: u64 = 700;

/// The most memory in MiB that may remain afterwards: allocators keep some.
const MAX_REMAINING_MIB: u64 = 120;

/// The expected response.
#[derive(Clone, Copy)]
enum Answer {
    /// The person is found; other data in the file is ignored.
    Found,
    /// The file is not a photo.
    Undecodable,
    /// A photo without a face.
    NoFace,
    /// Any of these: how much of a damaged file can be read is not specified.
    Any,
}

/// Sends photos and checks the responses; then the server must work as before.
async fn survives(cases: impl IntoIterator<Item = (String, Vec<u8>, Answer)>) {
    survives_within(MAX_REMAINING_MIB, cases).await;
}

/// The same with another limit of remaining memory.
async fn survives_within(max_remaining_mib: u64, cases: impl IntoIterator<Item = (String, Vec<u8>, Answer)>) {
    let server = Server::start(&Database::sqlite()).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    assert_found(&app).await;
    let before = server.memory();
    for (name, bytes, expected) in cases {
        let (status, reply) = app.post_bytes("identify", bytes).await;
        let result = &reply["result"];
        let code = if status == 200 { 0 } else { result["code"].as_i64().unwrap() };
        let right = match expected {
            Answer::Found => status == 200 && result["templateId"] == "a",
            Answer::Undecodable => (status, code) == (400, 4),
            Answer::NoFace => (status, code) == (400, 5),
            Answer::Any => status == 200 || (status == 400 && [4, 5, 6, 9].contains(&code)),
        };
        assert!(right, "{name}: {status} {reply}");
        assert_envelope(status, &reply, &name);
    }
    if let (Some((rss, _)), Some((left, peak))) = (before, server.memory()) {
        eprintln!("{rss} MiB before, {peak} at most, {left} afterwards");
        assert!(peak <= rss + MAX_PEAK_MIB, "{peak} MiB at most, {rss} before");
        assert!(left <= rss + max_remaining_mib, "{left} MiB afterwards, {rss} before");
    }
    assert_found(&app).await;
    assert!(!server.log().contains("panic"), "{}", server.log());
    assert!(server.text("/readyz").await.contains(r#""ready":true"#));
}

async fn assert_found(app: &App) {
    assert_eq!(app.identify("person_a_1.jpg").await["result"]["templateId"], "a");
}

fn assert_envelope(status: u16, reply: &Value, name: &str) {
    let id = reply["transactionId"].as_str().unwrap_or_default();
    assert!(uuid::Uuid::parse_str(id).is_ok(), "{name}: {reply}");
    if status != 200 {
        assert_eq!(reply["result"]["status"], "error", "{name}");
        assert!(!reply["result"]["info"].as_str().unwrap().is_empty(), "{name}");
        assert_eq!(reply.as_object().unwrap().len(), 2, "{name}: {reply}");
    }
}

fn case(name: impl Into<String>, bytes: Vec<u8>, expected: Answer) -> (String, Vec<u8>, Answer) {
    (name.into(), bytes, expected)
}

/// The portrait as a PNG.
fn portrait_png() -> Vec<u8> {
    super::process::png(&super::process::decode("person_a_1.jpg"))
}

/// A PNG whose header declares another size and format, with a valid checksum.
fn with_header(width: u32, height: u32, depth: u8, colour: u8) -> Vec<u8> {
    let mut bytes = png(&[0; 3], 1, 1, ExtendedColorType::Rgb8);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    bytes[24..26].copy_from_slice(&[depth, colour]);
    with_checksums(bytes)
}

/// A JPEG whose frame declares another size.
fn resized(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut bytes = jpeg.to_vec();
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0] || pair == [0xff, 0xc2]).unwrap();
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

#[tokio::test]
async fn decompression_bombs() {
    let small = RgbImage::from_pixel(16, 16, image::Rgb([90, 80, 70]));
    let (jpg, dot) = (jpeg(&small, 80), png(small.as_raw(), 16, 16, ExtendedColorType::Rgb8));
    let grey = |width: u32, height: u32| {
        png(&vec![40; width as usize * height as usize], width, height, ExtendedColorType::L8)
    };
    let wide = vec![7; 5_700 * 5_700 * 8];
    let unpacked = |kind, head: &[u8]| with_chunk(&dot, &chunk(kind, &[head, &zeros(400)].concat()));
    let idat = [PNG, &with_header(1, 1, 8, 2)[8..33], &chunk(b"IDAT", &zeros(600)), &chunk(b"IEND", b"")].concat();
    use Answer::{Any, NoFace, Undecodable};
    survives([
        case("a PNG of 17 thousand million bytes", with_header(65_000, 65_000, 16, 6), Undecodable),
        case("a PNG of more pixels than can be counted", with_header(u32::MAX, u32::MAX, 8, 2), Undecodable),
        case("a PNG of one long row", with_header(1 << 30, 1, 1, 0), Undecodable),
        case("a PNG just above the limit", grey(16_384, 3_907), Undecodable),
        case("a PNG just below the limit", grey(16_384, 3_906), NoFace),
        case("a PNG of eight bytes a pixel", png(&wide, 5_700, 5_700, ExtendedColorType::Rgba16), NoFace),
        case("a pixel of 600 megabytes", idat, Any),
        case("a colour profile of 400 megabytes", unpacked(b"iCCP", b"p\0\0"), Any),
        case("a text of 400 megabytes", unpacked(b"zTXt", b"t\0\0"), NoFace),
        case("an international text", unpacked(b"iTXt", b"t\0\x01\0\0\0"), NoFace),
        case("a JPEG of 65535 x 65535", resized(&jpg, 65_535, 65_535), Undecodable),
        case("a JPEG of no size", resized(&jpg, 0, 0), Undecodable),
        case("a JPEG of one long row", resized(&jpg, 65_535, 1), Undecodable),
        case("a JPEG just below the limit with nothing in it", resized(&jpg, 16_384, 3_906), Any),
        case("a progressive JPEG just below the limit", progressive(16_384, 3_906, 3, 4), NoFace),
        case("the same with 20 scans", progressive(16_384, 3_906, 3, 20), NoFace),
        case("the same with 21", progressive(16_384, 3_906, 3, 21), Undecodable),
        case("the same with a thousand", progressive(16_384, 3_906, 3, 1000), Undecodable),
        case("a JPEG of nearly two million scans", scanned_again(16_384, 64, 1_900_000), Undecodable),
        case("the same, nothing in it", resized(&fixture("progressive.jpg"), 16_384, 3_906), Any),
    ])
    .await;
}

/// Without a face, the search runs at a larger size: its memory is allocated at the start.
#[tokio::test]
async fn photos_without_a_face() {
    let blank = || png(&vec![40; 2_000 * 1_500], 2_000, 1_500, ExtendedColorType::L8);
    survives_within(30, (0..4).map(|_| case("a blank photo", blank(), Answer::NoFace))).await;
}

#[tokio::test]
async fn damaged_photos() {
    let (whole, drawn) = (photo("person_a_1.jpg"), portrait_png());
    let mut cases = Vec::new();
    for (name, whole) in [("jpeg", &whole), ("png", &drawn)] {
        for share in [1, 7, 33, 66, 90] {
            let cut = whole[..whole.len() * share / 100].to_vec();
            cases.push(case(format!("{share} % of a {name}"), cut, Answer::Undecodable));
        }
        // Bits here and there: in the head, in the tables, in the pixels.
        for at in [3, 20, 100, 300, 610, whole.len() / 3, whole.len() / 2, whole.len() - 9] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            cases.push(case(format!("{name} with a bit flipped at {at}"), bytes.clone(), Answer::Any));
            cases.push(case(
                format!("{name} with a bit flipped at {at}, checksums recomputed"),
                with_checksums(bytes),
                Answer::Any,
            ));
        }
    }
    for name in FIXTURES {
        let whole = fixture(name);
        for at in (2..whole.len()).step_by(whole.len() / 8) {
            let mut bytes = whole.clone();
            bytes[at] = 0xff;
            cases.push(case(format!("{name} with 0xff at {at}"), with_checksums(bytes), Answer::Any));
        }
    }
    survives(cases).await;
}

#[tokio::test]
async fn polyglots() {
    let (whole, drawn) = (photo("person_a_1.jpg"), portrait_png());
    let html = b"<html><script>alert(1)</script></html>".as_slice();
    let zip = [b"PK\x03\x04\x14\0\0\0\0\0".as_slice(), &[0; 16], b"\x01\0\0\0aPK\x05\x06", &[0; 18]].concat();
    use Answer::{Any, Found, Undecodable};
    survives([
        case("JPEG and a page", [&whole, html].concat(), Found),
        case("JPEG and an archive", [&whole[..], &zip].concat(), Found),
        case("JPEG and PNG", [&whole[..], &drawn].concat(), Found),
        case("JPEG and a megabyte of end markers", [&whole[..], &[0xff, 0xd9].repeat(1 << 19)].concat(), Found),
        case("JPEG with a page for a comment", with_segment(&whole, 0xfe, html), Found),
        case("JPEG with a thumbnail of itself", with_segment(&whole, 0xe1, &whole[..whole.len().min(60_000)]), Found),
        case("PNG and an archive", [&drawn[..], &zip].concat(), Found),
        case("PNG and JPEG", [&drawn[..], &whole].concat(), Found),
        case("PNG with a script for a text", with_chunk(&drawn, &chunk(b"tEXt", html)), Found),
        case("a page and JPEG", [html, &whole].concat(), Undecodable),
        case("GIF and JPEG", [b"GIF89a/*".as_slice(), &whole, b"*/=1"].concat(), Undecodable),
        case("a document and JPEG", [b"%PDF-1.7\n".as_slice(), &whole].concat(), Undecodable),
        case("an archive and PNG", [zip.as_slice(), &drawn].concat(), Undecodable),
        case("the signature of a PNG and JPEG", [PNG, &whole].concat(), Undecodable),
        case("the signature of a JPEG and PNG", [b"\xff\xd8\xff".as_slice(), &drawn].concat(), Any),
    ])
    .await;
}

/// No metadata of a file prevents a match or costs much.
#[tokio::test]
async fn metadata() {
    let (whole, drawn) = (photo("person_a_1.jpg"), portrait_png());
    let entry = |tag: u16, kind: u16, count: u32, value: u32| {
        [&tag.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value.to_be_bytes()].concat()
    };
    let tiff = |first: u32, entries: u16, rest: &[u8]| {
        [b"MM\0\x2a".as_slice(), &first.to_be_bytes(), &entries.to_be_bytes(), rest].concat()
    };
    let orientation = |kind, count, value| tiff(8, 1, &[entry(0x112, kind, count, value), vec![0; 4]].concat());
    let metadata = [
        ("that lead to themselves", tiff(8, 1, &[entry(0x8769, 4, 1, 8), 8u32.to_be_bytes().to_vec()].concat())),
        ("that claim 65535 entries", tiff(8, 0xffff, &entry(0x112, 3, 1, 1 << 16))),
        ("that begin far outside", tiff(u32::MAX, 1, &entry(0x112, 3, 1, 1 << 16))),
        ("that begin before the header", tiff(0, 1, &entry(0x112, 3, 1, 1 << 16))),
        ("with four thousand million orientations", orientation(3, u32::MAX, 1 << 16)),
        ("with an orientation of 0", orientation(3, 1, 0)),
        ("with an orientation of 9", orientation(3, 1, 9 << 16)),
        ("with an orientation of 65535", orientation(3, 1, u32::MAX)),
        ("with an orientation in text", orientation(2, 4, u32::from_be_bytes(*b"6\0\0\0"))),
        ("with an orientation far outside", orientation(4, 2, u32::MAX)),
        ("that are empty", Vec::new()),
        ("that are noise", (0..60_000u32).map(|n| ((n * n) >> 3) as u8).collect()),
        ("of another byte order than declared", [b"II".as_slice(), &exif(6, true)[2..]].concat()),
    ];
    let mut cases = Vec::new();
    for (name, exif) in metadata {
        let segment = with_segment(&whole, 0xe1, &[b"Exif\0\0".as_slice(), &exif].concat());
        cases.push(case(format!("Exif entries {name}"), segment, Answer::Found));
        let chunk = with_chunk(&drawn, &chunk(b"eXIf", &exif));
        cases.push(case(format!("Exif entries {name}, in a PNG"), chunk, Answer::Any));
    }
    let profile = |number: u8, of: u8, length| [b"ICC_PROFILE\0".as_slice(), &[number, of], &vec![9; length]].concat();
    let profiles = |all: &[(u8, u8)], length| {
        all.iter().rev().fold(whole.clone(), |jpeg, (n, of)| with_segment(&jpeg, 0xe2, &profile(*n, *of, length)))
    };
    let all: Vec<(u8, u8)> = (1..=255).map(|number| (number, 255)).collect();
    let comments = [&whole[..2], &[0xff, 0xfe, 0, 2].repeat(500_000), &whole[2..]].concat();
    let fill = [&whole[..2], &[0xff; 4_000_000][..], &whole[2..]].concat();
    let short = |length: [u8; 2]| [&whole[..2], &[0xff, 0xe5], &length, &whole[2..]].concat();
    cases.extend([
        case("a colour profile in 255 parts", profiles(&all, 60_000), Answer::Found),
        case("part 0 of 0 of a colour profile", profiles(&[(0, 0)], 10), Answer::Found),
        case("part 9 of 2 of a colour profile", profiles(&[(9, 2), (1, 2), (1, 2)], 10), Answer::Found),
        case("half a million comments", comments, Answer::Found),
        case("four million fill bytes", fill, Answer::Any),
        case("a segment of length 0", short([0, 0]), Answer::Any),
        case("a segment of length 1", short([0, 1]), Answer::Any),
        case("a segment longer than the file's head", short([0xff, 0xff]), Answer::Any),
    ]);
    for length in [0u32, 1 << 20, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        for kind in [b"eXIf", b"iCCP", b"tRNS", b"IDAT", b"prVt"] {
            let wrong = [&length.to_be_bytes()[..], kind, &[0; 8]].concat();
            let name = format!("a {} of length {length}", String::from_utf8_lossy(kind));
            cases.push(case(name, with_chunk(&drawn, &wrong), Answer::Any));
        }
    }
    survives(cases).await;
}
