//! Photos on disk: finds and analyses them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::CliError;
use crate::domain::{Analysis, AnalysisRequest};
use crate::engine::{Analyze, AnalyzeError};
use crate::image::Photo;

/// Whether a file name has the ending of a JPEG or PNG.
pub(super) fn is_photo(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| ["jpg", "jpeg", "png"].contains(&e.to_ascii_lowercase().as_str()))
}

/// The name of a file or folder.
pub(super) fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The entries of a folder in order of their names, without hidden ones.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(CliError::file(dir))? {
        let path = entry.map_err(CliError::file(dir))?.path();
        if path.file_name().and_then(|n| n.to_str()).is_some_and(|n| !n.starts_with('.')) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The photos that are named, and those of the folders that are named.
pub(super) fn photos_in(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut photos = Vec::new();
    for path in paths {
        if path.is_dir() {
            photos.extend(entries(path)?.into_iter().filter(|p| is_photo(p)));
        } else {
            photos.push(path.clone());
        }
    }
    Ok(photos)
}

/// The photos of a folder as (person, photo), in order: a person is a sub-folder, or a photo directly in the folder.
pub(super) fn people(dir: &Path) -> Result<Vec<(String, PathBuf)>, CliError> {
    let mut photos = Vec::new();
    for path in entries(dir)? {
        if path.is_dir() {
            let person = name(&path);
            photos.extend(entries(&path)?.into_iter().filter(|p| is_photo(p)).map(|p| (person.clone(), p)));
        } else if is_photo(&path) {
            let stem = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            photos.push((stem, path));
        }
    }
    Ok(photos)
}

/// The result of one photo.
pub(super) type Outcome = Result<Analysis, AnalyzeError>;

/// Analyses photos, twice as many at once as the engine has threads, and passes each outcome to `each` in the order of
/// the photos.
pub(super) async fn analyze_all(
    engine: &Arc<dyn Analyze>,
    threads: usize,
    photos: &[PathBuf],
    request: AnalysisRequest,
    mut each: impl FnMut(usize, Outcome) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let work = photos.iter().map(|path| async move {
        let bytes = std::fs::read(path).map_err(CliError::file(path))?;
        Ok::<_, CliError>(engine.analyze(Photo::new(bytes), request).await)
    });
    let mut outcomes = stream::iter(work).buffered(2 * threads.max(1)).enumerate();
    while let Some((at, outcome)) = outcomes.next().await {
        each(at, outcome?)?;
    }
    Ok(())
}
