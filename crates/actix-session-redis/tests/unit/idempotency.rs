use super::*;

fn id(text: &str) -> SessionId {
    SessionId::of(&text.to_owned().try_into().unwrap())
}

#[test]
fn writes_at_the_same_time_have_lanes_of_their_own_and_later_ones_the_same_again() {
    let (keys, session, other) = (IdempotencyKeys::new(), id("a"), id("b"));
    let [first, second] = [(); 2].map(|()| keys.draw(&session));
    assert_eq!((first.lane, second.lane, keys.draw(&other).lane), (0, 1, 0));
    let (lane, number) = (first.lane(), first.number());
    drop(first);
    let later = keys.draw(&session);
    assert_eq!(later.lane(), lane);
    assert!(later.number() > number);
    drop((second, later));
    assert!(lock(&keys.lanes).is_empty());
}

#[test]
fn writers_do_not_meet() {
    let (one, other, id) = (IdempotencyKeys::new(), IdempotencyKeys::new(), id("a"));
    assert_ne!(one.draw(&id).lane(), other.draw(&id).lane());
}
