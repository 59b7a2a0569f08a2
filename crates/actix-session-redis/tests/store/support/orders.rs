//! Every order in which requests at once can take their turns.

/// One order after the other.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// The turns taken so far, each one of how many.
    turns: Vec<(usize, usize)>,
    /// How many of them in this run.
    taken: usize,
}

impl Orders {
    /// Whose turn it is, out of so many that wait.
    pub(crate) fn choose(&mut self, waiting: usize) -> usize {
        if self.taken == self.turns.len() {
            self.turns.push((0, waiting));
        }
        self.taken += 1;
        self.turns[self.taken - 1].0
    }

    /// After a run: the next order. `false` if there is none.
    pub(crate) fn go_on(&mut self) -> bool {
        self.taken = 0;
        while self.turns.pop_if(|(turn, of)| *turn + 1 == *of).is_some() {}
        match self.turns.last_mut() {
            Some((turn, _)) => {
                *turn += 1;
                true
            }
            None => false,
        }
    }
}
