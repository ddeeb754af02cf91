//! Everything that reads foreign bytes, one function each: it may refuse them, and nothing else.
//!
//! The fuzz targets (`fuzz/`) and the short run of `make test` call the same functions.

use std::cell::RefCell;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use semblance::api::ForwardedHeader;
use semblance::app::ProxyHeader;
use semblance::cli::ndjson::Line;
use semblance::compute::PoolConfig;
use semblance::domain::details::{MAX_GROUPS, MAX_METADATA_BYTES, MAX_NAME_CHARS};
use semblance::domain::{
    AppId, Clock, Details, DetailsPatch, Embedding, Field, ModelTag, Networks, PhotoFormats, Revision, SampleId,
};
use semblance::engine::ModelPack;
use semblance::gallery::{Applied, Change, Frames, IndexedTemplate, Matcher, MatcherFeed, MemoryMatcher};
use semblance::image::{DecodeLimits, Photo, decode};
use semblance::journal::{
    self, ExportFormat, Journal, JournalConfig, JournalKey, SearchBudget, SearchPlace, Selection,
};
use semblance::store::backup::{BackupFile, Record};
use semblance::store::snapshot_file::SnapshotReader;
use semblance::store::{Key, SealedRow};
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::support::{Answer, Form, Parts, Setup, photo as portrait};

/// A function that reads foreign bytes.
pub type Target = fn(&[u8]);

/// All of them, by the names of their folders in `fuzz/seeds`.
pub const ALL: [(&str, Target); 15] = [
    ("photo", photo),
    ("multipart", multipart),
    ("boundary", boundary),
    ("query", query),
    ("json", json),
    ("snapshot", snapshot),
    ("frames", frames),
    ("backup", backup),
    ("model_pack", model_pack),
    ("journal", journal),
    ("import", import_line),
    ("sealed", sealed),
    ("proxy_header", proxy_header),
    ("forwarded", forwarded),
    ("details", details),
];

/// A photo: JPEG or PNG, its metadata and its orientation.
pub fn photo(data: &[u8]) {
    let limits = DecodeLimits { pixels: 1 << 18, side: 4096, bytes: 8 << 18, formats: PhotoFormats::ALL };
    if let Ok(image) = decode(&Photo::new(data), &limits) {
        let (width, height) = (u64::from(image.width()), u64::from(image.height()));
        assert!(width * height <= limits.pixels && width.max(height) <= u64::from(limits.side));
        assert_eq!(image.rgb().len() as u64, 3 * width * height);
    }
}

/// The router with the tests' doubles behind it, and how often it was used.
struct Host {
    runtime: Runtime,
    parts: Parts,
    used: usize,
}

