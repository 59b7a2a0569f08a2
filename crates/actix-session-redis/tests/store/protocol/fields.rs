use super::{
    plan::{End, at_first},
    record::Record,
    run::Run,
};
use crate::support::sessions::State;

impl Run {
    /// A plain model: one change after the other. So counters sum; what nobody has changed is as at first,
    /// unless somebody has cleared the session; and what one has changed is as he has left it.
    pub(super) fn check_fields(&self, stored: &State, requests: &[&Record]) -> Result<(), String> {
        let mut requests = requests.to_vec();
        requests.sort_by_key(|r| match r.end {
            End::Renew => r.times.ended_at,
            _ => r.wrote_at(),
        });
        // A write is carried out again whose reply was lost, so that it is not known which of several
        // was the last one; a renewal comes after all of them.
        if self.replies_were_lost {
            let renewal = requests.pop_if(|r| r.end == End::Renew);
            return match can_become(stored, &at_first(), &requests, renewal) {
                true => Ok(()),
                false => Err(format!("{stored:?} is stored, as no order leaves it")),
            };
        }
        let mut expected = at_first();
        for request in &requests {
            request.write(&mut expected);
        }
        ensure!(
            *stored == expected,
            "{stored:?} is stored, not {expected:?}"
        );
        Ok(())
    }
}

/// Whether these make it of that in some order, and then the last one.
fn can_become(end: &State, state: &State, requests: &[&Record], last: Option<&Record>) -> bool {
    let after = |request: &Record| {
        let mut state = state.clone();
        request.write(&mut state);
        state
    };
    match (requests, last) {
        ([], None) => state == end,
        ([], Some(last)) => after(last) == *end,
        _ => (0..requests.len()).any(|next| {
            let mut others = requests.to_vec();
            let next = others.remove(next);
            can_become(end, &after(next), &others, last)
        }),
    }
}
