/// What can be wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    // Workflow.
    TrimsValues,
    DropsNamesWithControls,
    TakesEmptyForNone,
    CutsLargeValues,
    HasAStorageOfItsOwn,
    MergesOnUpdate,
    CopiesOnUpdate,
    UpdatesAll,
    DeletesNothing,
    DeletesAll,
    FailsToDeleteNothing,
    LosesUpdates,
    // Session keys.
    NamesByState,
    Counts,
    FailsWithoutSession,
    IgnoresCase,
    TrimsKeys,
    MatchesPatterns,
    DeletesByPattern,
    TakesAnyKey,
    StoresKeys,
    // Expiry.
    NeverExpires,
    ExpiresEarly,
    CountsMilliseconds,
    TakesNoTtlForEver,
    KeepsTtlOnUpdate,
    OnlyProlongsOnUpdate,
    IgnoresUpdateTtl,
    OnlyProlongs,
    ProlongsWhatHasEnded,
    ForgetsStateWithTtl,
    SavesAnew,
    // Bad bytes.
    TakesGarbageForEmpty,
    PanicsOnGarbage,
    IsPoisonedByGarbage,
    DeletesNoGarbage,
    FailsOnGarbage,
    WritesOverGarbage,
    // Races.
    DrawsKeysTwice,
    WritesFieldByField,
    ChecksThenUpdates,
    ChecksThenProlongs,
    // Lifecycle.
    UsesKeysAgain,
    HidesWhatIsDeleted,
}