impl Host {
    /// What is enrolled is forgotten after so many requests.
    const LIFE: usize = 1000;

    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let parts = runtime.block_on(Parts::with(Setup::default()));
        Self { runtime, parts, used: 0 }
    }

    /// Sends a request, its body in pieces of so many bytes, and checks the answer.
    fn send(&mut self, method: Method, uri: Uri, content_type: HeaderValue, body: &[u8], piece: usize) -> Answer {
        let pieces: Vec<Bytes> = body.chunks(piece.max(1)).map(Bytes::copy_from_slice).collect();
        // Each piece comes by itself, as from a socket.
        let body = stream::iter(pieces).then(|piece| async {
            tokio::task::yield_now().await;
            Ok::<_, std::io::Error>(piece)
        });
        let mut request = Request::new(Body::from_stream(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert("app-id", self.parts.app.app_id.as_str().parse().unwrap());
        headers.insert("app-key", self.parts.app.app_key.parse().unwrap());
        headers.insert(header::CONTENT_TYPE, content_type);
        let router = self.parts.router.clone();
        let answer = self.runtime.block_on(async {
            let response = router.oneshot(request).await.unwrap();
            received(response).await
        });
        assert_envelope(&method, &answer);
        answer
    }
}

async fn received(response: Response) -> Answer {
    let (head, body) = response.into_parts();
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
    Answer { status: head.status.as_u16(), headers, body }
}

/// Nothing but documented codes in the documented form; a failure is never the server's own.
pub fn assert_envelope(method: &Method, answer: &Answer) {
    match answer.status {
        200 | 204 => {}
        _ if *method == Method::HEAD => assert!(answer.status < 500),
        status => {
            let (_, code, info) = answer.error();
            let documented = match status {
                400 => [1, 2, 3, 4, 5, 6, 9, 400].contains(&code),
                401 | 404 | 405 | 413 | 429 | 501 | 503 => code == i64::from(status),
                _ => false,
            };
            assert!(documented && !info.is_empty(), "{status} with {code}: {info}");
        }
    }
}

/// The scripted engine panics, fails or waits when it is shown these.
fn is_staged(data: &[u8]) -> bool {
    ["panics", "fails", "held"].iter().any(|name| data.windows(name.len()).any(|seen| seen == name.as_bytes()))
}

fn on_host(request: impl FnOnce(&mut Host) -> Answer) -> Answer {
    thread_local!(static HOST: RefCell<Option<Host>> = const { RefCell::new(None) });
    HOST.with_borrow_mut(|slot| {
        let host = slot.get_or_insert_with(Host::new);
        let answer = request(host);
        host.used += 1;
        if host.used >= Host::LIFE {
            *slot = None;
        }
        answer
    })
}

/// The boundary of the forms that [`multipart`] reads.
pub const BOUNDARY: &str = "b";

/// A multipart form. The first byte says where it goes, the second in which pieces; with the
/// highest bit of the first, the first line is the content type.
pub fn multipart(data: &[u8]) {
    let [place, piece, body @ ..] = data else { return };
    let mut body = body;
    if is_staged(data) {
        return;
    }
    let mut content_type = HeaderValue::from_static("multipart/form-data; boundary=b");
    if place & 0x80 != 0 {
        let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
        let Ok(value) = HeaderValue::from_bytes(&body[..end]) else { return };
        (content_type, body) = (value, &body[end..]);
    }
    let endpoint = match place & 0x07 {
        0 | 1 => "/api/v1.0/identify",
        2 => "/api/v1.0/add?replace=true",
        3 => "/api/v1.0/verify",
        4 => "/api/v1.0/templates/ann/samples",
        5 => "/api/v1.0/delete",
        _ => "/api/v1.0/add",
    };
    on_host(|host| host.send(Method::POST, Uri::from_static(endpoint), content_type, body, usize::from(*piece)));
}

/// The boundary of a form, without quotes. One of printable ASCII is understood as it stands.
pub fn boundary(data: &[u8]) {
    let Ok(content_type) = HeaderValue::from_bytes(&[b"multipart/form-data; boundary=", data].concat()) else { return };
    let body = [b"--", data, b"\r\nContent-Disposition: form-data; name=photo; filename=a\r\n\r\n"].concat();
    let body = [body, portrait("ann"), [b"\r\n--", data, b"--\r\n"].concat()].concat();
    let answer =
        on_host(|host| host.send(Method::POST, Uri::from_static("/api/v1.0/identify"), content_type, &body, 1 << 16));
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !b"\";".contains(byte);
    if (1..=70).contains(&data.len()) && data.iter().all(plain) && data.trim_ascii() == data {
        let data = String::from_utf8_lossy(data);
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{data}: {text}");
    }
}

/// Path and query of a request; the first byte is its method.
pub fn query(data: &[u8]) {
    let [method, target @ ..] = data else { return };
    let method = match method % 6 {
        0 => Method::GET,
        1 => Method::DELETE,
        2 => Method::HEAD,
        3 => Method::OPTIONS,
        _ => Method::POST,
    };
    let Ok(uri) = Uri::try_from([b"/", target].concat()) else { return };
    let form = Form::with_boundary(BOUNDARY).photo(&portrait("ann"));
    let content_type = HeaderValue::from_str(&form.content_type()).unwrap();
    on_host(|host| host.send(method, uri, content_type, &form.finished(), 4096));
}

/// The body of `/delete`; the first byte says what it claims to be.
pub fn json(data: &[u8]) {
    let [claim, body @ ..] = data else { return };
    let claims = ["application/json", "application/x-www-form-urlencoded", "text/plain", ""];
    let content_type = HeaderValue::from_static(claims[usize::from(*claim) % claims.len()]);
    on_host(|host| host.send(Method::POST, Uri::from_static("/api/v1.0/delete"), content_type, body, 1 << 16));
}

/// The key of the snapshots that [`snapshot`] reads.
pub fn snapshot_key() -> Key {
    Key::from_text(&"5a".repeat(32)).unwrap()
}

/// A snapshot file.
pub fn snapshot(data: &[u8]) {
    in_folder(|dir| {
        let path = dir.join("a.gallery");
        std::fs::write(&path, data).unwrap();
        let Ok(reader) = SnapshotReader::open(&path) else { return };
        let revision = reader.header().revision();
        let mut frames = reader.frames(&snapshot_key()).map(|frame| frame.map_err(|_| semblance::gallery::NotAGallery));
        take_in(revision, &mut frames);
    });
}

/// A file that `backup` wrote, or (after an odd first byte) the records inside one.
pub fn backup(data: &[u8]) {
    let [how, rest @ ..] = data else { return };
    if how % 2 == 0 {
        let Ok(file) = BackupFile::open(rest) else { return };
        assert!(!format!("{:?}", file.header()).is_empty());
        let Ok(mut reader) = file.unlock(&[snapshot_key()]) else { return };
        while let Ok(Some(_)) = reader.next_record() {}
        return;
    }
    let mut input = rest;
    while let Ok(record) = Record::read(&mut input) {
        let mut written = Vec::new();
        record.write(&mut written).unwrap();
        let mut again = Vec::new();
        Record::read(&mut written.as_slice()).unwrap().write(&mut again).unwrap();
        assert_eq!(again, written);
    }
}

/// The frames of a gallery, as they are inside a sealed snapshot: one, or (after an odd first byte) two.
pub fn frames(data: &[u8]) {
    let [count, rest @ ..] = data else { return };
    let (one, two) =
        if count % 2 == 0 { (rest, None) } else { (&rest[..rest.len() / 2], Some(&rest[rest.len() / 2..])) };
    take_in(Revision(7), &mut std::iter::once(one).chain(two).map(|frame| Ok(frame.to_vec())));
}

/// A gallery that was taken in can be searched, changed, and written down again as it is.
fn take_in(revision: Revision, frames: &mut Frames<'_>) {
    static MATCHER: OnceLock<MemoryMatcher> = OnceLock::new();
    let (app, copy): (AppId, AppId) = ("one".parse().unwrap(), "two".parse().unwrap());
    let pool = PoolConfig { name: "search", threads: 1, queue: 8, deadline: Duration::from_secs(600) };
    let matcher = MATCHER.get_or_init(|| MemoryMatcher::new(pool));
    if matcher.import(&app, revision, frames).is_err() {
        return;
    }
    let written: Vec<Vec<u8>> = matcher.export(&app).unwrap().collect();
    matcher.import(&copy, revision, &mut written.iter().cloned().map(Ok)).unwrap();
    assert_eq!(matcher.size(&app).samples, matcher.size(&copy).samples);
    assert_eq!(matcher.export(&copy).unwrap().collect::<Vec<_>>(), written);
    let length = written.first().map_or(4, |frame| u32::from_le_bytes(frame[4..8].try_into().unwrap()));
    let Ok(probe) = Embedding::new(&vec![1.0; length.clamp(1, 512) as usize], ModelTag::new("fuzz")) else { return };
    let search = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(matcher.top_k(&app, &probe, 3)).unwrap()
    };
    for hit in search().hits {
        let gone = IndexedTemplate { id: hit.template.clone(), samples: vec![] };
        let change = Change::new(matcher.revision(&app).unwrap().next(), gone);
        // At the last of all revisions there is no next one.
        if matcher.apply(&app, change) == Applied::Done && revision.0 < u64::MAX - 3 {
            assert!(search().hits.iter().all(|left| left.template != hit.template));
        }
    }
}

