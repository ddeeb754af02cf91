//! Applications and their keys, and what operators change of them.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::error::StoreError;
use super::outbox::OutboxEvent;
use super::record::KeyHash;
use crate::domain::{
    AppId, AppKeyId, AppKeyState, AppState, EnrollRules, Guard, KeySwitch, Quota, RequestLimits, Scopes,
};

/// An application as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct AppRecord {
    /// Its id: the `APP-ID` header.
    pub id: AppId,
    /// A name for people.
    pub name: String,
    /// Whether it is served.
    pub state: AppState,
    /// Its keys, oldest first, ended ones included.
    pub keys: Vec<AppKeyRecord>,
    /// When it was created (whole milliseconds).
    pub created_at: SystemTime,
    /// Whether age, gender and race are reported to it.
    pub attributes: bool,
    /// How long a template is kept after its enrollment (whole seconds); `None`: for ever.
    pub retention: Option<Duration>,
    /// Which enrollments are refused.
    pub rules: EnrollRules,
    /// The similarity from which it gets a match, 0 to 1; `None`: the server's.
    pub threshold: Option<f64>,
    /// How much of the server it may use.
    pub limits: RequestLimits,
    /// Whether crops of the faces that it enrolls are kept.
    pub keep_crops: bool,
    /// How long probes without a match are held for review (whole seconds); `None`: none is held.
    pub keep_probes: Option<Duration>,
    /// Whether names, external ids and metadata are searched, in an index in memory.
    pub name_search: bool,
    /// The number of changes by operators, its keys included.
    pub settings_revision: u64,
}

impl AppRecord {
    /// The same with a change.
    #[must_use]
    pub fn with(self, change: &AppChange) -> Self {
        let Quota { templates, samples } = self.rules.quota;
        let rules = EnrollRules {
            guard: change.guard.unwrap_or(self.rules.guard),
            min_quality: change.min_quality.unwrap_or(self.rules.min_quality),
            quota: Quota {
                templates: change.max_templates.unwrap_or(templates),
                samples: change.max_samples.unwrap_or(samples),
            },
            require_consent: change.require_consent.unwrap_or(self.rules.require_consent),
        };
        Self {
            name: change.name.clone().unwrap_or(self.name),
            state: change.state.unwrap_or(self.state),
            attributes: change.attributes.unwrap_or(self.attributes),
            retention: change.retention.unwrap_or(self.retention),
            rules,
            threshold: change.threshold.unwrap_or(self.threshold),
            limits: change.limits.unwrap_or(self.limits),
            keep_crops: change.keep_crops.unwrap_or(self.keep_crops),
            keep_probes: change.keep_probes.unwrap_or(self.keep_probes),
            name_search: change.name_search.unwrap_or(self.name_search),
            ..self
        }
    }

    /// An application without keys, with the defaults of a new one.
    pub fn new(id: AppId, name: &str, created_at: SystemTime) -> Self {
        Self {
            id,
            name: name.to_owned(),
            state: AppState::default(),
            keys: Vec::new(),
            created_at,
            attributes: true,
            retention: None,
            rules: EnrollRules::default(),
            threshold: None,
            limits: RequestLimits::default(),
            keep_crops: false,
            keep_probes: None,
            name_search: true,
            settings_revision: 0,
        }
    }
}

/// The most keys of an application that are neither ended nor in their overlap.
pub const MAX_KEYS: usize = 8;

/// The most keys of an application that are kept: further ended ones are deleted, those that ended first before others.
pub const MAX_KEPT_KEYS: usize = 32;

/// A key of an application, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppKeyRecord {
    /// Its public id.
    pub id: AppKeyId,
    /// A name for people.
    pub name: String,
    /// Hash of the key.
    pub hash: KeyHash,
    /// The last characters of the key; `None` for a key of a version before.
    pub hint: Option<String>,
    /// What it allows.
    pub scopes: Scopes,
    /// What an operator has set it to.
    pub switch: KeySwitch,
    /// When it was made (whole milliseconds).
    pub created_at: SystemTime,
    /// Who made it; `None` for a key of a version before.
    pub created_by: Option<String>,
    /// When it was last accepted, to the minute; `None`: never, or by a version before.
    pub last_used_at: Option<SystemTime>,
    /// The end of its overlap with the key that replaces it (whole milliseconds).
    pub ends_at: Option<SystemTime>,
    /// Until when it is accepted (whole milliseconds); `None`: without limit.
    pub expires_at: Option<SystemTime>,
}

