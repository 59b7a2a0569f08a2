//! A store in memory, which can be broken on purpose.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    rc::Rc,
    time::{Duration as StdDuration, Instant},
};

use actix_session::storage::{
    LoadError, SaveError, SessionKey, SessionStore, UpdateError, generate_session_key,
};
use actix_web::{cookie::time::Duration, rt::task::yield_now};
use anyhow::anyhow;

use crate::defect::Defect::{self, *};

type State = HashMap<String, String>;

const FOR_EVER: StdDuration = StdDuration::from_secs(100 * 365 * 86_400);

pub(crate) struct Entry {
    pub(crate) bytes: Vec<u8>,
    ends: Instant,
}

#[derive(Default)]
pub(crate) struct Storage {
    /// By the hash of the session key.
    pub(crate) entries: HashMap<String, Entry>,
    /// What a defect remembers.
    counter: u64,
    last_deleted: Option<String>,
    is_poisoned: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(crate) storage: Rc<RefCell<Storage>>,
    defect: Option<Defect>,
}

impl Memory {
    pub(crate) fn with(defect: Defect) -> Self {
        Self {
            defect: Some(defect),
            ..Self::default()
        }
    }

    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    pub(crate) fn name(&self, session_key: &str) -> String {
        let text = match self.defect {
            Some(IgnoresCase) => session_key.to_lowercase(),
            Some(TrimsKeys) => session_key.trim().to_owned(),
            _ => session_key.to_owned(),
        };
        if self.has(StoresKeys) || self.has(MatchesPatterns) {
            return text;
        }
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        format!("{:x}", hasher.finish())
    }

    fn draw(&self, state: &State) -> SessionKey {
        let mut storage = self.storage.borrow_mut();
        let text = match self.defect {
            Some(NamesByState) => format!("{state:?}"),
            Some(Counts) => {
                storage.counter += 1;
                format!("session number {:050}", storage.counter)
            }
            Some(UsesKeysAgain) => match storage.last_deleted.take() {
                Some(key) => key,
                None => return generate_session_key(),
            },
            _ => return generate_session_key(),
        };
        text.try_into().unwrap()
    }

    fn ends(&self, ttl: &Duration) -> Instant {
        let now = Instant::now();
        match self.defect {
            Some(NeverExpires) => now + FOR_EVER,
            Some(TakesNoTtlForEver) if !ttl.is_positive() => now + FOR_EVER,
            Some(ExpiresEarly) => now + ttl.unsigned_abs() / 100,
            _ if ttl.is_positive() => now + ttl.unsigned_abs(),
            _ => now,
        }
    }

    fn bytes(&self, state: &State) -> Vec<u8> {
        let mut state = state.clone();
        match self.defect {
            Some(TrimsValues) => {
                for json in state.values_mut() {
                    *json = json.trim().to_owned();
                }
            }
            Some(DropsNamesWithControls) => state.retain(|name, _| !name.contains('\0')),
            Some(CutsLargeValues) => state.values_mut().for_each(|json| json.truncate(100_000)),
            _ => {}
        }
        serde_json::to_vec(&state).unwrap()
    }

    /// The bytes of a session that has not ended.
    fn find(&self, name: &str) -> Option<Vec<u8>> {
        let storage = self.storage.borrow();
        let found = match storage.entries.get(name) {
            None if self.has(MatchesPatterns) && name == "*" => storage.entries.values().next(),
            found => found,
        };
        let is_there = found.filter(|entry| entry.ends > Instant::now());
        is_there.map(|entry| entry.bytes.clone())
    }

    fn put(&self, name: String, bytes: Vec<u8>, ends: Instant) {
        let mut storage = self.storage.borrow_mut();
        storage.entries.insert(name, Entry { bytes, ends });
    }

    fn put_state(&self, name: String, state: &State, ttl: &Duration) {
        self.put(name, self.bytes(state), self.ends(ttl));
    }