/// What stands in `golden.toml` while [`model_pack`] tries a `pack.toml`.
const GOLDEN: &str = "[traits]\nage = [1.0, 2.0]\n";

/// A model pack: `pack.toml`, or (after an odd first byte) `golden.toml` beside the real one.
pub fn model_pack(data: &[u8]) {
    let [which, text @ ..] = data else { return };
    in_folder(|dir| {
        let pack = include_bytes!("../../../models/pack.toml").as_slice();
        let (pack, golden) = if which % 2 == 0 { (text, GOLDEN.as_bytes()) } else { (pack, text) };
        std::fs::write(dir.join("pack.toml"), pack).unwrap();
        std::fs::write(dir.join("golden.toml"), golden).unwrap();
        match ModelPack::load(dir) {
            Ok(pack) => {
                assert!((0.0..=1.0).contains(&pack.operating_point()));
                assert!(pack.models().count() > 0 && !pack.heads.is_empty());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}

/// A line of a file that `gallery import` reads.
pub fn import_line(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Line::read(text) {
        // Parsed templates round-trip, except that vectors are normalized again.
        Ok(template) => {
            let written = serde_json::to_string(&Line::from(template.clone())).unwrap();
            let again = Line::read(&written).unwrap();
            assert_eq!((again.id, again.samples.len()), (template.id, template.samples.len()));
            assert!(again.samples.iter().zip(&template.samples).all(|(a, b)| a.id == b.id));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Where the rows that [`sealed`] opens belong.
pub fn sealed_row() -> SealedRow {
    let app = "one".parse().unwrap();
    let template = "ann".parse().unwrap();
    SealedRow { app, template, sample: SampleId(uuid::Uuid::from_u128(7)), model: ModelTag::new("fuzz") }
}

/// The row of a sample. By its first byte: a sealed embedding, or one with its data key, the second byte being the
/// length of that; or what a row of ours holds.
pub fn sealed(data: &[u8]) {
    let [how, length, rest @ ..] = data else { return };
    let row = sealed_row();
    let key = snapshot_key();
    match how % 3 {
        0 => drop(row.open(&key, rest, None)),
        1 => {
            let (data_key, embedding) = rest.split_at(rest.len().min(usize::from(*length)));
            drop(row.open(&key, embedding, Some(data_key)));
        }
        _ => {
            let (embedding, data_key) = row.seal(&key, rest).unwrap();
            if let Ok(embedding) = row.open(&key, &embedding, Some(&data_key)) {
                assert_eq!(4 * embedding.values().len(), rest.len());
                assert!(embedding.values().iter().all(|value| value.is_finite()));
            }
        }
    }
}

/// The key of the journals that [`journal`] reads.
pub fn journal_key() -> JournalKey {
    JournalKey::new([7; 32].into())
}

/// A file of the journal: it is checked, a period is taken out, and (after an odd first byte) it is gone on with.
pub fn journal(data: &[u8]) {
    let [more, lines @ ..] = data else { return };
    in_folder(|dir| {
        std::fs::write(dir.join("2026-01-01.ndjson"), lines).unwrap();
        let verified = journal::verify(dir, &journal_key(), None);
        if let Ok(verified) = &verified {
            assert!(verified.lines == 0 || verified.lines == verified.last - verified.first + 1);
        }
        let selection = Selection {
            from: "2026-01".to_owned(),
            to: "2026-01-01T12".to_owned(),
            app: Some("ann".to_owned()),
            ..Selection::default()
        };
        let _ = journal::export(dir, &selection, ExportFormat::Csv, &mut std::io::sink());
        let mut place = None;
        loop {
            let page = journal::search(dir, &selection, 2, place.as_ref(), SearchBudget::default()).unwrap();
            if let (Some(before), Some(now)) = (&place, &page.next) {
                let (before, now): (&SearchPlace, &SearchPlace) = (before, now);
                assert!(now.offset < before.offset, "a search advances");
            }
            place = page.next;
            if place.is_none() {
                break;
            }
        }
        let _ = journal::extent(dir);
        if let (Some(key), Ok(lines)) = (journal_key().receipt_key(), std::str::from_utf8(lines)) {
            for line in lines.lines() {
                let _ = journal::check_receipt(&key, line);
            }
        }
        if more % 2 == 1 {
            let config = JournalConfig {
                dir: dir.to_owned(),
                key: journal_key(),
                models: "fuzz".to_owned(),
                keep_days: 0,
                known: None,
                clock: Clock::system(),
                clock_trust: semblance::domain::ClockTrust::new(true),
            };
            let Ok(journal) = Journal::open(config) else {
                assert!(verified.is_err(), "what is sound is gone on with");
                return;
            };
            journal.record(journal::Entry { transaction_id: "t".to_owned(), status: 200, ..journal::Entry::default() });
            journal.stop();
            // What was sound before is sound with one more line.
            if let Some(next) = verified.ok().and_then(|before| before.last.checked_add(1)) {
                assert_eq!(journal::verify(dir, &journal_key(), None).unwrap().last, next);
            }
        }
    });
}

/// The header of the PROXY protocol at the beginning of a connection.
pub fn proxy_header(data: &[u8]) {
    const LONGEST: usize = 16 + 4096;
    match ProxyHeader::parse(data) {
        Ok(Some(header)) => {
            let text = data.starts_with(b"PROXY ");
            assert!(header.bytes <= data.len() && header.bytes <= if text { 107 } else { LONGEST });
            // Exactly the header is taken, wherever the bytes after it are cut.
            assert_eq!(ProxyHeader::parse(&data[..header.bytes]), Ok(Some(header)));
            for end in 0..header.bytes {
                assert_eq!(ProxyHeader::parse(&data[..end]), Ok(None));
            }
            assert!(header.client.is_none_or(|client| client == client.to_canonical()));
        }
        Ok(None) => assert!(data.len() < LONGEST),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A header with the address of a client: by the first byte one of the two, its lines separated by line feeds.
pub fn forwarded(data: &[u8]) {
    let [which, text @ ..] = data else { return };
    let (header, name) = match which % 2 {
        0 => (ForwardedHeader::XForwardedFor, "x-forwarded-for"),
        _ => (ForwardedHeader::Forwarded, "forwarded"),
    };
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let headers: HeaderMap = lines.map(|line| (HeaderName::from_static(name), line)).collect();
    let [proxy, other] = ["10.0.0.1", "198.51.100.7"].map(|text| text.parse().unwrap());
    let trusted: Networks = ["10.0.0.0/8", "fd00::/8"].iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(header.client(&headers, other, &trusted), Ok(other), "a peer that is not trusted");
    if let Ok(client) = header.client(&headers, proxy, &trusted) {
        assert_eq!(client, client.to_canonical());
        // What clients put before the last address that is not a proxy's changes nothing.
        if !trusted.contains(client) && which % 2 == 0 {
            let mut longer = HeaderMap::new();
            longer.append(name, HeaderValue::from_static("made up, 203.0.113.9"));
            longer.extend(headers);
            assert_eq!(header.client(&longer, proxy, &trusted), Ok(client));
        }
    }
}

/// The details of people, as a text of a form and as a merge patch: what is accepted is within its bounds, is read again
/// from what is stored, and the same patch twice is the same as once.
pub fn details(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for field in Field::ALL {
        let mut details = Details::default();
        if details.set_text(field, text).is_ok() {
            assert_bounded(&details);
        }
    }
    let Ok(Value::Object(body)) = serde_json::from_str(text) else { return };
    let mut patch = DetailsPatch::default();
    for field in Field::ALL {
        if let Some(value) = body.get(field.as_str()) {
            let _ = patch.set(field, value.clone());
        }
    }
    if let Ok(changed) = patch.apply(Details::NONE) {
        assert_bounded(&changed);
        assert_eq!(patch.apply(&changed), Ok(changed));
    }
}

fn assert_bounded(details: &Details) {
    assert!(details.name.as_ref().is_none_or(|name| (1..=MAX_NAME_CHARS).contains(&name.chars().count())));
    assert!(details.groups.len() <= MAX_GROUPS && details.groups.is_sorted());
    let json = details.to_json();
    let metadata = json.get("metadata").map(Value::to_string).unwrap_or_default();
    assert!(metadata.len() <= MAX_METADATA_BYTES);
    let read = Details::from_json(details.to_full_json().as_object().unwrap()).unwrap();
    assert_eq!(read, *details);
}

/// Works in a folder of the thread's own, which is empty at first.
fn in_folder(work: impl FnOnce(&Path)) {
    thread_local!(static FOLDER: tempfile::TempDir = tempfile::tempdir().unwrap());
    FOLDER.with(|folder| {
        work(folder.path());
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    });
}
