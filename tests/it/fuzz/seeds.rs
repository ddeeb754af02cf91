//! What each target begins with: small, whole, and made here, so that they follow the formats.

use std::path::Path;
use std::time::Duration;

use image::{ExtendedColorType, RgbImage};
use semblance::compute::PoolConfig;
use semblance::domain::{AppId, Clock, Embedding, ModelTag, Revision, SampleId};
use semblance::gallery::{IndexedTemplate, MatcherFeed, MemoryMatcher, Sample};
use semblance::journal::{Entry, Journal, JournalConfig};
use semblance::store::SnapshotId;
use semblance::store::backup::{About, BackupWriter, Cell, Record, RowCounts, TableRecord};
use semblance::store::snapshot_file::{self, SnapshotHeader};
use uuid::Uuid;

use super::targets::{BOUNDARY, journal_key, sealed_row, snapshot_key};
use crate::pictures::{FIXTURES, chunk, exif, fixture, jpeg, png, with_chunk, with_segment, zeros};
use crate::support::{Form, photo as portrait};
use crate::{flavours, formats};

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "photo" => photos(),
        "multipart" => forms(),
        "boundary" => {
            ["b", "===1718000000000===", "boundary_.oOo._MjA0OTQ/NzE0==", "a:b?c,d e", "\"a\\\"b\"", "b; x=y"]
                .map(|text| text.into())
                .to_vec()
        }
        "query" => queries(),
        "json" => bodies(),
        "snapshot" => snapshots(),
        "backup" => backups(),
        "frames" => galleries().into_iter().map(|frame| [vec![0], frame].concat()).collect(),
        "model_pack" => model_packs(),
        "journal" => journals(),
        "import" => lines(),
        "sealed" => rows(),
        "proxy_header" => proxy_headers(),
        "forwarded" => forwarded_headers(),
        "details" => details(),
        other => panic!("there is no target {other}"),
    }
}

fn details() -> Vec<Vec<u8>> {
    let bodies = [
        r#"{"name":"Ada Example","externalId":"HR-1001","groups":["staff","night"],"consentReference":"file 12"}"#,
        r#"{"metadata":{"badge":7,"nested":{"list":[1,null,true,"x"]}},"expiresAt":"2100-01-31T00:00:00Z"}"#,
        r#"{"name":null,"externalId":null,"groups":null,"metadata":null,"consentReference":null,"expiresAt":null}"#,
        r#"{"metadata":{"nested":{"list":null},"badge":{"no":8}}}"#,
        "staff",
        r#"["staff"]"#,
    ];
    bodies.map(|body| body.as_bytes().to_vec()).to_vec()
}

fn proxy_headers() -> Vec<Vec<u8>> {
    let lines = [
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n",
        "PROXY TCP6 2001:db8::1 ::1 0 65535\r\n",
        "PROXY UNKNOWN ffff:f 1 2 3\r\n",
    ];
    let binary = |command: u8, family: u8, rest: &[u8]| {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
    };
    let mut all = lines.map(|line| line.as_bytes().to_vec()).to_vec();
    all.push(binary(0x21, 0x11, &[192, 0, 2, 1, 198, 51, 100, 1, 220, 4, 1, 187]));
    all.push(binary(0x21, 0x11, &[&[10; 12][..], &[3, 0, 4, 1, 2, 3, 4]].concat()));
    all.push([binary(0x21, 0x21, &[0x20; 36]), b"\x16\x03\x01".to_vec()].concat());
    all.push(binary(0x21, 0x31, &[0; 216]));
    all.push(binary(0x20, 0x00, &[]));
    all
}

