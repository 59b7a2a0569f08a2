//! Tells one write of a large state from all others, so that the state need not be sent back to be
//! compared.
//!
//! A stamp is 64 random bits, written as whitespace behind the state: who reads JSON skips it
//! ([RFC 8259]), and who writes the state anew does not write it, or writes another one.
//!
//! [RFC 8259]: https://www.rfc-editor.org/rfc/rfc8259#section-2

/// States longer than this are stamped, here and in `merge.lua`. To send a shorter one back costs
/// next to nothing.
const LONGEST_SENT_BACK: usize = 4096;

const LENGTH: usize = 32;

pub(crate) fn stamped(mut state: Vec<u8>) -> Vec<u8> {
    if state.len() > LONGEST_SENT_BACK {
        state.extend_from_slice(&draw());
    }
    state
}

pub(crate) fn without_stamp(body: &[u8]) -> &[u8] {
    body.trim_ascii_end()
}

/// By which Redis can see whether it still holds `body`: its stamp, or all of it.
///
/// A stamp is safe to compare: two writes of one session that have the same would be a coincidence
/// of one in 2^64, and nobody can choose one.
pub(crate) fn comparable(body: &[u8]) -> &[u8] {
    let (state, stamp) = body.split_at(without_stamp(body).len());
    if state.len() > LONGEST_SENT_BACK && stamp.len() == LENGTH {
        stamp
    } else {
        body
    }
}

pub(crate) fn draw() -> [u8; LENGTH] {
    let bits: u64 = rand::random();
    std::array::from_fn(|i| b" \t\n\r"[(bits >> (2 * i) & 3) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large() -> Vec<u8> {
        let text = "x".repeat(LONGEST_SENT_BACK);
        format!(r#"{{"text":"\"{text}\""}}"#).into_bytes()
    }

    #[test]
    fn a_large_state_is_told_from_itself_by_its_stamp() {
        let (one, other) = (stamped(large()), stamped(large()));
        assert_eq!(comparable(&one), &one[large().len()..]);
        assert_ne!(comparable(&one), comparable(&other));
    }

    #[test]
    fn readers_of_json_do_not_see_the_stamp() {
        let body = stamped(large());
        assert_eq!(without_stamp(&body), large());
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            read,
            serde_json::from_slice::<serde_json::Value>(&large()).unwrap()
        );
    }

    #[test]
    fn what_has_no_stamp_is_compared_as_a_whole() {
        let small = br#"{"n":"1"}"#.to_vec();
        assert_eq!(stamped(small.clone()), small);
        assert_eq!(comparable(&small), small);
        assert_eq!(comparable(&large()), large());
        let spaced = [small, b"\n".to_vec()].concat();
        assert_eq!(comparable(&spaced), spaced);
    }
}
