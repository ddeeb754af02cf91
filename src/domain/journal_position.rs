/// A line of a journal that is on disk. The default comes before the first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalPosition {
    /// Its number, counted from 1.
    pub line: u64,
    /// Its `mac`.
    pub mac: [u8; 32],
}
