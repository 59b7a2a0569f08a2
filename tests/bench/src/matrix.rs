//! What is measured.

use std::time::Duration;

use crate::{
    contender::Contender,
    experiment::Experiment,
    setting::{Route, Setting},
};

/// The contenders against each other on a route.
pub(crate) fn head_to_head(route: Route, rounds: usize) -> Experiment {
    let counts = route == Route::Counter;
    let contenders = Contender::ALL.into_iter();
    Experiment {
        title: match route {
            Route::Counter => "Counter route",
            Route::Read => "Read-only route",
            Route::SlidingRead => "Read-only route with sliding expiry",
        },
        axis: "route",
        settings: vec![Setting {
            label: route.to_string(),
            route,
            ..Setting::default()
        }],
        contenders: contenders
            .filter(|contender| {
                counts || !matches!(contender, Contender::Counter | Contender::Metrics)
            })
            // It has a table of its own.
            .filter(|contender| !contender.seals())
            .collect(),
        rounds,
    }
}

pub(crate) fn state_sizes(rounds: usize) -> Experiment {
    let sizes = [
        (100, "100 B"),
        (1_000, "1 KB"),
        (10_000, "10 KB"),
        (100_000, "100 KB"),
    ];
    Experiment {
        title: "Size of the state, counter route",
        axis: "state",
        settings: settings(sizes, |(state_bytes, label)| Setting {
            label: label.to_owned(),
            state_bytes,
            ..Setting::default()
        }),
        ..sweep(rounds)
    }
}

pub(crate) fn connections(rounds: usize) -> Experiment {
    Experiment {
        title: "Concurrent connections, counter route",
        axis: "connections",
        settings: settings([1, 8, 64, 256], |connections| Setting {
            label: connections.to_string(),
            connections,
            ..Setting::default()
        }),
        ..sweep(rounds)
    }
}

pub(crate) fn workers(rounds: usize) -> Experiment {
    Experiment {
        title: "Worker threads, counter route",
        axis: "workers",
        settings: settings([1, 2], |workers| Setting {
            label: workers.to_string(),
            workers,
            ..Setting::default()
        }),
        ..sweep(rounds)
    }
}

pub(crate) fn processes(rounds: usize) -> Experiment {
    Experiment {
        title: "Processes behind nginx, counter route",
        axis: "processes",
        settings: settings([1, 4], |processes| Setting {
            label: processes.to_string(),
            processes,
            nginx: true,
            ..Setting::default()
        }),
        ..sweep(rounds)
    }
}

pub(crate) fn sessions(many: usize, rounds: usize) -> Experiment {
    Experiment {
        title: "Sessions in Redis, counter route",
        axis: "sessions",
        settings: settings([1_000, many], |sessions| Setting {
            label: sessions.to_string(),
            sessions,
            ..Setting::default()
        }),
        contenders: vec![Contender::Ours, Contender::Consistent, Contender::Floor],
        ..sweep(rounds)
    }
}

/// What sealing costs: the same, once sealed and once clear.
pub(crate) fn sealed(rounds: usize) -> Experiment {
    let of = |route: Route| Setting {
        label: route.to_string(),
        route,
        ..Setting::default()
    };
    let large = |setting: Setting| Setting {
        label: format!("{}, 10 KB", setting.label),
        state_bytes: 10_000,
        ..setting
    };
    Experiment {
        title: "Sealed",
        axis: "route",
        settings: vec![
            of(Route::Counter),
            of(Route::Read),
            large(of(Route::Counter)),
            large(of(Route::Read)),
        ],
        contenders: vec![Contender::Consistent, Contender::Sealed],
        rounds,
    }
}

/// All connections on one session, beside as many sessions as there are connections.
pub(crate) fn one_session(rounds: usize) -> Experiment {
    Experiment {
        title: "One session for 64 connections, counter",
        axis: "sessions",
        settings: settings([64, 1], |sessions| Setting {
            label: sessions.to_string(),
            sessions,
            ..Setting::default()
        }),
        contenders: vec![Contender::Counter, Contender::Floor],
        ..sweep(rounds)
    }
}

pub(crate) fn delayed(rounds: usize) -> Experiment {
    let mut settings = settings(Route::ALL, |route| Setting {
        label: route.to_string(),
        route,
        // So that what is waited for is Redis and not a turn, and hardly ever the refresh that the
        // first visitor of a session brings about.
        connections: 1,
        sessions: 10,
        ..Setting::default()
    });
    settings.push(Setting {
        label: format!("{}, 64 connections", Route::Counter),
        ..Setting::default()
    });
    for setting in &mut settings {
        setting.delay = Some(Duration::from_millis(1));
    }
    let mut experiment = Experiment {
        title: "1 ms between server and Redis, one connection (or 64)",
        axis: "route",
        settings,
        ..sweep(rounds)
    };
    // What all wait for besides.
    experiment.contenders.push(Contender::Nothing);
    experiment
}

fn settings<T, const N: usize>(values: [T; N], setting: fn(T) -> Setting) -> Vec<Setting> {
    Vec::from(values.map(setting))
}

/// Those to whom the size of a state and the way to Redis make a difference.
fn sweep(rounds: usize) -> Experiment {
    Experiment {
        title: "",
        axis: "",
        settings: Vec::new(),
        contenders: Vec::from([
            Contender::Ours,
            Contender::Consistent,
            Contender::Single,
            Contender::Pooled,
            Contender::Floor,
        ]),
        rounds,
    }
}
