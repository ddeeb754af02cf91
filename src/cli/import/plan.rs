//! Assigns photos to people by folders and names.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use unicode_normalization::UnicodeNormalization as _;

use super::names::{NamedId, id_of, text_of};
use super::report::{Row, path_text};
use super::walk::{Folder, Tree};
use crate::domain::TemplateId;

/// How photos are assigned to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Layout {
    /// A folder of photos is a person, unless its photos show different people; a folder of folders is a department,
    /// and each photo directly in it is a person.
    Auto,
    /// Every folder with photos in it is a person.
    Folders,
    /// Every photo is a person.
    Files,
}

/// Where a person's photos come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A folder of its own.
    Folder,
    /// Files of one name.
    Files,
}

/// A person and its photos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) id: TemplateId,
    pub(super) source: Source,
    /// In order of their names; at least one.
    pub(super) photos: Vec<PathBuf>,
}

/// All people of an import.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In order of their first photo.
    pub(super) people: Vec<Person>,
    /// Files that are not enrolled, and warnings.
    pub(super) rows: Vec<Row>,
    /// Number of hidden and system files.
    pub(super) ignored: usize,
}

/// Photos of one person, unless another folder or file has the same id.
struct Candidate {
    name: NamedId,
    source: Source,
    photos: Vec<PathBuf>,
}

impl Candidate {
    fn folder(&self) -> &Path {
        self.photos.first().and_then(|photo| photo.parent()).unwrap_or(Path::new(""))
    }
}

impl Plan {
    /// Assigns the photos of a folder to people.
    pub(super) fn new(root: &Path, layout: Layout) -> Self {
        let tree = Tree::walk(root);
        let mut plan = Self { people: Vec::new(), rows: tree.left, ignored: tree.ignored };
        let mut candidates = Vec::new();
        for folder in tree.folders {
            let is_root = folder.path == root;
            let is_person = match layout {
                Layout::Auto => !is_root && !folder.has_folders,
                Layout::Folders => true,
                Layout::Files => false,
            };
            if is_person && is_root {
                plan.loose(&folder);
            } else if is_person {
                candidates.extend(plan.candidate(
                    folder.path.file_name().unwrap_or_default(),
                    Source::Folder,
                    folder.photos,
                ));
            } else {
                for (stem, photos) in by_stem(folder.photos) {
                    candidates.extend(plan.candidate(&stem, Source::Files, photos));
                }
            }
        }
        plan.take(candidates);
        plan
    }

    /// Photos directly in the imported folder have no folder with a name.
    fn loose(&mut self, folder: &Folder) {
        for photo in &folder.photos {
            self.rows.push(Row::left(photo, "", "loose_photo").because(
                "with --layout folders each person has a folder, and this photo is in none",
                "move it into a folder that is named like the person, or use --layout files",
            ));
        }
    }

    /// Photos under a name; `None`, reported, where the name cannot be an id.
    fn candidate(&mut self, name: &OsStr, source: Source, photos: Vec<PathBuf>) -> Option<Candidate> {
        match id_of(name) {
            Ok(name) => Some(Candidate { name, source, photos }),
            Err(error) => {
                for photo in &photos {
                    self.rows.push(
                        Row::left(photo, &text_of(name), "bad_name")
                            .because(format!("the name {error}, as every templateId"), "rename the file or folder"),
                    );
                }
                None
            }
        }
    }

    /// Two folders or files with the same id are never merged: they may be two people of the same name.
    fn take(&mut self, candidates: Vec<Candidate>) {
        let mut places: BTreeMap<TemplateId, Vec<PathBuf>> = BTreeMap::new();
        for candidate in &candidates {
            places.entry(candidate.name.id.clone()).or_default().push(candidate.folder().to_owned());
        }
        for candidate in candidates {
            let here = candidate.folder().to_owned();
            let Candidate { name: NamedId { id, escaped }, source, photos } = candidate;
            let all = places.get(&id).map(Vec::as_slice).unwrap_or_default();
            if all.len() > 1 {
                let other = all.iter().find(|place| **place != here).unwrap_or(&here);
                for photo in &photos {
                    self.rows.push(Row::left(photo, id.as_str(), "id_taken_twice").because(
                        format!("{} has the same templateId", path_text(other)),
                        "rename one of them, such as by a staff number",
                    ));
                }
                continue;
            }
            for photo in photos.iter().filter(|_| escaped) {
                self.rows.push(Row::warned(photo, id.as_str(), "name_not_utf8").because(
                    "the name is not UTF-8; the templateId has %XX for each byte that is not",
                    "rename the file or folder, delete this template and import again",
                ));
            }
            self.people.push(Person { id, source, photos });
        }
    }
}

