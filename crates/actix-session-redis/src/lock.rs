use std::sync::{Mutex, MutexGuard, PoisonError};

/// For what no panic leaves half changed: no code panics while it holds the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
