//! The multipart form with its photos.
//!
//! A photo is a file part of the right name whose declared type is an image or unspecific. A part without a file name
//! is text: it is a photo only if its bytes are an image. The same holds for a whole body that is not a form. The first
//! photo of a name counts.

use std::future::poll_fn;
use std::mem::replace;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use axum::body::Bytes;
use axum::extract::Request;
use futures_util::{Stream, StreamExt, stream};
use multer::{Field as Part, Multipart};

use super::boundary::boundary;
use super::media::{Declared, is_image};
use super::stream::{Capped, ReadError, capped, collect, within};
use super::template_id::audited_template_id;
use crate::api::audit::Audit;
use crate::api::{ApiError, ApiState};
use crate::domain::details::{MAX_GROUPS, MAX_METADATA_BYTES};
use crate::domain::{Details, Field, PhotoFault, PhotoFormats, TemplateId};
use crate::image::Photo;
use crate::service::{Caller, Error};

/// The names under which each photo of a request may come.
pub(in crate::api) type Names = &'static [&'static [&'static str]];

/// The one photo of most endpoints.
pub(in crate::api) const ONE_PHOTO: Names = &[&["photo"]];

/// The two photos of `/verify`, under the names of both eras.
pub(in crate::api) const TWO_PHOTOS: Names = &[&["first_photo", "first_selfie"], &["second_photo", "second_selfie"]];

/// Up to 16 photos of one person.
pub(in crate::api) const MANY_PHOTOS: Names = &[PHOTO; 16];

const PHOTO: &[&str] = &["photo"];

/// A template id has at most 128 characters of at most 4 bytes; the rest is white space to trim.
const MAX_TEXT_BYTES: usize = 4096;

/// The most bytes of a detail: the largest metadata, with white space and escapes.
const MAX_DETAIL_BYTES: usize = 4 * MAX_METADATA_BYTES;

/// Maximum bytes before a part's data: preamble, boundary, headers.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// The content of a form.
#[derive(Debug)]
pub(in crate::api) struct Form {
    photos: Vec<Slot>,
    template: Option<Vec<u8>>,
    /// Details of the template, as text. A group may come several times.
    details: Vec<(Field, Vec<u8>)>,
}

/// One photo of a form: not there yet, or the first one, or what is wrong with it.
type Slot = Option<Result<Photo, PhotoFault>>;

impl Form {
    /// The next photo, in the order of the names.
    pub(in crate::api) fn photo(&mut self) -> Result<Photo, ApiError> {
        let slot = if self.photos.is_empty() { None } else { self.photos.remove(0) };
        Ok(slot.unwrap_or(Err(PhotoFault::Missing))?)
    }

    /// All photos that were sent, or what is wrong with each.
    pub(in crate::api) fn photos(&mut self) -> Vec<Result<Photo, PhotoFault>> {
        std::mem::take(&mut self.photos).into_iter().flatten().collect()
    }

    /// The template id; `None` when absent or empty.
    pub(in crate::api) fn template_id(&self, audit: &Audit) -> Result<Option<TemplateId>, ApiError> {
        let text = str::from_utf8(self.template.as_deref().unwrap_or_default())
            .map_err(|_| ApiError::bad_request("templateId must be UTF-8 text"))?;
        if text.trim().is_empty() { Ok(None) } else { audited_template_id(audit, text).map(Some) }
    }
}

impl Form {
    /// The details of the template.
    pub(in crate::api) fn details(&self) -> Result<Details, ApiError> {
        let mut details = Details::default();
        for (field, text) in &self.details {
            let text =
                str::from_utf8(text).map_err(|_| ApiError::bad_request(format!("{field} must be UTF-8 text")))?;
            details.set_text(*field, text).map_err(Error::from)?;
        }
        Ok(details)
    }
}

/// Reads the photos (and the template id, if any) of a request, if there is room for them.
pub(in crate::api) async fn read_form(
    api: &ApiState,
    caller: &Caller,
    request: Request,
    names: Names,
) -> Result<Form, ApiError> {
    let admission = api.admission();
    admission.check_photos(caller)?;
    let cap = api.config().max_body_bytes.saturating_mul(names.len());
    let Capped { headers, announced, body } = capped(request, cap)?;
    let upload = admission.upload(caller, announced)?;
    let body = within(Arc::clone(admission), upload.clone(), body);
    let formats = api.config().formats;
    let mut form = match boundary(&headers) {
        Some(boundary) => read_parts(Parts::new(body, boundary, api.config().max_parts), names, formats).await?,
        None => read_bare(body, names, formats).await?,
    };
    for photo in form.photos.iter_mut().filter_map(|slot| slot.as_mut()?.as_mut().ok()) {
        admission.enter_photo(caller, &upload, photo);
    }
    Ok(form)
}

async fn read_parts(mut parts: Parts, names: Names, formats: PhotoFormats) -> Result<Form, ApiError> {
    let mut form = Form { photos: names.iter().map(|_| None).collect(), template: None, details: Vec::new() };
    let outcome = fill(&mut form, &mut parts, names, formats).await;
    match outcome {
        // A missing photo is more useful to the caller than a broken form.
        Err(FormError::Broken(_)) if is_photo_missing(&form, names) => Err(PhotoFault::Missing.into()),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(form),
    }
}

/// Whether a photo that has to be there is not. Of many photos one has to be.
fn is_photo_missing(form: &Form, names: Names) -> bool {
    if names.len() == MANY_PHOTOS.len() {
        form.photos.iter().all(Option::is_none)
    } else {
        form.photos.iter().any(Option::is_none)
    }
}

async fn fill(form: &mut Form, parts: &mut Parts, names: Names, formats: PhotoFormats) -> Result<(), FormError> {
    while let Some(mut part) = parts.next().await? {
        let name = part.name().unwrap_or_default().to_owned();
        let mut slots = names.iter().zip(&mut form.photos).filter(|(aliases, _)| aliases.contains(&name.as_str()));
        let is_photo = names.iter().any(|aliases| aliases.contains(&name.as_str()));
        if let Some((_, slot)) = slots.find(|(_, slot)| slot.is_none()) {
            *slot = read_photo(&mut part, formats).await.map_err(FormError::within_a_photo)?;
        } else if is_photo && names.len() == MANY_PHOTOS.len() {
            return Err(FormError::TooManyPhotos);
        } else if is_photo {
            tracing::warn!(part = name, "more than one photo of this name was sent; the first counts");
            skip(&mut part).await?;
        } else if name == "templateId" && form.template.is_none() {
            form.template = Some(read_text(&mut part, MAX_TEXT_BYTES).await?);
        } else if let Some(field) = Field::ALL.into_iter().find(|field| field.as_str() == name) {
            let text = read_text(&mut part, MAX_DETAIL_BYTES).await?;
            // Of a repeated field the first counts, as of a repeated photo; groups add up.
            let is_first = form.details.iter().all(|(known, _)| *known != field);
            let is_group = field == Field::Groups && form.details.len() <= MAX_GROUPS + Field::ALL.len();
            if is_first || is_group {
                form.details.push((field, text));
            }
        } else {
            skip(&mut part).await?;
        }
    }
    Ok(())
}

/// A photo, or what is wrong with it, or nothing when the part is text.
async fn read_photo(part: &mut Part<'static>, formats: PhotoFormats) -> Result<Slot, FormError> {
    let declared = Declared::new(part.headers(), formats);
    let is_text = part.file_name().is_none() && declared != Declared::Image;
    if declared == Declared::Other && !is_text {
        skip(part).await?;
        return Ok(Some(Err(PhotoFault::WrongType)));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = part.chunk().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(match (is_text, is_image(&bytes, formats)) {
        (true, false) => None,
        (false, _) if bytes.is_empty() => Some(Err(PhotoFault::Empty)),
        (true, true) | (false, _) => Some(Ok(Photo::new(bytes))),
    })
}

async fn read_text(part: &mut Part<'static>, max_bytes: usize) -> Result<Vec<u8>, FormError> {
    let mut bytes = Vec::new();
    while let Some(piece) = part.chunk().await? {
        if bytes.len() + piece.len() > max_bytes {
            return Err(FormError::TextTooLong);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

async fn skip(part: &mut Part<'static>) -> Result<(), FormError> {
    while part.chunk().await?.is_some() {}
    Ok(())
}

/// Reads one text field of a form; `None` when absent.
pub(super) async fn read_text_field(
    stream: impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static,
    boundary: String,
    name: &str,
    max_parts: usize,
) -> Result<Option<Vec<u8>>, ApiError> {
    let mut parts = Parts::new(stream, boundary, max_parts);
    while let Some(mut part) = parts.next().await? {
        if part.name() == Some(name) {
            return Ok(Some(read_text(&mut part, MAX_TEXT_BYTES).await?));
        }
        skip(&mut part).await?;
    }
    Ok(None)
}

/// A body that is not a form: the photo itself, if one photo is expected and the bytes are an image.
async fn read_bare(
    mut stream: impl Stream<Item = Result<Bytes, ReadError>> + Send + Unpin,
    names: Names,
    formats: PhotoFormats,
) -> Result<Form, ApiError> {
    /// Enough for the longest signature.
    const SIGNATURE: usize = 32;
    let mut bytes = Vec::new();
    while bytes.len() < SIGNATURE {
        match stream.next().await {
            Some(piece) => bytes.extend_from_slice(&piece?),
            None => break,
        }
    }
    if names.len() != 1 || !is_image(&bytes, formats) {
        return Err(PhotoFault::Missing.into());
    }
    let bytes = collect(stream, bytes).await?;
    Ok(Form { photos: vec![Some(Ok(Photo::new(bytes)))], template: None, details: Vec::new() })
}

/// The parts of a form, bounded in number and in the size of what comes before their data.
struct Parts {
    form: Multipart<'static>,
    received: Arc<AtomicUsize>,
    left: usize,
}

impl Parts {
    fn new(
        stream: impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static,
        boundary: String,
        max_parts: usize,
    ) -> Self {
        let received = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&received);
        let stream = stream.inspect(move |piece| {
            if let Ok(piece) = piece {
                count.fetch_add(piece.len(), Ordering::Relaxed);
            }
        });
        let stream = stream.chain(late_end());
        Self { form: Multipart::new(stream, boundary), received, left: max_parts }
    }

    /// The next part. The one before must have been read to its end.
    ///
    /// The parser scans its whole buffer each time more arrives, so an endless head would cost more with every piece;
    /// the bound keeps that small.
    async fn next(&mut self) -> Result<Option<Part<'static>>, FormError> {
        let before = self.received.load(Ordering::Relaxed);
        let part = poll_fn(|cx| match self.form.poll_next_field(cx) {
            Poll::Ready(part) => Poll::Ready(part.map_err(FormError::from)),
            Poll::Pending if self.received.load(Ordering::Relaxed) - before > MAX_HEADER_BYTES => {
                Poll::Ready(Err(FormError::Broken(None)))
            }
            Poll::Pending => Poll::Pending,
        })
        .await?;
        if part.is_some() {
            self.left = self.left.checked_sub(1).ok_or(FormError::TooManyParts)?;
        }
        Ok(part)
    }
}

/// An empty stream that ends with its second poll.
///
/// Multer 3.1 looks for the first boundary, polls its stream once more, and calls the form incomplete if the stream has
/// ended by then. So a body that arrives whole between two polls, as over HTTP/2 from another thread, would be refused;
/// this keeps the last piece and the end of the body in different polls.
fn late_end<T>() -> impl Stream<Item = T> {
    let mut polled = false;
    stream::poll_fn(move |cx| {
        if replace(&mut polled, true) {
            return Poll::Ready(None);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Why a form could not be read to its end.
#[derive(Debug, thiserror::Error)]
enum FormError {
    #[error("the form has too many parts")]
    TooManyParts,
    #[error("a text field is too long")]
    TextTooLong,
    #[error("the form has too many photos")]
    TooManyPhotos,
    #[error("the form is broken")]
    Broken(#[source] Option<multer::Error>),
    #[error("the form is broken within a photo")]
    BrokenPhoto(#[source] Option<multer::Error>),
    #[error(transparent)]
    Read(ReadError),
}

impl FormError {
    /// A photo that breaks off was not missing.
    fn within_a_photo(self) -> Self {
        match self {
            Self::Broken(cause) => Self::BrokenPhoto(cause),
            Self::TooManyParts | Self::TooManyPhotos | Self::TextTooLong | Self::BrokenPhoto(_) | Self::Read(_) => self,
        }
    }
}

impl From<multer::Error> for FormError {
    fn from(error: multer::Error) -> Self {
        match error {
            multer::Error::StreamReadFailed(cause) => match cause.downcast::<ReadError>() {
                Ok(read) => Self::Read(*read),
                Err(cause) => Self::Broken(Some(multer::Error::StreamReadFailed(cause))),
            },
            error => Self::Broken(Some(error)),
        }
    }
}

impl From<FormError> for ApiError {
    fn from(error: FormError) -> Self {
        match error {
            FormError::TooManyParts => Self::bad_request("multipart form has too many parts"),
            FormError::TooManyPhotos => {
                Self::bad_request(format!("a person is enrolled with at most {} photos", MANY_PHOTOS.len()))
            }
            FormError::TextTooLong => Self::bad_request("a text field of the form is too long"),
            FormError::Broken(cause) | FormError::BrokenPhoto(cause) => {
                tracing::debug!(?cause, "a multipart form is broken");
                Self::bad_request("multipart form is broken")
            }
            FormError::Read(error) => error.into(),
        }
    }
}