/// Why a known key is refused. The client gets the answer to a wrong key; the journal has this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Its application is suspended.
    #[error("application suspended")]
    ApplicationSuspended,
    /// It is suspended.
    #[error("key suspended")]
    Suspended,
    /// It was ended, or its overlap is over.
    #[error("key ended")]
    Ended,
    /// It has expired.
    #[error("key expired")]
    Expired,
}

impl AppKeyRecord {
    /// Why it is refused at this moment, if it is.
    pub fn fault(&self, now: SystemTime) -> Option<KeyFault> {
        let is_over = |end: Option<SystemTime>| end.is_some_and(|end| end <= now);
        match self.switch {
            KeySwitch::Ended => Some(KeyFault::Ended),
            _ if is_over(self.ends_at) => Some(KeyFault::Ended),
            _ if is_over(self.expires_at) => Some(KeyFault::Expired),
            KeySwitch::Suspended => Some(KeyFault::Suspended),
            KeySwitch::Active => None,
        }
    }

    /// Its state at this moment.
    pub fn state(&self, now: SystemTime) -> AppKeyState {
        match self.fault(now) {
            Some(KeyFault::Ended | KeyFault::Expired) => AppKeyState::Ended,
            Some(KeyFault::Suspended | KeyFault::ApplicationSuspended) => AppKeyState::Suspended,
            None if self.ends_at.is_some() => AppKeyState::Ending,
            None => AppKeyState::Active,
        }
    }
}

/// The secret part of a new key. It takes name, scopes and expiry from the key that it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Its public id.
    pub id: AppKeyId,
    /// Hash of the key.
    pub hash: KeyHash,
    /// The last characters of the key.
    pub hint: Option<String>,
    /// Who makes it.
    pub created_by: Option<String>,
}

/// Which key a new one replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// This one.
    Key(AppKeyId),
    /// The only one that is neither ended nor in its overlap. Those in their overlap end at once.
    Only,
}

/// What changes of a key. `None`: it stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppKeyChange {
    /// Its name.
    pub name: Option<String>,
    /// What it is set to; [`KeySwitch::Ended`] cannot be undone.
    pub switch: Option<KeySwitch>,
    /// What it allows.
    pub scopes: Option<Scopes>,
    /// When it ends. A time that is over ends it at once.
    pub ends_at: Option<Option<SystemTime>>,
    /// Until when it is accepted.
    pub expires_at: Option<Option<SystemTime>>,
}

/// Why a change of keys is refused. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppKeyRefusal {
    /// The application does not exist.
    #[error("there is no such application")]
    NoSuchApp,
    /// It has no key with that id.
    #[error("the application has no such key")]
    NoSuchKey,
    /// The key is ended.
    #[error("the key is ended")]
    Ended,
    /// The application has [`MAX_KEYS`] keys that are neither ended nor in their overlap, or [`MAX_KEPT_KEYS`] that are not
    /// ended.
    #[error("the application has {MAX_KEYS} keys already: end one first")]
    TooMany,
    /// [`Replaced::Only`], and there is not exactly one.
    #[error("the application has {0} keys that could be replaced: name one")]
    NotOne(usize),
}

/// A use of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The application.
    pub app: AppId,
    /// The key.
    pub key: AppKeyId,
    /// When it was accepted.
    pub at: SystemTime,
}

/// A key that replaces another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The new key.
    pub key: AppKeyRecord,
    /// The one before, as it is now.
    pub replaced: AppKeyRecord,
}

/// The keys of one application at a moment: the rules of their changes, for every store. A refused change changes nothing.
#[derive(Debug, Clone)]
pub struct KeySet {
    /// The keys, ended ones included.
    pub keys: Vec<AppKeyRecord>,
    /// The moment (whole milliseconds).
    pub now: SystemTime,
}

