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
            .filter(|&contender| counts || contender != Contender::Counter)
            .collect(),
        rounds,
    }
}

/// What changes when one thing does.
pub(crate) fn sweeps(rounds: usize, many_sessions: usize) -> Vec<Experiment> {
    let sweep = |title, axis, settings| Experiment {
        title,
        axis,
        settings,
        contenders: Contender::WITH_REDIS.to_vec(),
        rounds,
    };
    let usual = Setting::default;
    let sizes = [
        (100, "100 B"),
        (1_000, "1 KB"),
        (10_000, "10 KB"),
        (100_000, "100 KB"),
    ];
    let processes = [1, 4];
    let delayed = |route: Route| Setting {
        label: route.to_string(),
        route,
        // Few, so that what is waited for is Redis and not a turn.
        connections: 8,
        delay: Some(Duration::from_millis(1)),
        ..usual()
    };
    vec![
        sweep(
            "Size of the state, counter route",
            "state",
            Vec::from(sizes.map(|(state_bytes, label)| Setting {
                label: label.to_owned(),
                state_bytes,
                ..usual()
            })),
        ),
        sweep(
            "Concurrent connections, counter route",
            "connections",
            Vec::from([1, 8, 64, 256].map(|connections| Setting {
                label: connections.to_string(),
                connections,
                ..usual()
            })),
        ),
        sweep(
            "Worker threads, counter route",
            "workers",
            Vec::from([1, 2].map(|workers| Setting {
                label: workers.to_string(),
                workers,
                ..usual()
            })),
        ),
        sweep(
            "Processes behind nginx, counter route",
            "processes",
            Vec::from(processes.map(|processes| Setting {
                label: processes.to_string(),
                processes,
                nginx: true,
                ..usual()
            })),
        ),
        Experiment {
            contenders: vec![Contender::Ours, Contender::Consistent, Contender::Floor],
            ..sweep(
                "Sessions in Redis, counter route",
                "sessions",
                Vec::from([1_000, many_sessions].map(|sessions| Setting {
                    label: sessions.to_string(),
                    sessions,
                    ..usual()
                })),
            )
        },
        sweep(
            "1 ms between server and Redis, 8 connections",
            "route",
            Vec::from([Route::Counter, Route::Read, Route::SlidingRead].map(delayed)),
        ),
    ]
}
