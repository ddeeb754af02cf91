//! Finds the photos in a folder and below it, by their content and not by their names.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::report::{Row, path_text};
use crate::domain::PhotoFormat;

/// Bytes of a file that are read to recognize a photo.
const HEAD_BYTES: u64 = 512;

/// Deepest folder that is read; a loop of mounts ends there.
const MAX_DEPTH: usize = 32;

/// Largest file that is read, in bytes: 64 MiB. The largest photos of phones have 20 MiB.
pub(super) const MAX_FILE_BYTES: u64 = 64 << 20;

/// Folders and files that operating systems create; they are counted, not reported.
const SYSTEM_NAMES: [&str; 6] =
    ["thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information"];

/// A folder with photos directly in it.
#[derive(Debug)]
pub(super) struct Folder {
    /// The folder.
    pub(super) path: PathBuf,
    /// The photos in it, in order of their names.
    pub(super) photos: Vec<PathBuf>,
    /// Whether photos are in folders below it.
    pub(super) has_folders: bool,
}

/// The contents of a folder, at any depth.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// In order of their paths.
    pub(super) folders: Vec<Folder>,
    /// Files that cannot be read or are not photos.
    pub(super) left: Vec<Row>,
    /// Number of hidden and system files.
    pub(super) ignored: usize,
}

impl Tree {
    /// Walks a folder. What cannot be read is reported and does not stop the walk.
    pub(super) fn walk(root: &Path) -> Self {
        let mut tree = Self::default();
        tree.folder(root, &mut Vec::new());
        tree.folders.sort_by(|a, b| a.path.cmp(&b.path));
        tree
    }

    /// Whether the folder, or one below it, has photos.
    fn folder(&mut self, dir: &Path, above: &mut Vec<PathBuf>) -> bool {
        let real = match fs::canonicalize(dir) {
            Ok(real) => real,
            Err(error) => return self.leave(dir, &error),
        };
        if above.contains(&real) || above.len() >= MAX_DEPTH {
            self.left.push(
                Row::left(dir, "", "folder_loop")
                    .because("the folder contains itself, by a link or a mount", "remove the link"),
            );
            return false;
        }
        let mut entries = Vec::new();
        match fs::read_dir(dir) {
            Ok(all) => {
                for entry in all {
                    match entry {
                        Ok(entry) => entries.push(entry.path()),
                        Err(error) => drop(self.leave(dir, &error)),
                    }
                }
            }
            Err(error) => return self.leave(dir, &error),
        }
        entries.sort();
        above.push(real);
        let mut photos = Vec::new();
        let mut has_folders = false;
        for path in entries {
            if is_system(&path) {
                self.ignored += 1;
                continue;
            }
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => has_folders |= self.folder(&path, above),
                Ok(found) if found.is_file() => photos.extend(self.file(path, found.len())),
                Ok(_) => self.left.push(
                    Row::left(&path, "", "special_file")
                        .because("it is a device, a pipe or a socket, not a file", "move it out of the folder"),
                ),
                Err(error) => drop(self.leave(&path, &error)),
            }
        }
        above.pop();
        let any = has_folders || !photos.is_empty();
        if !photos.is_empty() {
            self.folders.push(Folder { path: dir.to_owned(), photos, has_folders });
        }
        any
    }

    /// The file, if it is a photo.
    fn file(&mut self, path: PathBuf, bytes: u64) -> Option<PathBuf> {
        if bytes > MAX_FILE_BYTES {
            let reason = format!("the file has {bytes} bytes, over the limit of {MAX_FILE_BYTES}");
            self.left.push(Row::left(&path, "", "too_large").because(reason, "save the photo smaller, as JPEG"));
            return None;
        }
        let mut head = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
        match read {
            Err(error) => {
                self.leave(&path, &error);
                None
            }
            Ok(0) => {
                self.left.push(
                    Row::left(&path, "", "empty_file").because("the file has no bytes", "copy the photo here again"),
                );
                None
            }
            Ok(_) if PhotoFormat::sniff(&head).is_some() => Some(path),
            Ok(_) => {
                self.left.push(Row::left(&path, "", "not_a_photo").because(
                    "the content is not a photo of a known format",
                    "none if it is meant to be something else; otherwise save it as JPEG or PNG",
                ));
                None
            }
        }
    }

    /// Reports what cannot be read; returns `false`: there are no photos in it.
    fn leave(&mut self, path: &Path, error: &std::io::Error) -> bool {
        self.left.push(unreadable(path, "", error));
        false
    }
}

/// The row of a file or folder that cannot be read.
pub(super) fn unreadable(path: &Path, person: &str, error: &std::io::Error) -> Row {
    let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_symlink());
    match error.kind() {
        ErrorKind::NotFound if is_link => {
            let target = fs::read_link(path).map(|target| path_text(&target)).unwrap_or_default();
            Row::left(path, person, "dangling_link").because(
                format!("the link target {target} does not exist"),
                "mount or restore the target, or remove the link",
            )
        }
        ErrorKind::PermissionDenied => {
            Row::left(path, person, "no_permission").because(error.to_string(), "allow the importing user to read it")
        }
        _ => Row::left(path, person, "unreadable").because(error.to_string(), "check the disk, or copy the file again"),
    }
}

/// Whether a file or folder is hidden, or created by an operating system.
fn is_system(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.starts_with('.') || SYSTEM_NAMES.contains(&name.as_str())
}