impl KeySet {
    fn count(&self, is_counted: impl Fn(AppKeyState) -> bool) -> usize {
        self.keys.iter().filter(|key| is_counted(key.state(self.now))).count()
    }

    /// Adds a key, and deletes the ended ones for which there is no more room.
    fn push(&mut self, key: AppKeyRecord) -> Result<(), AppKeyRefusal> {
        if self.count(|state| state != AppKeyState::Ended) >= MAX_KEPT_KEYS {
            return Err(AppKeyRefusal::TooMany);
        }
        while self.keys.len() >= MAX_KEPT_KEYS {
            let ended = self.keys.iter().enumerate().filter(|(_, key)| key.state(self.now) == AppKeyState::Ended);
            let Some((first, _)) = ended.min_by_key(|(_, key)| key.ends_at.or(key.expires_at)) else { break };
            self.keys.remove(first);
        }
        self.keys.push(key);
        Ok(())
    }

    /// The place of a key that is to be replaced or changed.
    fn position(&self, key: Replaced) -> Result<usize, AppKeyRefusal> {
        let state = |key: &AppKeyRecord| key.state(self.now);
        match key {
            Replaced::Key(id) => {
                let found = self.keys.iter().enumerate().find(|(_, key)| key.id == id);
                let (at, key) = found.ok_or(AppKeyRefusal::NoSuchKey)?;
                if state(key) == AppKeyState::Ended { Err(AppKeyRefusal::Ended) } else { Ok(at) }
            }
            Replaced::Only => {
                let stays = |key: &AppKeyRecord| !matches!(state(key), AppKeyState::Ended | AppKeyState::Ending);
                let mut found = self.keys.iter().enumerate().filter(|(_, key)| stays(key)).map(|(at, _)| at);
                match (found.next(), found.count()) {
                    (Some(only), 0) => Ok(only),
                    (Some(_), others) => Err(AppKeyRefusal::NotOne(others + 1)),
                    (None, _) => Err(AppKeyRefusal::NotOne(0)),
                }
            }
        }
    }

    /// Adds a key, which is created at this moment.
    ///
    /// # Errors
    /// [`AppKeyRefusal::TooMany`].
    pub fn add(&mut self, key: &AppKeyRecord) -> Result<AppKeyRecord, AppKeyRefusal> {
        if self.count(|state| !matches!(state, AppKeyState::Ended | AppKeyState::Ending)) >= MAX_KEYS {
            return Err(AppKeyRefusal::TooMany);
        }
        let key = AppKeyRecord { created_at: self.now, ..key.clone() };
        self.push(key.clone())?;
        Ok(key)
    }

    /// Replaces a key, which stays valid for `overlap`.
    ///
    /// # Errors
    /// [`AppKeyRefusal`].
    pub fn replace(
        &mut self,
        replaced: Replaced,
        replacement: &Replacement,
        overlap: Duration,
    ) -> Result<Rotated, AppKeyRefusal> {
        let (at, now) = (self.position(replaced)?, self.now);
        let before = self.keys.get(at).ok_or(AppKeyRefusal::NoSuchKey)?.clone();
        let key = AppKeyRecord {
            id: replacement.id,
            name: before.name.clone(),
            hash: replacement.hash,
            hint: replacement.hint.clone(),
            scopes: before.scopes,
            switch: KeySwitch::Active,
            created_at: now,
            created_by: replacement.created_by.clone(),
            last_used_at: None,
            ends_at: None,
            expires_at: before.expires_at,
        };
        // An end that is no time counts as now.
        let end = now.checked_add(overlap).unwrap_or(now);
        let ends_at = before.ends_at.map_or(end, |before| before.min(end));
        let switch = if overlap.is_zero() { KeySwitch::Ended } else { before.switch };
        let mut changed = self.clone();
        if replaced == Replaced::Only {
            for other in changed.keys.iter_mut().filter(|key| key.state(now) == AppKeyState::Ending) {
                (other.switch, other.ends_at) = (KeySwitch::Ended, Some(now));
            }
        }
        let replaced = AppKeyRecord { switch, ends_at: Some(ends_at), ..before };
        changed.keys.splice(at..=at, [replaced.clone()]);
        changed.push(key.clone())?;
        *self = changed;
        Ok(Rotated { key, replaced })
    }