/// The photos of one folder by their names without the ending, in order. Forms of one name are one name.
fn by_stem(photos: Vec<PathBuf>) -> BTreeMap<OsString, Vec<PathBuf>> {
    let mut stems: BTreeMap<OsString, Vec<PathBuf>> = BTreeMap::new();
    for photo in photos {
        let stem = photo.file_stem().unwrap_or_default();
        let stem = stem.to_str().map_or_else(|| stem.to_owned(), |text| text.nfc().collect::<String>().into());
        stems.entry(stem).or_default().push(photo);
    }
    stems
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = &[0xff, 0xd8, 0xff, 0xe0];

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, if file.ends_with(".txt") { b"hello".as_slice() } else { JPEG }).unwrap();
        }
        dir
    }

    fn people(plan: &Plan) -> Vec<(&str, usize)> {
        let mut people: Vec<_> = plan.people.iter().map(|person| (person.id.as_str(), person.photos.len())).collect();
        people.sort_unstable();
        people
    }

    fn codes(plan: &Plan) -> Vec<&str> {
        plan.rows.iter().map(|row| &*row.code).collect()
    }

    #[test]
    fn folders_are_people_and_folders_of_folders_departments() {
        let dir = folder(&["Sales/ann/1.jpg", "Sales/ann/2.jpg", "Sales/bob.jpg", "Law/cy/1.jpg", "dee.jpg"]);
        let plan = Plan::new(dir.path(), Layout::Auto);
        assert_eq!(people(&plan), [("ann", 2), ("bob", 1), ("cy", 1), ("dee", 1)]);
        assert_eq!(plan.rows, []);
        let plan = Plan::new(dir.path(), Layout::Files);
        assert_eq!(people(&plan), [("2", 1), ("bob", 1), ("dee", 1)]);
        assert_eq!(codes(&plan), ["id_taken_twice"; 2]);
        let plan = Plan::new(dir.path(), Layout::Folders);
        assert_eq!(people(&plan), [("Sales", 1), ("ann", 2), ("cy", 1)]);
        assert_eq!(codes(&plan), ["loose_photo"]);
    }

    #[test]
    fn the_same_name_in_two_folders_is_refused() {
        let dir = folder(&["Sales/ann/1.jpg", "Law/ann/1.jpg", "Law/bob/1.jpg"]);
        let plan = Plan::new(dir.path(), Layout::Auto);
        assert_eq!(people(&plan), [("bob", 1)]);
        assert_eq!(codes(&plan), ["id_taken_twice"; 2]);
        assert!(plan.rows[0].reason.contains("Sales") && plan.rows[1].reason.contains("Law"), "{:?}", plan.rows);
    }

    #[test]
    fn files_of_one_name_in_a_folder_are_one_person() {
        let dir = folder(&["ann.jpg", "ann.png", "Rene\u{301}.jpg", "Ren\u{e9}.png"]);
        let plan = Plan::new(dir.path(), Layout::Auto);
        assert_eq!(people(&plan), [("Ren\u{e9}", 2), ("ann", 2)]);
    }

    #[test]
    fn other_files_are_reported_and_hidden_ones_are_ignored() {
        let dir = folder(&["ann/1.jpg", "ann/cv.txt", "ann/Thumbs.db", ".cache/x.jpg", "bob.txt"]);
        let plan = Plan::new(dir.path(), Layout::Auto);
        assert_eq!(people(&plan), [("ann", 1)]);
        assert_eq!(codes(&plan), ["not_a_photo"; 2]);
        assert_eq!(plan.ignored, 2);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_circles() {
        let dir = folder(&["ann/1.jpg"]);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).unwrap();
        std::os::unix::fs::symlink("nowhere.jpg", dir.path().join("bob.jpg")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("ann/1.jpg"), dir.path().join("cy.jpg")).unwrap();
        let plan = Plan::new(dir.path(), Layout::Auto);
        assert_eq!(people(&plan), [("ann", 1), ("cy", 1)]);
        let mut codes = codes(&plan);
        codes.sort_unstable();
        assert_eq!(codes, ["dangling_link", "folder_loop"]);
    }
}