fn forwarded_headers() -> Vec<Vec<u8>> {
    [
        (0, "198.51.100.9, 192.0.2.1, 10.0.0.2"),
        (0, "[2001:db8::1]:4711\n192.0.2.1:80,fd00::7"),
        (0, "unknown"),
        (1, "for=192.0.2.1;proto=https;by=10.0.0.2, for=\"[fd00::7]:4711\""),
        (1, "For=\"192.0.2.1:_gaze\";host=\"a,b;\\\"\"\nfor=10.9.9.9"),
        (1, "for=_hidden, for=unknown"),
    ]
    .map(|(which, text): (u8, &str)| [&[which], text.as_bytes()].concat())
    .to_vec()
}

fn photos() -> Vec<Vec<u8>> {
    let picture = RgbImage::from_fn(20, 12, |x, y| image::Rgb([x * 12, y * 20, x ^ y].map(|v| v as u8)));
    let jpeg = jpeg(&picture, 80);
    let png = png(picture.as_raw(), 20, 12, ExtendedColorType::Rgb8);
    let coded = flavours::codings().into_iter().map(|coding| flavours::coded(coding, (40, 24)));
    let profile = [b"icc\0\0".as_slice(), &zeros(1)].concat();
    let text = [b"Comment\0\0".as_slice(), &zeros(1)].concat();
    let turned = |orientation| [b"Exif\0\0".to_vec(), exif(orientation, true)].concat();
    let icc = [b"ICC_PROFILE\0\x01\x02".as_slice(), &[7; 40]].concat();
    let mut all: Vec<_> = FIXTURES.map(fixture).to_vec();
    all.extend(coded);
    all.extend(formats::OTHERS.map(formats::encoded));
    all.push(with_segment(&jpeg, 0xe1, &[b"http://ns.adobe.com/xap/1.0/\0", &formats::xmp(6, false)[..]].concat()));
    all.extend([1, 6, 8].map(|orientation| with_segment(&jpeg, 0xe1, &turned(orientation))));
    all.extend([with_segment(&jpeg, 0xe2, &icc), with_segment(&jpeg, 0xfe, b"a comment"), jpeg]);
    all.extend([with_chunk(&png, &chunk(b"eXIf", &exif(5, false)))]);
    all.extend([with_chunk(&png, &chunk(b"iCCP", &profile)), with_chunk(&png, &chunk(b"zTXt", &text)), png]);
    all
}

fn forms() -> Vec<Vec<u8>> {
    let form = || Form::with_boundary(BOUNDARY);
    let ann = portrait("ann");
    let two = form().file("first_photo", "image/jpeg", &ann).file("second_selfie", "image/png", &portrait("bob"));
    let named = "content-disposition: form-data; name=photo; filename*=UTF-8''a%20b.jpg";
    let forms = [
        (0u8, form().photo(&ann)),
        (2, form().photo(&ann).text("templateId", "ann")),
        (3, two),
        (4, form().text("other", "x").photo(&ann)),
        (5, form().text("templateId", "ann")),
        (0, form().part(&[named], &ann).file("photo", "text/plain", b"x")),
        (0, form()),
    ];
    let mut all: Vec<_> = forms
        .iter()
        .map(|(place, form)| [vec![*place, place.wrapping_mul(50).wrapping_add(7)], form.finished()].concat())
        .collect();
    let quoted = b"\x80\xffMultipart/Form-Data; charset=utf-8; boundary=\"b\"\n";
    all.push([quoted.as_slice(), &form().photo(&ann).finished()].concat());
    all.push([b"\x80\xffimage/jpeg\n".as_slice(), &ann].concat());
    all
}

fn queries() -> Vec<Vec<u8>> {
    let api = [
        (5, "identify?check_liveness=true&threshold=0.75&candidates=3"),
        (5, "add?replace=on&check_deepfake=1"),
        (5, "verify?threshold=1e-3&check_liveness=no"),
        (5, "liveness?check_deepfake=%74rue&unknown=%FF%"),
        (0, "templates?limit=2&after=ann"),
        (0, "templates/a%2Fb%3F"),
        (1, "templates/ann/"),
        (5, "templates/ann/samples?check_liveness=+true%20"),
        (3, "//identify//"),
        (2, "templates"),
    ];
    let mut all: Vec<_> =
        api.iter().map(|(method, rest)| [&[*method], "api/v1.0/".as_bytes(), rest.as_bytes()].concat()).collect();
    all.extend(["\0readyz", "\0metrics?x", "\0openapi.json", "\x05api/v1.0/doc/identify"].map(|text| text.into()));
    all
}