    /// Changes a key that is not ended.
    ///
    /// # Errors
    /// [`AppKeyRefusal::NoSuchKey`], [`AppKeyRefusal::Ended`].
    pub fn change(&mut self, id: AppKeyId, change: &AppKeyChange) -> Result<AppKeyRecord, AppKeyRefusal> {
        let (at, now) = (self.position(Replaced::Key(id))?, self.now);
        let key = self.keys.get_mut(at).ok_or(AppKeyRefusal::NoSuchKey)?;
        let AppKeyChange { name, switch, scopes, ends_at, expires_at } = change;
        key.name = name.clone().unwrap_or_else(|| key.name.clone());
        key.switch = switch.unwrap_or(key.switch);
        key.scopes = scopes.unwrap_or(key.scopes);
        key.ends_at = ends_at.unwrap_or(key.ends_at);
        key.expires_at = expires_at.unwrap_or(key.expires_at);
        if key.switch == KeySwitch::Ended || key.ends_at.is_some_and(|end| end <= now) {
            (key.switch, key.ends_at) = (KeySwitch::Ended, Some(now));
        }
        Ok(key.clone())
    }

    /// Ends all keys.
    pub fn end_all(&mut self) {
        for key in self.keys.iter_mut().filter(|key| key.switch != KeySwitch::Ended) {
            (key.switch, key.ends_at) = (KeySwitch::Ended, Some(self.now));
        }
    }
}

/// The keys of applications. Each change adds its event to the outbox in its own transaction, and is in force on other
/// nodes within a poll. Times are those of the database.
#[async_trait]
pub trait AppKeyStore: Send + Sync {
    /// Adds a key. Its creation gets the time of the database.
    async fn add_key(
        &self,
        app: &AppId,
        key: &AppKeyRecord,
        event: Option<&OutboxEvent>,
    ) -> Result<Result<AppKeyRecord, AppKeyRefusal>, StoreError>;

    /// Replaces a key. The replaced one stays valid for `overlap`, and not longer than before; zero ends it at once.
    async fn replace_key(
        &self,
        app: &AppId,
        replaced: Replaced,
        replacement: &Replacement,
        overlap: Duration,
        event: Option<&OutboxEvent>,
    ) -> Result<Result<Rotated, AppKeyRefusal>, StoreError>;

    /// Changes a key that is not ended.
    async fn change_key(
        &self,
        app: &AppId,
        key: AppKeyId,
        change: &AppKeyChange,
        event: Option<&OutboxEvent>,
    ) -> Result<Result<AppKeyRecord, AppKeyRefusal>, StoreError>;

    /// Ends all keys of an application; `false` when it does not exist.
    async fn end_keys(&self, app: &AppId, event: Option<&OutboxEvent>) -> Result<bool, StoreError>;

    /// Records when keys were used. A use before the recorded one changes nothing.
    async fn record_key_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError>;
}

/// What an operator changes of an application. `None`: it stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AppChange {
    /// The change is refused if the application's `settings_revision` is another one.
    pub if_revision: Option<u64>,
    /// The name.
    pub name: Option<String>,
    /// Whether it is served.
    pub state: Option<AppState>,
    /// Its threshold (similarity, 0 to 1).
    pub threshold: Option<Option<f64>>,
    /// Its limits, all three.
    pub limits: Option<RequestLimits>,
    /// Whether age, gender and race are reported.
    pub attributes: Option<bool>,
    /// How long templates are kept (whole seconds).
    pub retention: Option<Option<Duration>>,
    /// How many templates a shorter retention period may erase at once: with more the change is refused, and what it erases
    /// is confirmed. `None`: it is not counted, and retention holds back what is beyond its budget.
    pub may_erase: Option<u64>,
    /// What happens to a likely mix-up.
    pub guard: Option<Guard>,
    /// Whether crops of enrolled faces are kept.
    pub keep_crops: Option<bool>,
    /// How long probes without a match are held for review (whole seconds). Those that are held end earlier with a shorter
    /// time, and at once with none.
    pub keep_probes: Option<Option<Duration>>,
    /// Whether names, external ids and metadata are searched.
    pub name_search: Option<bool>,
    /// Whether an enrollment needs a reference to a consent.
    pub require_consent: Option<bool>,
    /// The minimum quality of an enrolled photo.
    pub min_quality: Option<Option<f64>>,
    /// The most templates.
    pub max_templates: Option<Option<u64>>,
    /// The most samples.
    pub max_samples: Option<Option<u64>>,
}

