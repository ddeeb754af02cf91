//! One person in the index, and whether a search finds it.

use crate::gallery::CompactId;

/// Precedes a folded external id.
pub(super) const EXTERNAL: char = '\u{2}';

/// A person. The text has the folded name, and then, if there is one, the folded external id.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) id: CompactId,
    pub(super) text: Box<str>,
    /// Bytes of the folded name; zero: no name.
    pub(super) name_bytes: u32,
    /// Milliseconds since 1970.
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    /// Hashes of groups and of metadata, sorted.
    pub(super) marks: Box<[u64]>,
}

impl Person {
    pub(super) fn name(&self) -> &str {
        self.text.get(..self.name_bytes as usize).unwrap_or_default()
    }

    fn external(&self) -> Option<&str> {
        self.text.get(self.name_bytes as usize..)?.strip_prefix(EXTERNAL)
    }

    /// Bytes of memory beyond those of the slot, as an allocator rounds them.
    pub(super) fn heap_bytes(&self) -> usize {
        let rounded = |bytes: usize| if bytes == 0 { 0 } else { bytes.next_multiple_of(16) + 8 };
        self.id.heap_bytes() + rounded(self.text.len()) + rounded(size_of_val(&*self.marks))
    }
}

/// The text that a search asks for.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// The beginning of an id.
    pub(super) id: String,
    /// The beginning of an external id, folded.
    pub(super) external: String,
    /// Beginnings of words of a name, each after the mark of a word.
    pub(super) words: Vec<String>,
}

/// Which people a search finds.
#[derive(Debug, Clone, Default)]
pub struct IndexFilter {
    pub(super) text: Option<Text>,
    pub(super) marks: Vec<u64>,
    pub(super) created_from: Option<i64>,
    pub(super) created_to: Option<i64>,
    pub(super) unnamed: bool,
}

/// How a person matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matched {
    /// Its id begins with the text.
    ById,
    /// Only something else does.
    BeyondId,
}

/// A filter that is ready to compare.
pub(super) struct Matcher<'a> {
    filter: &'a IndexFilter,
    words: Vec<memchr::memmem::Finder<'a>>,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(filter: &'a IndexFilter) -> Self {
        let words = filter.text.iter().flat_map(|text| &text.words);
        Self { filter, words: words.map(|word| memchr::memmem::Finder::new(word.as_bytes())).collect() }
    }

    pub(super) fn matches(&self, person: &Person) -> Option<Matched> {
        let filter = self.filter;
        let is_inside = filter.created_from.is_none_or(|from| person.created_at >= from)
            && filter.created_to.is_none_or(|to| person.created_at < to)
            && !(filter.unnamed && person.name_bytes > 0)
            && filter.marks.iter().all(|mark| person.marks.binary_search(mark).is_ok());
        if !is_inside {
            return None;
        }
        let Some(text) = &filter.text else { return Some(Matched::ById) };
        let id = &person.id;
        if id.may_begin_with(&text.id) && id.with_text(|id| id.starts_with(text.id.as_str())) {
            return Some(Matched::ById);
        }
        let name = person.name().as_bytes();
        let is_named = !self.words.is_empty() && self.words.iter().all(|word| word.find(name).is_some());
        let is_external = || person.external().is_some_and(|external| external.starts_with(text.external.as_str()));
        (is_named || is_external()).then_some(Matched::BeyondId)
    }
}

impl IndexFilter {
    /// Whether it finds everybody.
    pub(super) fn is_everybody(&self) -> bool {
        let Self { text, marks, created_from, created_to, unnamed } = self;
        text.is_none() && marks.is_empty() && created_from.is_none() && created_to.is_none() && !unnamed
    }

    /// Only people without a name.
    pub fn only_unnamed(mut self) -> Self {
        self.unnamed = true;
        self
    }
}
