use std::sync::Mutex;

use rand::{TryRng as _, rngs::SysRng};

use super::envelope::Nonce;
use crate::lock::lock;

/// The nonces of one operation: the first is random, each further one is the next number, as
/// [NIST SP 800-38D](https://csrc.nist.gov/pubs/sp/800/38/d/final) has it in section 8.2.2. To draw one takes
/// the operating system longer than to seal a short value takes us.
///
/// None outlives the operation, so no copy of the process goes on with the same ones.
#[derive(Default)]
pub(super) struct Nonces(Mutex<Option<Nonce>>);

impl Nonces {
    pub(super) fn next(&self) -> Nonce {
        let mut last = lock(&self.0);
        let next = last.map_or_else(draw, after);
        *last = Some(next);
        next
    }
}

fn draw() -> Nonce {
    let mut nonce = Nonce::default();
    let filled = SysRng.try_fill_bytes(&mut nonce);
    filled.expect("every system that has Redis has random numbers");
    nonce
}

/// The highest byte comes first; nothing comes after the last number but the first.
fn after(mut nonce: Nonce) -> Nonce {
    for byte in nonce.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    nonce
}

#[cfg(test)]
#[path = "../../../tests/unit/nonces.rs"]
mod tests;
