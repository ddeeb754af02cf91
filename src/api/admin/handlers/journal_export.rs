//! `journal/export`: the selected lines as a file.

use std::io::Write;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream;
use tokio::sync::mpsc;

use super::journal::ExportJournal;
use super::journal_lines::{archive, file_error};
use crate::api::admin::extract::{Admin, JsonBody};
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState};
use crate::domain::{Clock, rfc3339};
use crate::journal::ExportFormat;

/// Sends what is written into it to the body of a response.
struct BodyWriter {
    sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
    buffer: Vec<u8>,
}

/// Bytes that are sent at once.
const PIECE_BYTES: usize = 64 << 10;

impl BodyWriter {
    fn send(&mut self) -> std::io::Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.buffer));
        self.sender.blocking_send(Ok(piece)).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.send() }
    }
}

/// Streams the selected lines, oldest first. A response that ends early is cut off, so that a client notices it.
pub(in crate::api) async fn export(
    State(api): State<ApiState>,
    admin: Admin,
    JsonBody(body): JsonBody<ExportJournal>,
) -> Result<Response, ApiError> {
    let (format, media_type, extension) = match body.format.as_deref() {
        None | Some("ndjson") => (ExportFormat::Ndjson, "application/x-ndjson", "ndjson"),
        Some("csv") => (ExportFormat::Csv, "text/csv; charset=utf-8; header=present", "csv"),
        Some(_) => return Err(ApiError::field("format", "must be ndjson or csv")),
    };
    let system = api.system()?;
    let archive = archive(system)?;
    let selection = body.filter().selection(&api, &admin).await?;
    let (sender, receiver) = mpsc::channel(4);
    let work = move || {
        let mut out = BodyWriter { sender, buffer: Vec::new() };
        let exported = archive.export(&selection, format, &mut out).map_err(|error| error.to_string());
        let exported = exported.and_then(|_| out.flush().map_err(|error| error.to_string()));
        if let Err(error) = exported {
            // A client that went away is no error; its channel is closed.
            let failed = out.sender.blocking_send(Err(std::io::Error::other(error.clone())));
            if failed.is_ok() {
                tracing::error!(error, "an export of the journal ends early");
            }
        }
    };
    system.journal_files.begin(work).await.map_err(file_error)?;
    let pieces = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    // Notes the outcome for the journal; the body is the file itself.
    let _ = admin.audit.succeeded("exported", Outcome::Done);
    let day: String = rfc3339(Clock::system().now()).chars().take(10).collect();
    let mut response = Outcome::plain(Response::new(Body::from_stream(pieces)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"journal-{day}.{extension}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}
