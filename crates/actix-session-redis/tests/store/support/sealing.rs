//! The same tests once more, with sealed sessions: `SEALED=yes cargo test …`.
//!
//! What Redis holds then, the tests open and seal on their own, by the documented format. They need the
//! session keys for that, as everybody does: whatever part of them comes to know one [`learn`]s it.

use std::{
    collections::HashMap,
    env,
    sync::{LazyLock, Mutex},
};

use actix_session_redis::{RedisPool, RedisSessionStore, RedisSessionStoreBuilder, SessionId};
use aes_gcm::{AeadInPlace as _, Aes256Gcm, KeyInit as _};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use sha2::Sha256;

use super::sessions::session_key;

const MASTER_KEY: &[u8; 32] = b"the key of tests, never of users";

const VERSION_1: u8 = 0xF9;

const NONCE: std::ops::Range<usize> = 5..17;

const TAG_BYTES: usize = 16;

const SESSION_ID_BYTES: usize = 43;

/// How much longer a value is when it is sealed.
pub(crate) const BYTES_MORE: usize = NONCE.end + TAG_BYTES;

/// By session ids.
static SESSION_KEYS: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);

pub(crate) fn is_on() -> bool {
    static IS_ON: LazyLock<bool> =
        LazyLock::new(|| cfg!(feature = "seal") && env::var_os("SEALED").is_some());
    *IS_ON
}

/// How all stores begin whose sessions may as well be sealed.
pub(crate) fn options(pool: impl Into<RedisPool>) -> RedisSessionStoreBuilder {
    let options = RedisSessionStore::builder(pool);
    #[cfg(feature = "seal")]
    if is_on() {
        return options.seal(actix_session_redis::KeyRing::new([MASTER_KEY]).unwrap());
    }
    options
}

pub(crate) fn learn(session_key: &str) {
    if is_on() {
        let id = SessionId::of(&self::session_key(session_key)).to_string();
        let mut known = SESSION_KEYS.lock().unwrap();
        known.insert(id, session_key.to_owned());
    }
}

/// What the store writes for this text.
pub(crate) fn seal(redis_key: &str, field: &[u8], text: &[u8]) -> Vec<u8> {
    if !is_sealed(field) {
        return text.to_vec();
    }
    let cipher = cipher(redis_key, field).expect("its session key is known");
    let nonce = [7; NONCE.end - NONCE.start];
    let mut sealed = text.to_vec();
    let tag = cipher.encrypt_in_place_detached(
        &nonce.into(),
        &associated_data(redis_key, field),
        &mut sealed,
    );
    [&header()[..], &nonce, &sealed, &tag.unwrap()].concat()
}

/// The text for which the store has written this; `None` if nobody knows the session key (yet).
pub(crate) fn open(redis_key: &str, field: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    if !is_sealed(field) {
        return Some(value.to_vec());
    }
    let name = field.escape_ascii();
    assert!(
        value.len() >= BYTES_MORE && value[..NONCE.start] == header(),
        "{name} of {redis_key} is not sealed"
    );
    let (text, tag) = value[NONCE.end..].split_at(value.len() - BYTES_MORE);
    let mut text = text.to_vec();
    let opened = cipher(redis_key, field)?.decrypt_in_place_detached(
        value[NONCE].into(),
        &associated_data(redis_key, field),
        &mut text,
        tag.into(),
    );
    assert!(opened.is_ok(), "{name} of {redis_key} does not open");
    Some(text)
}

/// What the user is called in Redis whom this JSON names.
pub(crate) fn user_id(json: &str) -> String {
    match is_on() {
        true => BASE64_URL_SAFE_NO_PAD.encode(derive::<32>("user", json)),
        false => SessionId::of(&session_key(json)).to_string(),
    }
}

/// Notes are: when the session began, and its label. What else is the store's own is not sealed.
fn is_sealed(field: &[u8]) -> bool {
    is_on() && (!field.starts_with(b"\xFF") || is_note(field))
}

fn is_note(field: &[u8]) -> bool {
    [&b"\xFFborn"[..], b"\xFFlabel"].contains(&field)
}

fn cipher(redis_key: &str, field: &[u8]) -> Option<Aes256Gcm> {
    let id = &redis_key[redis_key.len() - SESSION_ID_BYTES..];
    let key: [u8; 32] = match is_note(field) {
        true => derive("notes", id),
        false => derive("session", SESSION_KEYS.lock().unwrap().get(id)?),
    };
    Some(Aes256Gcm::new(&key.into()))
}

fn header() -> [u8; NONCE.start] {
    let [a, b, c, d] = derive("key id", "");
    [VERSION_1, a, b, c, d]
}

/// A Redis key is prefix and session id.
fn associated_data(redis_key: &str, field: &[u8]) -> Vec<u8> {
    let prefix_bytes = u32::try_from(redis_key.len() - SESSION_ID_BYTES).unwrap();
    let prefix_bytes = prefix_bytes.to_be_bytes();
    [&header()[..], &prefix_bytes, redis_key.as_bytes(), field].concat()
}

fn derive<const BYTES: usize>(purpose: &str, of: &str) -> [u8; BYTES] {
    let mut derived = [0; BYTES];
    let purpose = format!("actix-session-redis 1 {purpose}\0{of}");
    let master_key = Hkdf::<Sha256>::from_prk(MASTER_KEY).unwrap();
    master_key.expand(purpose.as_bytes(), &mut derived).unwrap();
    derived
}
