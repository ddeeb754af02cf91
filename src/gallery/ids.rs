//! Template ids in little memory.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use uuid::Uuid;

use crate::domain::TemplateId;

/// A template id in 24 bytes: most ids are a UUID or short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CompactId {
    /// A UUID as [`Uuid`] prints it: lower case, with hyphens.
    Uuid([u8; 16]),
    Short(u8, [u8; 22]),
    Long(Box<str>),
}

impl CompactId {
    pub(crate) fn new(id: &TemplateId) -> Self {
        let text = id.as_str();
        if let Ok(uuid) = Uuid::try_parse(text)
            && text.len() == 36
            && !text.bytes().any(|b| b.is_ascii_uppercase())
        {
            return Self::Uuid(uuid.into_bytes());
        }
        let mut bytes = [0; 22];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short(text.len() as u8, bytes)
            }
            None => Self::Long(Box::from(text)),
        }
    }

    /// Calls `f` with the id as text.
    pub(crate) fn with_text<T>(&self, f: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Uuid(bytes) => {
                let mut buffer = [0; 36];
                f(Uuid::from_bytes(*bytes).hyphenated().encode_lower(&mut buffer))
            }
            Self::Short(length, bytes) => {
                // `new` copied it from text.
                f(std::str::from_utf8(&bytes[..usize::from(*length)]).unwrap_or_default())
            }
            Self::Long(text) => f(text),
        }
    }

    /// Whether the id may begin with a text, before the text of the id is made.
    pub(crate) fn may_begin_with(&self, prefix: &str) -> bool {
        match self {
            Self::Uuid(bytes) => {
                // Most texts are ruled out by their first character.
                let first =
                    prefix.chars().next().map(|first| first.to_digit(16).filter(|_| !first.is_ascii_uppercase()));
                first.is_none_or(|digit| digit == Some(u32::from(bytes[0] >> 4)))
            }
            Self::Short(length, _) => prefix.len() <= usize::from(*length),
            Self::Long(_) => true,
        }
    }

    pub(crate) fn template(&self) -> Option<TemplateId> {
        self.with_text(|text| text.parse().ok())
    }

    /// Bytes of memory beyond the 24.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Long(text) => text.len() + size_of::<usize>(),
            Self::Uuid(_) | Self::Short(..) => 0,
        }
    }
}

/// The order of ids is the order of their texts.
impl Ord for CompactId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.with_text(|a| other.with_text(|b| a.cmp(b)))
    }
}

impl PartialOrd for CompactId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Maps ids, which are stored elsewhere, to numbers: a hash table of five bytes an entry.
#[derive(Default)]
pub(crate) struct Directory {
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("count", &self.len()).finish_non_exhaustive()
    }
}

fn hash(hasher: &RandomState, id: &CompactId) -> u64 {
    match id {
        CompactId::Uuid(bytes) => hasher.hash_one(bytes),
        CompactId::Short(length, bytes) => hasher.hash_one(&bytes[..usize::from(*length)]),
        CompactId::Long(text) => hasher.hash_one(text.as_bytes()),
    }
}

/// The hash of a number's id. Every number in the table has one.
fn rehash<'a>(hasher: &RandomState, id_of: impl Fn(u32) -> Option<&'a CompactId>) -> impl Fn(&u32) -> u64 {
    move |number| id_of(*number).map_or(0, |id| hash(hasher, id))
}

impl Directory {
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.numbers.allocation_size()
    }

    /// The number of an id. `is` tells whether a number belongs to the id.
    pub(crate) fn get(&self, id: &CompactId, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.numbers.find(hash(&self.hasher, id), |number| is(*number)).copied()
    }

    /// Adds the number of an id that is not in the table. `id_of` gives the id of any number, including this one.
    pub(crate) fn insert<'a>(&mut self, id: &CompactId, number: u32, id_of: impl Fn(u32) -> Option<&'a CompactId>) {
        self.numbers.insert_unique(hash(&self.hasher, id), number, rehash(&self.hasher, id_of));
    }

    /// Reserves memory for `count` more ids.
    pub(crate) fn reserve<'a>(&mut self, count: usize, id_of: impl Fn(u32) -> Option<&'a CompactId>) {
        self.numbers.reserve(count, rehash(&self.hasher, id_of));
    }

    /// Removes an id. `id_of` gives the id of any other number.
    pub(crate) fn remove<'a>(
        &mut self,
        id: &CompactId,
        is: impl Fn(u32) -> bool,
        id_of: impl Fn(u32) -> Option<&'a CompactId>,
    ) -> Option<u32> {
        let entry = self.numbers.find_entry(hash(&self.hasher, id), |number| is(*number)).ok()?;
        let (number, _) = entry.remove();
        if self.numbers.len() * 8 < self.numbers.capacity() {
            self.numbers.shrink_to(self.numbers.len() * 2, rehash(&self.hasher, id_of));
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn compact(text: &str) -> CompactId {
        CompactId::new(&text.parse().unwrap())
    }

    #[test]
    fn ids_round_trip_and_keep_their_order() {
        let texts = [
            "a",
            "0b5d1a5e-5a1b-4c39-8a5e-9f4b8f0f2a11",
            "0B5D1A5E-5a1b-4c39-8a5e-9f4b8f0f2a11",
            "0b5d1a5e5a1b4c398a5e9f4b8f0f2a11",
            "0b5d1a5e-5a1b-4c39-8a5e-9f4b8f0f2a1",
            "urn:uuid:0b5d1a5e-5a1b-4c39-8a5e-9f4b8f0f2a11",
            "twenty-two characters!",
            "twenty-three characters",
            "éééééééééé",
            "ééééééééééé and more",
            "z",
        ];
        for a in texts {
            assert_eq!(compact(a).template().unwrap().as_str(), a);
            assert!(a.char_indices().all(|(end, _)| compact(a).may_begin_with(&a[..end])));
            for b in texts {
                assert_eq!(compact(a).cmp(&compact(b)), a.cmp(b), "{a} {b}");
                assert_eq!(compact(a) == compact(b), a == b);
            }
        }
        assert_eq!(size_of::<CompactId>(), 24);
    }

    proptest! {
        #[test]
        fn a_directory_is_a_map(steps in proptest::collection::vec((any::<bool>(), 0u32..200), 0..600)) {
            let ids: Vec<CompactId> = (0..200).map(|n| compact(&format!("id {n}"))).collect();
            let id_of = |number: u32| ids.get(number as usize);
            let mut directory = Directory::default();
            let mut truth: HashMap<u32, ()> = HashMap::new();
            for (add, number) in steps {
                let id = &ids[number as usize];
                let is = |n: u32| ids[n as usize] == *id;
                prop_assert_eq!(directory.get(id, is), truth.get(&number).map(|()| number));
                if add && truth.insert(number, ()).is_none() {
                    directory.insert(id, number, id_of);
                } else if !add {
                    let removed = directory.remove(id, is, id_of);
                    prop_assert_eq!(removed, truth.remove(&number).map(|()| number));
                }
                prop_assert_eq!(directory.len(), truth.len());
            }
            for (number, id) in ids.iter().enumerate() {
                let found = directory.get(id, |n| ids[n as usize] == *id);
                prop_assert_eq!(found.is_some(), truth.contains_key(&(number as u32)));
            }
        }
    }
}
