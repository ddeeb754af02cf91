//! The people of one application in memory, so that sealed names, external ids, groups and metadata can be searched.
//!
//! Only templates with details are in it: about 100 bytes each, and their text. Groups and metadata are kept as keyed
//! 64-bit hashes of their values.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::fold::{WORD, fold, folded_name, words};
pub use super::person::IndexFilter;
use super::person::{EXTERNAL, Matched, Matcher, Person, Text};
use crate::domain::TemplateId;
use crate::gallery::{CompactId, Directory};
use crate::store::{ListEntry, NotedPerson};

/// The order of people that a search finds; ties by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexOrder {
    /// Byte order of the ids.
    Id,
    /// When they were enrolled.
    Created,
    /// When they were last changed.
    Updated,
    /// Their folded names. People without a name are left out.
    Name,
}

/// The place of a person in an order: a folded name or a time (the other is empty or zero), and the id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The folded name.
    pub name: String,
    /// Milliseconds since 1970.
    pub time: i64,
    /// The id.
    pub id: String,
}

/// A search.
#[derive(Debug, Clone)]
pub struct IndexQuery {
    /// Which people.
    pub filter: IndexFilter,
    /// In which order.
    pub order: IndexOrder,
    /// Whether it is reversed, ties as well.
    pub descending: bool,
    /// People after this place.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: usize,
    /// Whether all matches are counted.
    pub count: bool,
}

/// What a search found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexHits {
    /// The people, in order, each with its place.
    pub hits: Vec<(Place, ListEntry)>,
    /// How many people match, on whichever page.
    pub matched: usize,
    /// How many of them match by more than the beginning of their ids: those that a list by id lacks.
    pub beyond_id: usize,
}

/// The people of one application.
#[derive(Debug)]
pub struct PeopleIndex {
    slots: Vec<Option<Person>>,
    free: Vec<u32>,
    directory: Directory,
    /// The slots of people with a name, by folded name and id.
    by_name: Vec<u32>,
    /// Whether the order above is complete.
    is_sorted: bool,
    hasher: RandomState,
    groups: HashMap<u64, (String, usize)>,
    heap_bytes: usize,
}

