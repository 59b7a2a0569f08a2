//! Session keys and other secrets, drawn from the operating system.

use actix_session::storage::SessionKey;
use rand::{TryRng as _, rngs::SysRng};

const SESSION_KEY_LENGTH: usize = 64;

/// Whether this can be the key of a session, ours or of the store built into actix-session.
pub(crate) fn is_session_key(session_key: &SessionKey) -> bool {
    let text = session_key.as_ref().as_bytes();
    text.len() == SESSION_KEY_LENGTH && text.iter().all(u8::is_ascii_alphanumeric)
}

/// 381 random bits, where OWASP asks for
/// [at least 64](https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html#session-id-entropy).
pub(crate) fn draw_session_key() -> SessionKey {
    let session_key = draw(SESSION_KEY_LENGTH).try_into();
    session_key.expect("64 characters are within the limits of a session key")
}

pub(crate) const TOKEN_LENGTH: usize = 16;

/// Tells one operation from all others: 95 random bits.
pub(crate) fn draw_token() -> String {
    draw(TOKEN_LENGTH)
}

/// Alphanumerics from the operating system's CSPRNG.
fn draw(length: usize) -> String {
    const ALPHANUMERICS: &[u8; 62] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut drawn = String::with_capacity(length);
    while drawn.len() < length {
        // One system call gives enough for a session key but for one time in many.
        let mut random = [0; 96];
        let filled = SysRng.try_fill_bytes(&mut random);
        filled.expect("every system that has Redis has random numbers");
        // Of four times 62 values, each alphanumeric has four.
        let fair = random.iter().filter(|&&byte| byte < 4 * 62);
        let fair = fair.map(|byte| char::from(ALPHANUMERICS[usize::from(byte % 62)]));
        drawn.extend(fair.take(length - drawn.len()));
    }
    drawn
}

#[cfg(test)]
#[path = "../../tests/unit/session_key.rs"]
mod tests;
