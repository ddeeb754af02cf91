//! When keys were last used: in memory, and written to the database at most once a minute.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::domain::{AppId, AppKeyId};
use crate::store::{AppKeyStore, AppRecord, KeyUse, StoreError};

/// Uses are known to the minute: it says enough about a key, and little about its clients.
const RESOLUTION_S: u64 = 60;

#[derive(Debug, Clone, Copy)]
struct LastUse {
    at: SystemTime,
    is_written: bool,
}

/// The last use of each key since the start.
#[derive(Debug, Default)]
pub(super) struct KeyUses(Mutex<HashMap<(AppId, AppKeyId), LastUse>>);

fn to_the_minute(time: SystemTime) -> SystemTime {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    UNIX_EPOCH + Duration::from_secs(seconds - seconds % RESOLUTION_S)
}

impl KeyUses {
    /// Notes that a key was accepted.
    pub(super) fn note(&self, app: &AppId, key: AppKeyId, now: SystemTime) {
        let at = to_the_minute(now);
        let mut uses = self.0.lock();
        let last = uses.entry((app.clone(), key)).or_insert(LastUse { at, is_written: false });
        if last.at < at {
            *last = LastUse { at, is_written: false };
        }
    }

    /// Completes what the database knows.
    pub(super) fn complete(&self, apps: &mut [AppRecord]) {
        let uses = self.0.lock();
        for app in apps {
            for key in &mut app.keys {
                let noted = uses.get(&(app.id.clone(), key.id)).map(|last| last.at);
                key.last_used_at = key.last_used_at.max(noted);
            }
        }
    }

    /// Writes what is not written yet.
    pub(super) async fn write(&self, store: &dyn AppKeyStore) -> Result<(), StoreError> {
        let uses: Vec<KeyUse> = {
            let uses = self.0.lock();
            let unwritten = uses.iter().filter(|(_, last)| !last.is_written);
            unwritten.map(|((app, key), last)| KeyUse { app: app.clone(), key: *key, at: last.at }).collect()
        };
        if uses.is_empty() {
            return Ok(());
        }
        store.record_key_uses(&uses).await?;
        let mut noted = self.0.lock();
        for KeyUse { app, key, at } in uses {
            if let Some(last) = noted.get_mut(&(app, key)).filter(|last| last.at == at) {
                last.is_written = true;
            }
        }
        Ok(())
    }

    /// Forgets the keys that do not exist any more.
    pub(super) fn retain(&self, exists: impl Fn(&AppId, AppKeyId) -> bool) {
        self.0.lock().retain(|(app, key), _| exists(app, *key));
    }
}