fn millis(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

fn system_time(millis: i64) -> SystemTime {
    UNIX_EPOCH + std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

impl PeopleIndex {
    /// The index of these people.
    pub fn new(people: impl IntoIterator<Item = NotedPerson>) -> Self {
        let mut index = Self {
            slots: Vec::new(),
            free: Vec::new(),
            directory: Directory::default(),
            by_name: Vec::new(),
            is_sorted: false,
            hasher: RandomState::new(),
            groups: HashMap::new(),
            heap_bytes: 0,
        };
        for person in people {
            index.put(&person);
        }
        index.sort();
        index
    }

    /// The number of people.
    pub fn len(&self) -> usize {
        self.directory.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of people with a name.
    pub fn named(&self) -> usize {
        self.by_name.len()
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let groups: usize = self.groups.values().map(|(name, _)| name.len() + 64).sum();
        self.slots.capacity() * size_of::<Option<Person>>()
            + (self.free.capacity() + self.by_name.capacity()) * size_of::<u32>()
            + self.directory.bytes()
            + self.heap_bytes
            + groups
    }

    /// The groups, by name, with the number of their people.
    pub fn groups(&self) -> Vec<(String, usize)> {
        let mut groups: Vec<_> = self.groups.values().cloned().collect();
        groups.sort();
        groups
    }

    fn group_mark(&self, group: &str) -> u64 {
        self.hasher.hash_one(("group", group))
    }

    fn fact_mark(&self, key: &str, value: &Value) -> u64 {
        self.hasher.hash_one(("fact", key, value.to_string()))
    }

    fn slot(&self, number: u32) -> Option<&Person> {
        self.slots.get(number as usize)?.as_ref()
    }

    fn number(&self, id: &CompactId) -> Option<u32> {
        self.directory.get(id, |number| self.slot(number).is_some_and(|person| person.id == *id))
    }

    fn name_key(&self, number: u32) -> (&str, Option<&CompactId>) {
        self.slot(number).map_or(("", None), |person| (person.name(), Some(&person.id)))
    }

    fn sort(&mut self) {
        if !self.is_sorted {
            let mut by_name = std::mem::take(&mut self.by_name);
            by_name.sort_unstable_by(|a, b| self.name_key(*a).cmp(&self.name_key(*b)));
            by_name.shrink_to_fit();
            self.by_name = by_name;
            self.slots.shrink_to_fit();
            self.is_sorted = true;
        }
    }

    /// Adds a person, or replaces what is known of it. Without details it is removed.
    pub fn put(&mut self, noted: &NotedPerson) {
        self.remove(&noted.id);
        if noted.details.is_empty() {
            return;
        }
        let details = &noted.details;
        let mut text = details.name.as_deref().map(folded_name).unwrap_or_default();
        if text.is_empty() && details.name.is_some() {
            text.push(WORD); // a name without letters and digits is a name
        }
        let name_bytes = text.len() as u32;
        if let Some(external) = &details.external_id {
            text.push(EXTERNAL);
            text.push_str(&fold(external));
        }
        let mut marks = Vec::with_capacity(details.groups.len());
        for group in &details.groups {
            let mark = self.group_mark(group);
            self.groups.entry(mark).or_insert_with(|| (group.clone(), 0)).1 += 1;
            marks.push(mark);
        }
        marks.extend(details.metadata.iter().flatten().map(|(key, value)| self.fact_mark(key, value)));
        marks.sort_unstable();
        let person = Person {
            id: CompactId::new(&noted.id),
            text: text.into(),
            name_bytes,
            created_at: millis(noted.created_at),
            updated_at: millis(noted.updated_at),
            marks: marks.into(),
        };
        self.heap_bytes += person.heap_bytes();
        let number = self.free.pop().unwrap_or(self.slots.len() as u32);
        let id = person.id.clone();
        if number as usize == self.slots.len() {
            self.slots.push(Some(person));
        } else if let Some(slot) = self.slots.get_mut(number as usize) {
            *slot = Some(person);
        }
        let slots = &self.slots;
        self.directory.insert(&id, number, |number| Some(&slots.get(number as usize)?.as_ref()?.id));
        if name_bytes > 0 {
            let at = if self.is_sorted { self.name_place(number) } else { self.by_name.len() };
            self.by_name.insert(at, number);
        }
    }

    /// Where a person is, or belongs, in the order of names.
    fn name_place(&self, number: u32) -> usize {
        let key = self.name_key(number);
        self.by_name.partition_point(|other| self.name_key(*other) < key)
    }

    /// Removes a person.
    pub fn remove(&mut self, id: &TemplateId) {
        let id = CompactId::new(id);
        let Some(number) = self.number(&id) else { return };
        self.sort();
        if self.slot(number).is_some_and(|person| person.name_bytes > 0) {
            let at = self.name_place(number);
            if self.by_name.get(at) == Some(&number) {
                self.by_name.remove(at);
            }
        }
        let slots = &self.slots;
        let is = |number: u32| slots.get(number as usize).and_then(Option::as_ref).is_some_and(|p| p.id == id);
        self.directory.remove(&id, is, |number| Some(&slots.get(number as usize)?.as_ref()?.id));
        let Some(person) = self.slots.get_mut(number as usize).and_then(Option::take) else { return };
        self.heap_bytes -= person.heap_bytes();
        self.free.push(number);
        for mark in &person.marks {
            if let Some((_, count)) = self.groups.get_mut(mark) {
                *count -= 1;
                if *count == 0 {
                    self.groups.remove(mark);
                }
            }
        }
    }

    /// The filter of a search: people that `q` matches, who are in all of the groups, and whose metadata has all of the
    /// members.
    pub fn filter(
        &self,
        q: Option<&str>,
        groups: &[String],
        metadata: &Map<String, Value>,
        created: (Option<SystemTime>, Option<SystemTime>),
    ) -> IndexFilter {
        let mut marks: Vec<u64> = groups.iter().map(|group| self.group_mark(group)).collect();
        marks.extend(metadata.iter().map(|(key, value)| self.fact_mark(key, value)));
        let text = q.map(|q| Text {
            id: q.to_owned(),
            external: fold(q),
            words: words(q).into_iter().map(|word| format!("{WORD}{word}")).collect(),
        });
        let (from, to) = created;
        IndexFilter { text, marks, created_from: from.map(millis), created_to: to.map(millis), unnamed: false }
    }

    /// The people that a query finds.
    pub fn search(&self, query: &IndexQuery) -> IndexHits {
        let (mut matched, mut beyond_id) = (0, 0);
        let matcher = Matcher::new(&query.filter);
        let mut count = |how| {
            matched += 1;
            beyond_id += usize::from(how == Matched::BeyondId);
        };
        let mut numbers = match query.order {
            IndexOrder::Name => {
                if query.filter.is_everybody() {
                    matched = self.len();
                } else if query.count {
                    self.slots.iter().flatten().filter_map(|person| matcher.matches(person)).for_each(count);
                }
                self.page_by_name(query, &matcher)
            }
            IndexOrder::Id | IndexOrder::Created | IndexOrder::Updated => self.page_by_key(query, &matcher, &mut count),
        };
        numbers.truncate(query.limit);
        let hits = numbers.into_iter().filter_map(|number| self.hit(query.order, number)).collect();
        if query.count { IndexHits { hits, matched, beyond_id } } else { IndexHits { hits, ..IndexHits::default() } }
    }

    fn hit(&self, order: IndexOrder, number: u32) -> Option<(Place, ListEntry)> {
        let person = self.slot(number)?;
        let id = person.id.template()?;
        let (name, time) = match order {
            IndexOrder::Id => (String::new(), 0),
            IndexOrder::Created => (String::new(), person.created_at),
            IndexOrder::Updated => (String::new(), person.updated_at),
            IndexOrder::Name => (person.name().to_owned(), 0),
        };
        let place = Place { name, time, id: id.as_str().to_owned() };
        let (created_at, updated_at) = (system_time(person.created_at), system_time(person.updated_at));
        Some((place, ListEntry { id, created_at, updated_at }))
    }

    fn page_by_name(&self, query: &IndexQuery, matcher: &Matcher<'_>) -> Vec<u32> {
        let is_match = |number: &&u32| self.slot(**number).is_some_and(|person| matcher.matches(person).is_some());
        let place = |other: &u32| {
            let after = query.after.as_ref()?;
            let person = self.slot(*other)?;
            Some(person.name().cmp(&after.name).then_with(|| person.id.with_text(|id| id.cmp(&after.id))))
        };
        if query.descending {
            let end = match &query.after {
                Some(_) => self.by_name.partition_point(|other| place(other).is_some_and(|order| order.is_lt())),
                None => self.by_name.len(),
            };
            self.by_name.iter().take(end).rev().filter(is_match).take(query.limit).copied().collect()
        } else {
            let start = match &query.after {
                Some(_) => self.by_name.partition_point(|other| place(other).is_some_and(|order| order.is_le())),
                None => 0,
            };
            self.by_name.iter().skip(start).filter(is_match).take(query.limit).copied().collect()
        }
    }

    /// Passes on how each person matches, on whichever page: the order is not kept, so all are looked at anyway.
    fn page_by_key(&self, query: &IndexQuery, matcher: &Matcher<'_>, count: &mut dyn FnMut(Matched)) -> Vec<u32> {
        let key = |person: &Person| match query.order {
            IndexOrder::Created => person.created_at,
            IndexOrder::Updated => person.updated_at,
            IndexOrder::Id | IndexOrder::Name => 0,
        };
        let is_after = |person: &Person| {
            query.after.as_ref().is_none_or(|after| {
                let order = key(person).cmp(&after.time).then_with(|| person.id.with_text(|id| id.cmp(&after.id)));
                if query.descending { order.is_lt() } else { order.is_gt() }
            })
        };
        let people = (0u32..).zip(&self.slots).filter_map(|(number, slot)| Some((number, slot.as_ref()?)));
        let matching =
            people.filter(|(_, person)| matcher.matches(person).inspect(|matched| count(*matched)).is_some());
        let mut found: Vec<(u32, &Person)> = matching.filter(|(_, person)| is_after(person)).collect();
        let compare = |a: &(u32, &Person), b: &(u32, &Person)| {
            let order = key(a.1).cmp(&key(b.1)).then_with(|| a.1.id.cmp(&b.1.id));
            if query.descending { order.reverse() } else { order }
        };
        if query.limit < found.len() {
            found.select_nth_unstable_by(query.limit, compare);
            found.truncate(query.limit);
        }
        found.sort_unstable_by(compare);
        found.into_iter().map(|(number, _)| number).collect()
    }
}
