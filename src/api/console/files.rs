//! The files of `console/`, as the binary carries them.

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../../console/", $path)))),*]
    };
}

/// (path, content) of each file.
pub(super) const FILES: &[(&str, &[u8])] = files![
    "api.js",
    "camera.js",
    "credentials.js",
    "csv.js",
    "dom.js",
    "face.js",
    "i18n.js",
    "icon.svg",
    "imports.js",
    "index.html",
    "jobs.js",
    "main.js",
    "messages/en.js",
    "messages/es.js",
    "pages.js",
    "pages/access.js",
    "pages/account.js",
    "pages/applications.js",
    "pages/enroll.js",
    "pages/identify.js",
    "pages/import.js",
    "pages/journal.js",
    "pages/overview.js",
    "pages/people.js",
    "pages/person.js",
    "pages/review.js",
    "pages/signin.js",
    "pages/system.js",
    "people.css",
    "people.js",
    "person-actions.js",
    "photos.js",
    "policies.js",
    "router.js",
    "session.js",
    "shell.js",
    "style.css",
    "ui.js",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn walk(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{prefix}{name}/"), found);
            } else {
                found.insert(format!("{prefix}{name}"));
            }
        }
    }

    #[test]
    fn no_file_of_the_console_is_forgotten() {
        let mut found = BTreeSet::new();
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("console"), "", &mut found);
        assert!(found.remove("README.md"), "the guide for developers is not served");
        let embedded: BTreeSet<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(embedded, found);
    }
}