/// Why a change of an application is refused. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppRefusal {
    /// It does not exist.
    #[error("there is no such application")]
    NoSuchApp,
    /// It was changed meanwhile: its `settings_revision` is this one.
    #[error("the application was changed meanwhile (revision {0})")]
    Changed(u64),
    /// The retention period would erase so many templates.
    #[error("the retention period would erase {0} templates")]
    WouldErase(u64),
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn key(switch: KeySwitch, ends_at: Option<u64>, expires_at: Option<u64>) -> AppKeyRecord {
        AppKeyRecord {
            id: AppKeyId::random(),
            name: "gate".to_owned(),
            hash: KeyHash([0; 32]),
            hint: None,
            scopes: Scopes::ALL,
            switch,
            created_at: at(0),
            created_by: None,
            last_used_at: None,
            ends_at: ends_at.map(at),
            expires_at: expires_at.map(at),
        }
    }

    fn replacement() -> Replacement {
        Replacement { id: AppKeyId::random(), hash: KeyHash([1; 32]), hint: None, created_by: None }
    }

    fn set(keys: Vec<AppKeyRecord>) -> KeySet {
        KeySet { keys, now: at(100) }
    }

    #[test]
    fn a_key_is_in_force_until_its_first_end() {
        for (key, now, fault, state) in [
            (key(KeySwitch::Active, None, None), 9, None, AppKeyState::Active),
            (key(KeySwitch::Active, Some(10), None), 9, None, AppKeyState::Ending),
            (key(KeySwitch::Active, Some(10), None), 10, Some(KeyFault::Ended), AppKeyState::Ended),
            (key(KeySwitch::Active, None, Some(10)), 9, None, AppKeyState::Active),
            (key(KeySwitch::Active, None, Some(10)), 10, Some(KeyFault::Expired), AppKeyState::Ended),
            (key(KeySwitch::Suspended, None, None), 9, Some(KeyFault::Suspended), AppKeyState::Suspended),
            (key(KeySwitch::Suspended, Some(5), None), 9, Some(KeyFault::Ended), AppKeyState::Ended),
            (key(KeySwitch::Ended, None, None), 9, Some(KeyFault::Ended), AppKeyState::Ended),
        ] {
            assert_eq!((key.fault(at(now)), key.state(at(now))), (fault, state), "{key:?} at {now}");
        }
    }

    #[test]
    fn an_overlap_is_never_longer_than_before() {
        let old = key(KeySwitch::Active, Some(200), Some(900));
        let mut keys = set(vec![old.clone()]);
        let rotated = keys.replace(Replaced::Key(old.id), &replacement(), Duration::from_secs(500)).unwrap();
        assert_eq!(rotated.replaced.ends_at, Some(at(200)));
        assert_eq!((rotated.key.expires_at, rotated.key.ends_at), (Some(at(900)), None));
        let again = keys.replace(Replaced::Key(old.id), &replacement(), Duration::ZERO).unwrap();
        assert_eq!((again.replaced.switch, keys.keys.len()), (KeySwitch::Ended, 3));
        let ended = keys.replace(Replaced::Key(old.id), &replacement(), Duration::ZERO);
        assert_eq!(ended, Err(AppKeyRefusal::Ended));
        assert_eq!(keys.keys.len(), 3, "a refused change changes nothing");
    }

    #[test]
    fn a_suspended_key_stays_suspended_in_its_overlap() {
        let old = key(KeySwitch::Suspended, None, None);
        let mut keys = set(vec![old.clone()]);
        let rotated = keys.replace(Replaced::Only, &replacement(), Duration::from_secs(9)).unwrap();
        assert_eq!(rotated.replaced.state(at(105)), AppKeyState::Suspended);
        assert_eq!(rotated.key.state(at(105)), AppKeyState::Active);
    }

    #[test]
    fn keys_are_bounded_whatever_is_done() {
        let mut keys = set(Vec::new());
        for _ in 0..MAX_KEYS {
            keys.add(&key(KeySwitch::Active, None, None)).unwrap();
        }
        assert_eq!(keys.add(&key(KeySwitch::Active, None, None)), Err(AppKeyRefusal::TooMany));
        // A full application can still replace each of its keys, with an overlap or without.
        let first = keys.keys[0].id;
        let mut newest = keys.replace(Replaced::Key(first), &replacement(), Duration::from_secs(9)).unwrap().key.id;
        for _ in 0..100 {
            newest = keys.replace(Replaced::Key(newest), &replacement(), Duration::ZERO).unwrap().key.id;
        }
        assert_eq!(keys.keys.len(), MAX_KEPT_KEYS);
        assert!(keys.keys.iter().any(|key| key.id == first), "a key in its overlap is not ended and stays");
        let outcomes: Vec<_> = (0..100)
            .map(|_| {
                let rotated = keys.replace(Replaced::Key(newest), &replacement(), Duration::from_secs(9));
                rotated.map(|rotated| newest = rotated.key.id)
            })
            .collect();
        assert!(outcomes.contains(&Err(AppKeyRefusal::TooMany)) && outcomes[0].is_ok());
        assert!(keys.keys.len() <= MAX_KEPT_KEYS);
        keys.now = at(1000);
        assert!(keys.replace(Replaced::Key(newest), &replacement(), Duration::from_secs(9)).is_ok());
    }

    #[test]
    fn the_only_key_is_found_or_refused() {
        let ending = key(KeySwitch::Active, Some(200), None);
        let mut keys = set(vec![ending.clone(), key(KeySwitch::Ended, None, None)]);
        let none = keys.replace(Replaced::Only, &replacement(), Duration::ZERO);
        assert_eq!(none, Err(AppKeyRefusal::NotOne(0)));
        keys.add(&key(KeySwitch::Active, None, None)).unwrap();
        keys.replace(Replaced::Only, &replacement(), Duration::from_secs(50)).unwrap();
        let former = keys.keys.iter().find(|key| key.id == ending.id).unwrap();
        assert_eq!(former.switch, KeySwitch::Ended, "of three keys in a row only two are accepted");
        keys.add(&key(KeySwitch::Active, None, None)).unwrap();
        let two = keys.replace(Replaced::Only, &replacement(), Duration::ZERO);
        assert_eq!(two, Err(AppKeyRefusal::NotOne(2)));
    }

    #[test]
    fn an_end_in_the_past_ends_a_key_for_ever() {
        let one = key(KeySwitch::Active, None, None);
        let mut keys = set(vec![one.clone()]);
        let later = AppKeyChange { ends_at: Some(Some(at(150))), ..AppKeyChange::default() };
        assert_eq!(keys.change(one.id, &later).unwrap().state(at(100)), AppKeyState::Ending);
        let withdrawn = AppKeyChange { ends_at: Some(None), ..AppKeyChange::default() };
        assert_eq!(keys.change(one.id, &withdrawn).unwrap().state(at(100)), AppKeyState::Active);
        let past = AppKeyChange { ends_at: Some(Some(at(50))), ..AppKeyChange::default() };
        assert_eq!(keys.change(one.id, &past).unwrap().switch, KeySwitch::Ended);
        assert_eq!(keys.change(one.id, &withdrawn), Err(AppKeyRefusal::Ended));
        assert_eq!(keys.change(AppKeyId::random(), &withdrawn), Err(AppKeyRefusal::NoSuchKey));
    }
}
