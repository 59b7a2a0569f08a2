use std::collections::HashSet;

use super::*;

#[test]
fn no_two_values_of_a_write_have_the_same_nonce() {
    let nonces = Nonces::default();
    let drawn: HashSet<_> = (0..1000).map(|_| nonces.next()).collect();
    assert_eq!(drawn.len(), 1000);
}

#[test]
fn two_writes_begin_at_random() {
    let firsts: HashSet<_> = (0..1000).map(|_| Nonces::default().next()).collect();
    assert_eq!(firsts.len(), 1000);
}

#[test]
fn the_next_number_carries_over_all_bytes() {
    assert_eq!(after([0; 12])[11], 1);
    let low = [7, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255];
    assert_eq!(after(low), [7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(after([255; 12]), [0; 12]);
}
