//! Who may ask what: keys of 256 random bits that stand hashed in a file, each with scopes and an end.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Largest file of keys that is read: some ten thousand.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// What a key begins with, so that scanners for secrets find it.
const PREFIX: &str = "jtav_";

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Labels, explanations, media as pictures of ours, neighbours, the stream.
    Read,
    /// Having something labelled: costs networks.
    Score,
    /// Dead letters and metrics.
    Admin,
}

impl Scope {
    /// The name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Score => "score",
            Scope::Admin => "admin",
        }
    }
}

/// A file of keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no file of keys.
    #[error("{path}: {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl KeysError {
    /// A file that is written at the moment may be whole a moment later.
    pub fn is_retryable(&self) -> bool {
        true
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    scopes: BTreeSet<Scope>,
    #[serde(default)]
    expires: Option<String>,
    #[serde(default)]
    requests_per_second: Option<NonZeroU32>,
}

/// One key as the server knows it.
pub struct Key {
    /// For logs and metrics.
    pub name: String,
    hash: [u8; 32],
    scopes: BTreeSet<Scope>,
    expires: Option<Timestamp>,
    requests_per_second: NonZeroU32,
    pub(crate) limiter: DefaultDirectRateLimiter,
}

impl Key {
    /// Whether it allows this.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// Why a request's key is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is none.
    Missing,
    /// It is not in the file.
    Unknown,
    /// Its time is over.
    Expired,
}

/// The keys of one reading of the file.
#[derive(Default)]
pub struct Keys {
    keys: Vec<Arc<Key>>,
}

impl Keys {
    /// Reads the text of a file; keys of `before` that are still the same keep their place in the rate limit.
    ///
    /// # Errors
    /// What is wrong, with the key's name.
    pub fn parse(text: &str, default_per_second: NonZeroU32, before: &Keys) -> Result<Self, String> {
        let file: KeysFile = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let keys =
            file.key.into_iter().map(|entry| read(entry, default_per_second, before)).collect::<Result<Vec<_>, _>>()?;
        let names: BTreeSet<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        if names.len() < keys.len() {
            return Err("two keys have one name".to_owned());
        }
        Ok(Self { keys })
    }

    /// The key of an `Authorization` header.
    ///
    /// # Errors
    /// Why it is none.
    pub fn find(&self, authorization: Option<&str>, now: Timestamp) -> Result<Arc<Key>, Refused> {
        let token = authorization.ok_or(Refused::Missing)?;
        let (scheme, token) = token.split_once(' ').ok_or(Refused::Missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refused::Missing);
        }
        // The hashes are compared, not the keys: how far they agree tells nothing of a key.
        let hash: [u8; 32] = Sha256::digest(token.trim().as_bytes()).into();
        let key = self.keys.iter().find(|key| key.hash == hash).ok_or(Refused::Unknown)?;
        if key.expires.is_some_and(|end| end <= now) {
            return Err(Refused::Expired);
        }
        Ok(Arc::clone(key))
    }

    /// Keys in it.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nobody may come in.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

fn read(entry: Entry, default_per_second: NonZeroU32, before: &Keys) -> Result<Arc<Key>, String> {
    let name = entry.name;
    let hash: [u8; 32] = hex::decode(&entry.sha256)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("key `{name}`: sha256 must be 64 hexadecimal digits"))?;
    if entry.scopes.is_empty() {
        return Err(format!("key `{name}`: scopes is empty; give read, score or admin"));
    }
    let expires = entry
        .expires
        .map(|text| read_time(&text))
        .transpose()
        .map_err(|what| format!("key `{name}`: expires: {what}"))?;
    let requests_per_second = entry.requests_per_second.unwrap_or(default_per_second);
    let same = |key: &&Arc<Key>| {
        key.hash == hash
            && key.name == name
            && key.scopes == entry.scopes
            && key.expires == expires
            && key.requests_per_second == requests_per_second
    };
    if let Some(key) = before.keys.iter().find(same) {
        return Ok(Arc::clone(key));
    }
    let limiter = RateLimiter::direct(quota(requests_per_second));
    Ok(Arc::new(Key { name, hash, scopes: entry.scopes, expires, requests_per_second, limiter }))
}

/// Twice as many at a time as come in a second.
pub(crate) fn quota(requests_per_second: NonZeroU32) -> Quota {
    Quota::per_second(requests_per_second)
        .allow_burst(requests_per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1)))
}

/// A day ends when it is over, in UTC.
fn read_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(day) = text.parse::<jiff::civil::Date>()
        && text.len() <= 10
    {
        let next = day.tomorrow().map_err(|error| error.to_string())?;
        let midnight = next.to_datetime(jiff::civil::Time::midnight());
        return jiff::tz::TimeZone::UTC.to_timestamp(midnight).map_err(|error| error.to_string());
    }
    text.parse()
        .map_err(|_| format!("`{text}` is neither a day such as 2027-01-31 nor a time such as 2027-01-31T12:00:00Z"))
}

/// The file of keys, read again when it changes.
pub struct KeysFileWatch {
    path: PathBuf,
    default_per_second: NonZeroU32,
    current: RwLock<Arc<Keys>>,
    read_at: RwLock<Option<(SystemTime, u64)>>,
}

impl KeysFileWatch {
    /// Reads the file.
    ///
    /// # Errors
    /// A file that cannot be used, or that holds no key.
    pub fn open(path: &Path, default_per_second: NonZeroU32) -> Result<Self, KeysError> {
        let watch =
            Self { path: path.to_owned(), default_per_second, current: RwLock::default(), read_at: RwLock::default() };
        watch.look()?;
        if watch.keys().is_empty() {
            let what = "it holds no key; `jtav serve --new-key NAME` prints an entry".to_owned();
            return Err(KeysError::Malformed { path: path.to_owned(), what });
        }
        Ok(watch)
    }

    /// The keys as they were last read well.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Reads the file if it has changed; true if it has. What cannot be used changes nothing.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn look(&self) -> Result<bool, KeysError> {
        let unreadable = |source| KeysError::Unreadable { path: self.path.clone(), source };
        let malformed = |what| KeysError::Malformed { path: self.path.clone(), what };
        let facts = std::fs::metadata(&self.path).map_err(unreadable)?;
        let stamp = (facts.modified().map_err(unreadable)?, facts.len());
        let mut read_at = self.read_at.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *read_at == Some(stamp) {
            return Ok(false);
        }
        if facts.len() > MAX_FILE_BYTES {
            return Err(malformed(format!("{} bytes; at most {MAX_FILE_BYTES} are read", facts.len())));
        }
        let text = std::fs::read_to_string(&self.path).map_err(unreadable)?;
        let keys = Keys::parse(&text, self.default_per_second, &self.keys()).map_err(malformed)?;
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(keys);
        *read_at = Some(stamp);
        Ok(true)
    }
}

/// A new key, and its entry for the file.
pub fn new_key(name: &str, scopes: &[Scope]) -> (String, String) {
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let scopes: Vec<String> = scopes.iter().map(|scope| format!("\"{}\"", scope.as_str())).collect();
    let entry = format!(
        "[[key]]\nname = {}\nsha256 = \"{}\"\nscopes = [{}]\n",
        toml::Value::from(name),
        hex::encode(Sha256::digest(key.as_bytes())),
        scopes.join(", ")
    );
    (key, entry)
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
