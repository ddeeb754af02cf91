//! Folders of the user who runs this process. None of them is a setting; nothing is ever written there.

use std::path::PathBuf;

/// Where programs of this user keep caches and temporary files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFolders {
    /// Folders of caches: of the XDG rules, of the home folder, of macOS.
    pub caches: Vec<PathBuf>,
    /// Folders of temporary files.
    pub temporary: Vec<PathBuf>,
}

impl UserFolders {
    /// Those of the user who runs this process.
    #[expect(clippy::disallowed_methods, reason = "read in settings, where it is allowed")]
    pub fn current() -> Self {
        let absolute = |path: &PathBuf| path.is_absolute();
        let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(absolute);
        let home = std::env::home_dir().filter(absolute);
        let in_home = |folder| home.iter().map(move |home| home.join(folder));
        let mut temporary = vec![std::env::temp_dir(), PathBuf::from("/tmp")];
        temporary.dedup();
        let caches = xdg.into_iter().chain(in_home(".cache")).chain(in_home("Library/Application Support"));
        Self { caches: caches.collect(), temporary }
    }
}
