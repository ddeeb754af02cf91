//! The folder of a check: the photos that should pass, and a sub-folder for each kind of attack.

use std::path::{Path, PathBuf};

use super::super::CliError;
use super::super::photos::{entries, is_photo, name};

/// Folders below a class that are searched: a link to a folder above it would have no end.
const MAX_DEPTH: usize = 8;

/// What the folders of a check are called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// The option that names the folder.
    pub(super) option: &'static str,
    /// The folder of the photos that should pass.
    pub(super) bona_fide: &'static str,
    /// The folder of the kinds.
    pub(super) attacks: &'static str,
    /// A kind, as an example.
    example: &'static str,
}

pub(super) const ATTACKS: Layout =
    Layout { option: "--attacks", bona_fide: "live", attacks: "attack", example: "print" };
pub(super) const FORGERIES: Layout =
    Layout { option: "--forgeries", bona_fide: "genuine", attacks: "forged", example: "face-swap" };

/// A photo of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The sub-folder of the class that it lies in, if any.
    pub(super) folder: Option<String>,
    pub(super) path: PathBuf,
}

/// A class and its photos, of which there is at least one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClassFolder {
    pub(super) name: String,
    pub(super) photos: Vec<Found>,
}

impl Layout {
    /// The bona fide class and the kinds, in order of their names.
    pub(super) fn read(self, dir: &Path) -> Result<(ClassFolder, Vec<ClassFolder>), CliError> {
        if !dir.is_dir() {
            return Err(self.refused(format!("{} is not a folder", dir.display())));
        }
        let missing = [self.bona_fide, self.attacks].into_iter().find(|name| !dir.join(name).is_dir());
        if let Some(missing) = missing {
            return Err(self.refused(format!("{} has no folder {missing}/", dir.display())));
        }
        let bona_fide = self.class(self.bona_fide.to_owned(), &dir.join(self.bona_fide))?;
        let attacks = dir.join(self.attacks);
        let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) =
            entries(&attacks)?.into_iter().partition(|path| path.is_dir());
        let loose = files.iter().filter(|path| is_photo(path)).count();
        if loose > 0 {
            return Err(self.refused(format!(
                "{} has photos that belong to no kind ({loose}): move them into a sub-folder, such as {}/{}/",
                attacks.display(),
                self.attacks,
                self.example
            )));
        }
        if folders.is_empty() {
            return Err(self.refused(format!("{} has no sub-folder of a kind", attacks.display())));
        }
        let kinds = folders.iter().map(|folder| {
            let name = name(folder);
            if name == self.bona_fide {
                return Err(
                    self.refused(format!("the kind {} has the name of the other class: rename it", folder.display()))
                );
            }
            self.class(name, folder)
        });
        Ok((bona_fide, kinds.collect::<Result<_, _>>()?))
    }

    fn class(self, class: String, dir: &Path) -> Result<ClassFolder, CliError> {
        let mut photos = Vec::new();
        for path in entries(dir)? {
            if path.is_dir() {
                let folder = name(&path);
                let mut paths = Vec::new();
                photos_below(&path, MAX_DEPTH, &mut paths)?;
                photos.extend(paths.into_iter().map(|path| Found { folder: Some(folder.clone()), path }));
            } else if is_photo(&path) {
                photos.push(Found { folder: None, path });
            }
        }
        if photos.is_empty() {
            return Err(self.refused(format!(
                "{} has no photo that ends in .jpg, .jpeg or .png: add photos or remove the folder",
                dir.display()
            )));
        }
        Ok(ClassFolder { name: class, photos })
    }

    fn refused(self, reason: String) -> CliError {
        let Self { option, bona_fide, attacks, example } = self;
        CliError::message(format!(
            "{option}: {reason} (it expects FOLDER/{bona_fide}/ and a folder for each kind, such as \
             FOLDER/{attacks}/{example}/, with photos directly in them or in sub-folders)"
        ))
    }
}

fn photos_below(dir: &Path, depth: usize, photos: &mut Vec<PathBuf>) -> Result<(), CliError> {
    if depth == 0 {
        let text = format!("{}: folders are nested too deep, or one is a link to a folder above it", dir.display());
        return Err(CliError::message(text));
    }
    for path in entries(dir)? {
        if path.is_dir() {
            photos_below(&path, depth - 1, photos)?;
        } else if is_photo(&path) {
            photos.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if !file.ends_with('/') {
                std::fs::write(path, "").unwrap();
            }
        }
        dir
    }

    #[test]
    fn photos_of_sub_folders_at_any_depth_belong_to_the_first_one() {
        let dir = folder(&[
            "live/one.jpg",
            "live/notes.txt",
            "attack/screen/video 1/a/1.png",
            "attack/screen/video 1/2.JPG",
            "attack/screen/.hidden/3.jpg",
            "attack/print/4.jpeg",
            "attack/README.md",
        ]);
        let (live, kinds) = ATTACKS.read(dir.path()).unwrap();
        assert_eq!((live.name.as_str(), live.photos.len(), &live.photos[0].folder), ("live", 1, &None));
        assert_eq!(kinds.iter().map(|kind| kind.name.as_str()).collect::<Vec<_>>(), ["print", "screen"]);
        let screen: Vec<_> = kinds[1].photos.iter().map(|photo| (photo.folder.as_deref(), name(&photo.path))).collect();
        assert_eq!(screen, [(Some("video 1"), "2.JPG".to_owned()), (Some("video 1"), "1.png".to_owned())]);
    }

    #[test]
    fn an_error_names_what_is_missing_and_the_layout() {
        let cases: [(&[&str], Layout, &str); 7] = [
            (&["attack/print/1.jpg"], ATTACKS, "has no folder live/"),
            (&["live/1.jpg"], ATTACKS, "has no folder attack/"),
            (&["live/1.jpg", "attack/notes.txt"], ATTACKS, "has no sub-folder of a kind"),
            (&["live/1.jpg", "attack/1.jpg", "attack/print/2.jpg"], ATTACKS, "photos that belong to no kind (1)"),
            (&["live/1.jpg", "attack/print/1.txt"], ATTACKS, "attack/print has no photo"),
            (&["live/1.jpg", "attack/live/1.jpg"], ATTACKS, "rename it"),
            (&["genuine/1.txt", "forged/swap/1.jpg"], FORGERIES, "genuine has no photo"),
        ];
        for (files, layout, expected) in cases {
            let error = layout.read(folder(files).path()).unwrap_err().to_string();
            let shape = format!("FOLDER/{}/", layout.bona_fide);
            assert!(error.starts_with(layout.option) && error.contains(expected) && error.contains(&shape), "{error}");
        }
        let error = ATTACKS.read(Path::new("/does/not/exist")).unwrap_err().to_string();
        assert!(error.contains("/does/not/exist is not a folder"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_folder_above_ends() {
        let dir = folder(&["live/1.jpg", "attack/print/video/1.jpg"]);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("attack/print/video/loop")).unwrap();
        let error = ATTACKS.read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("nested too deep"), "{error}");
    }
}