    /// What is wrong with reading garbage.
    fn unreadable(&self) -> Result<Option<State>, LoadError> {
        match self.defect {
            Some(TakesGarbageForEmpty) => Ok(Some(State::new())),
            Some(PanicsOnGarbage) => panic!("on purpose"),
            Some(FailsOnGarbage) => Err(LoadError::Other(anyhow!("garbage"))),
            Some(WritesOverGarbage) => Err(LoadError::Deserialization(anyhow!("garbage"))),
            Some(IsPoisonedByGarbage) => {
                self.storage.borrow_mut().is_poisoned = true;
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

impl SessionStore for Memory {
    async fn load(&self, session_key: &SessionKey) -> Result<Option<State>, LoadError> {
        if self.storage.borrow().is_poisoned {
            return Err(LoadError::Other(anyhow!("poisoned")));
        }
        match self.find(&self.name(session_key.as_ref())) {
            None if self.has(FailsWithoutSession) => Err(LoadError::Other(anyhow!("no session"))),
            None => Ok(None),
            Some(bytes) => match serde_json::from_slice::<State>(&bytes) {
                Ok(state) if state.is_empty() && self.has(TakesEmptyForNone) => Ok(None),
                Ok(state) => Ok(Some(state)),
                Err(_) => self.unreadable(),
            },
        }
    }

    async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
        if self.has(CountsMilliseconds) && i32::try_from(ttl.whole_milliseconds()).is_err() {
            return Err(SaveError::Other(anyhow!("too long")));
        }
        let session_key = match self.defect {
            Some(DrawsKeysTwice) => {
                let number = self.storage.borrow().counter;
                yield_now().await;
                self.storage.borrow_mut().counter = number + 1;
                number.to_string().try_into().unwrap()
            }
            _ => self.draw(&state),
        };
        self.put_state(self.name(session_key.as_ref()), &state, ttl);
        Ok(session_key)
    }

    async fn update(
        &self,
        session_key: SessionKey,
        mut state: State,
        ttl: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        let name = self.name(session_key.as_ref());
        let Some(before) = self.find(&name) else {
            match self.defect {
                Some(TakesAnyKey) => self.put_state(name, &state, ttl),
                Some(SavesAnew) => return Ok(self.save(state, ttl).await.unwrap()),
                _ => {}
            }
            return Ok(session_key);
        };
        let Ok(mut before) = serde_json::from_slice::<State>(&before) else {
            if self.has(WritesOverGarbage) {
                self.put_state(name, &state, ttl);
                return Ok(session_key);
            }
            return Err(UpdateError::Other(anyhow!("garbage")));
        };
        let old_end = self.storage.borrow().entries[&name].ends;
        match self.defect {
            Some(LosesUpdates) => return Ok(session_key),
            Some(CopiesOnUpdate) => return Ok(self.save(state, ttl).await.unwrap()),
            Some(MergesOnUpdate) => {
                before.extend(state);
                state = before;
            }
            Some(UpdatesAll) => {
                let bytes = self.bytes(&state);
                for entry in self.storage.borrow_mut().entries.values_mut() {
                    entry.bytes.clone_from(&bytes);
                }
            }
            Some(WritesFieldByField) => {
                for (field, json) in state {
                    let found = self.find(&name).unwrap();
                    let mut half: State = serde_json::from_slice(&found).unwrap();
                    half.insert(field, json);
                    self.put_state(name.clone(), &half, ttl);
                    yield_now().await;
                }
                return Ok(session_key);
            }
            Some(ChecksThenUpdates) => yield_now().await,
            _ => {}
        }
        let ends = match self.defect {
            Some(KeepsTtlOnUpdate) => old_end,
            Some(OnlyProlongsOnUpdate) => old_end.max(self.ends(ttl)),
            _ => self.ends(ttl),
        };
        self.put(name, self.bytes(&state), ends);
        Ok(session_key)
    }

    async fn update_ttl(&self, session_key: &SessionKey, ttl: &Duration) -> anyhow::Result<()> {
        let name = self.name(session_key.as_ref());
        let Some(mut bytes) = (match self.has(ProlongsWhatHasEnded) {
            true => self
                .storage
                .borrow()
                .entries
                .get(&name)
                .map(|entry| entry.bytes.clone()),
            false => self.find(&name),
        }) else {
            return Ok(());
        };
        let mut ends = self.ends(ttl);
        match self.defect {
            Some(IgnoresUpdateTtl) => return Ok(()),
            Some(OnlyProlongs) => ends = ends.max(self.storage.borrow().entries[&name].ends),
            Some(ForgetsStateWithTtl) => bytes = b"{}".to_vec(),
            Some(ChecksThenProlongs) => yield_now().await,
            _ => {}
        }
        self.put(name, bytes, ends);
        Ok(())
    }

    async fn delete(&self, session_key: &SessionKey) -> anyhow::Result<()> {
        let name = self.name(session_key.as_ref());
        let found = self.find(&name);
        let is_garbage = found
            .as_ref()
            .is_some_and(|bytes| serde_json::from_slice::<State>(bytes).is_err());
        let mut storage = self.storage.borrow_mut();
        match self.defect {
            Some(DeletesNothing) => {}
            Some(DeletesNoGarbage) if is_garbage => {}
            Some(DeletesAll) => storage.entries.clear(),
            Some(DeletesByPattern) if session_key.as_ref().contains('*') => storage.entries.clear(),
            Some(FailsToDeleteNothing) if found.is_none() => return Err(anyhow!("no session")),
            Some(HidesWhatIsDeleted | ProlongsWhatHasEnded) => {
                if let Some(entry) = storage.entries.get_mut(&name) {
                    entry.ends = Instant::now();
                }
            }
            _ => drop(storage.entries.remove(&name)),
        }
        storage.last_deleted = Some(session_key.as_ref().to_owned());
        Ok(())
    }
}