fn bodies() -> Vec<Vec<u8>> {
    let bodies = [
        "\0{\"templateId\":\"ann\"}",
        "\0\u{feff} {\"templateId\": \"a\\u00e9\\ud83d\\ude00\", \"x\": [1, -2.5e300, null, true, {\"y\": \"\\n\"}]}",
        "\0{\"templateId\":7}",
        "\0[[[[[[[[]]]]]]]]",
        "\0\"templateId\"",
        "\u{1}templateId=a%20b&x=1",
        "\u{1}x=%FF%zz&templateId",
        "\u{2}",
    ];
    let mut all: Vec<Vec<u8>> = bodies.map(|body| body.into()).to_vec();
    all.push([b"\0".to_vec(), b"[".repeat(400)].concat());
    all
}

/// Frames of small galleries: long and short ids, several samples of one template.
fn galleries() -> Vec<Vec<u8>> {
    let app: AppId = "seed".parse().unwrap();
    let pool = PoolConfig { name: "seed", threads: 1, queue: 1, deadline: Duration::from_secs(1) };
    let matcher = MemoryMatcher::new(pool);
    let ids = ["ann", "0b5d1a5e-5a1b-4c39-8a5e-9f4b8f0f2a11", "an id that is longer than others", "é"];
    let template = |(number, id): (usize, &&str)| IndexedTemplate {
        id: id.parse().unwrap(),
        samples: (0..=number % 2)
            .map(|n| Sample {
                id: SampleId(Uuid::from_u128((8 * number + n) as u128)),
                embedding: Embedding::new(&[1.0, n as f32, number as f32, -0.5], ModelTag::new("seed")).unwrap(),
            })
            .collect(),
    };
    let galleries = [1, 4].map(|count| {
        matcher.replace(&app, Revision(7), ids.iter().enumerate().take(count).map(template).collect());
        matcher.export(&app).unwrap().collect::<Vec<_>>()
    });
    galleries.concat()
}

fn snapshots() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.gallery");
    let frames = galleries();
    let whole = (0..=frames.len()).map(|count| {
        let id = SnapshotId(Uuid::from_u128(9));
        let head = SnapshotHeader::new(id, "seed", "seed", Revision(7), count);
        snapshot_file::write(&path, &head, &snapshot_key(), frames.iter().take(count).cloned()).unwrap();
        std::fs::read(&path).unwrap()
    });
    whole.collect()
}

/// Whole files, one of several chunks, and the records inside them.
fn backups() -> Vec<Vec<u8>> {
    let table = |name: &str, columns: &[&str], optional| {
        Record::Table(TableRecord {
            name: name.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            optional_columns: Vec::new(),
            optional,
        })
    };
    let row = vec![Cell::Text("é".into()), Cell::Bytes(vec![7; 9]), Cell::Integer(-1), Cell::Real(0.5), Cell::Null];
    let counts = |rows| RowCounts::from([("one".to_owned(), rows)]);
    let few = [
        table("one", &["a", "b", "c", "d", "e"], false),
        Record::Row(row),
        table("two", &["a"], true),
        Record::Row(vec![Cell::Boolean(true)]),
        Record::End(RowCounts::from([("one".to_owned(), 1), ("two".to_owned(), 1)])),
    ];
    let long = Record::Row(vec![Cell::Bytes(vec![3; 100_000])]);
    let many = [table("one", &["a"], false), long, Record::End(counts(1))];
    let none = [Record::End(RowCounts::new())];
    let mut all = Vec::new();
    for records in [few.as_slice(), &many, &none] {
        let about = About::under(&snapshot_key(), Uuid::from_u128(9), "2026-01-01T00:00:00.000Z".to_owned()).unwrap();
        let mut writer = BackupWriter::begin(vec![0], &about).unwrap();
        let mut plain = vec![1];
        for record in records {
            writer.write(record).unwrap();
            record.write(&mut plain).unwrap();
        }
        all.extend([writer.finish().unwrap(), plain]);
    }
    all
}

