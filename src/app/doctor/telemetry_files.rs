//! Files that the telemetry client of an earlier ONNX Runtime left in the user's folders.

use std::path::{Path, PathBuf};

use crate::settings::UserFolders;

/// In a cache folder: a device id, and a database of unsent events.
const DEVICE_FOLDER: &str = "Microsoft/DeveloperTools/.onnxruntime";
/// In a folder of temporary files: the id of the last session.
const SESSION_FILE: &str = ".ses";

/// Those that exist. Nothing is deleted, because other programs of this user may have created them.
pub(super) fn find(folders: &UserFolders) -> Vec<PathBuf> {
    let devices = folders.caches.iter().map(|folder| folder.join(DEVICE_FOLDER)).filter(|path| path.is_dir());
    let sessions = folders.temporary.iter().map(|folder| folder.join(SESSION_FILE)).filter(|path| is_session(path));
    let mut found: Vec<PathBuf> = devices.chain(sessions).collect();
    found.dedup();
    found
}

/// Whether the file has a time in milliseconds and a UUID on two lines; a `.ses` of another program does not.
fn is_session(path: &Path) -> bool {
    if !std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() < 100) {
        return false;
    }
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    let mut lines = text.lines();
    let time = lines.next().is_some_and(|line| line.parse::<u64>().is_ok());
    let id = lines.next().is_some_and(|line| line.parse::<uuid::Uuid>().is_ok());
    time && id && lines.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_telemetry_client_are_found_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let folders =
            UserFolders { caches: vec![at("xdg"), at("cache")], temporary: vec![at("t1"), at("t2"), at("t3")] };
        assert_eq!(find(&folders), Vec::<PathBuf>::new());

        for temporary in &folders.temporary {
            std::fs::create_dir_all(temporary).unwrap();
        }
        std::fs::create_dir_all(at("cache").join(DEVICE_FOLDER)).unwrap();
        std::fs::create_dir_all(at("xdg/Microsoft/DeveloperTools")).unwrap();
        std::fs::write(at("t1/.ses"), "a session of another program\n").unwrap();
        std::fs::write(at("t2/.ses"), "1795799212086\nb75258c7-97b5-58b1-ea17-befea708c52e\n").unwrap();
        std::fs::create_dir_all(at("t3/.ses")).unwrap();
        assert_eq!(find(&folders), [at("cache").join(DEVICE_FOLDER), at("t2/.ses")]);
    }
}
