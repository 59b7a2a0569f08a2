//! What a fuzzer has made up, taken apart.

use std::str;

/// Bytes of which there are always more: zeros, in the end.
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                *byte
            }
            None => 0,
        }
    }

    /// One of so many.
    pub(super) fn choice(&mut self, of: usize) -> usize {
        usize::from(self.byte()) % of
    }

    pub(super) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.choice(among.len())]
    }

    /// As long as its first byte says; all that is left, if that is 255.
    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let length = match self.byte() {
            255 => self.rest.len(),
            length => usize::from(length).min(self.rest.len()),
        };
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        bytes
    }

    /// Up to what is no text.
    pub(super) fn text(&mut self) -> &'a str {
        text(self.bytes())
    }

    pub(super) fn number(&mut self) -> i64 {
        match self.choice(8) {
            0 => 0,
            1 => 1,
            2 => 2,
            3 => -1,
            4 => i64::MIN,
            5 => i64::MAX,
            6 => i64::from(self.byte()),
            _ => i64::from_be_bytes([(); 8].map(|()| self.byte())),
        }
    }
}

pub(super) fn text(bytes: &[u8]) -> &str {
    match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}