fn model_packs() -> Vec<Vec<u8>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let file = |which: u8, name| [vec![which], std::fs::read(models.join(name)).unwrap()].concat();
    vec![file(0, "pack.toml"), file(1, "golden.toml"), b"\0name = \"x\"\nmodel = []\n".to_vec()]
}

fn journals() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for count in [0, 1, 4] {
        let dir = tempfile::tempdir().unwrap();
        let config = JournalConfig {
            dir: dir.path().to_owned(),
            key: journal_key(),
            models: "seed".to_owned(),
            keep_days: 0,
            known: None,
            clock: Clock::system(),
            clock_trust: semblance::domain::ClockTrust::new(true),
        };
        let journal = Journal::open(config).unwrap();
        for n in 0..count {
            let app = Some("ann".to_owned());
            journal.record(Entry {
                transaction_id: format!("t{n}"),
                app,
                status: 200,
                ms: Some(1.5),
                ..Entry::default()
            });
        }
        journal.stop();
        let written =
            std::fs::read_dir(dir.path()).unwrap().flat_map(|file| std::fs::read(file.unwrap().path()).unwrap());
        all.push([1].into_iter().chain(written).collect());
    }
    let unread: Vec<_> = all.iter().map(|lines: &Vec<u8>| [&[0], &lines[1..]].concat()).collect();
    // The last number of all.
    let last = all
        .last()
        .map(|lines: &Vec<u8>| String::from_utf8_lossy(lines).replace("\"n\":4,", &format!("\"n\":{},", u64::MAX)));
    all.extend(last.map(String::into_bytes));
    let torn = all.last().map(|last: &Vec<u8>| last[..last.len() - 30].to_vec());
    all.extend(torn.into_iter().chain(unread));
    all
}

/// Lines of an export.
fn lines() -> Vec<Vec<u8>> {
    let sample = r#"{"sampleId":"00000000-0000-0000-0000-000000000007","model":"sface","embedding":[0.6,-0.8,1e-3]}"#;
    let more = sample.replace('7', "8").replace("}", r#","new":null}"#);
    [
        format!(r#"{{"templateId":"ann","samples":[{sample},{more}]}}"#),
        r#"{"templateId":" \u00e9 ","samples":[],"more":{}}"#.to_owned(),
        format!(r#"{{"templateId":"ann","samples":[{}]}}"#, sample.replace("0.6", "1e39")),
        format!(r#"{{"templateId":"ann","samples":[{}]}}"#, sample.replace("0.6,-0.8,1e-3", "0,-0.0")),
        format!(r#"{{"templateId":"","samples":[{}]}}"#, sample.replace("0.6,-0.8,1e-3", "")),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// Rows of samples: sealed, and what they hold.
fn rows() -> Vec<Vec<u8>> {
    let text = [0.6f32, -0.8].map(f32::to_le_bytes).concat();
    let (embedding, data_key) = sealed_row().seal(&snapshot_key(), &text).unwrap();
    let whole = [&[1, data_key.len() as u8], &data_key[..], &embedding].concat();
    let held = |numbers: &[f32]| {
        [&[2, 0], &numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()[..]].concat()
    };
    // That of a data key is laid out as an embedding was before there were data keys.
    let old = [&[0, 0], &data_key[..]].concat();
    vec![whole, old, held(&[0.6, -0.8]), held(&[f32::NAN, 1.0]), held(&[0.0; 4]), vec![2, 0, 1, 2, 3]]
}
