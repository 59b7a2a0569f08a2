use actix_session_redis::deadpool_redis::redis::InfoDict;
use anyhow::{Context as _, ensure};

use crate::{contender::Contender, lane::Lane, routes, setting::Setting, table::Table};

pub(crate) const TITLE: &str =
    "Memory in Redis per session: user, log-in, CSRF token, counter, cart";

/// Two are a value of 63 bytes, three are more than the 64 up to which Redis packs a hash.
const ITEMS_IN_CART: [usize; 2] = [2, 3];

/// What a typical session takes in Redis.
#[derive(Debug)]
struct Footprint {
    /// In bytes.
    size: f64,
    encoding: String,
}

pub(crate) fn measure(sessions: usize) -> anyhow::Result<Table> {
    eprintln!("{TITLE} …");
    let mut table = Table::new([
        "items in the cart",
        "contender",
        "bytes after the log-in",
        "encoding",
        "of the built-in's",
        "bytes once it has counted",
        "encoding",
        "of the built-in's",
    ]);
    for items in ITEMS_IN_CART {
        let built_in = footprints(Contender::Single, items, sessions)?;
        let ours = footprints(Contender::Counter, items, sessions)?;
        for (contender, footprints) in [(Contender::Single, &built_in), (Contender::Counter, &ours)]
        {
            let mut row = vec![items.to_string(), contender.to_string()];
            for (footprint, built_in) in footprints.iter().zip(&built_in) {
                row.extend([
                    format!("{:.0}", footprint.size),
                    footprint.encoding.clone(),
                    format!("{:.2}", footprint.size / built_in.size),
                ]);
            }
            table.row(row);
        }
    }
    Ok(table)
}

/// Of sessions after the log-in, and after each has counted once: ours holds an idempotency key then.
fn footprints(
    contender: Contender,
    items: usize,
    sessions: usize,
) -> anyhow::Result<[Footprint; 2]> {
    let setting = Setting {
        sessions: 1,
        workers: 1,
        ..Setting::default()
    };
    let lane = Lane::start(contender, &setting)?;
    let log_in = || lane.cookie_from(&routes::log_in(items));
    // So that what Redis keeps besides sessions is there already.
    lane.visit_with(&log_in()?, "/count")?;
    lane.redis.run::<()>("FLUSHALL");
    let empty = used_memory(&lane)?;
    let cookies = (0..sessions).map(|_| log_in());
    let cookies = cookies.collect::<anyhow::Result<Vec<_>>>()?;
    let stored: usize = lane.redis.try_run("DBSIZE")?;
    ensure!(stored == sessions, "{stored} keys for {sessions} sessions");
    let footprint = || {
        let key: String = lane.redis.try_run("RANDOMKEY")?;
        anyhow::Ok(Footprint {
            size: (used_memory(&lane)? - empty) / sessions as f64,
            encoding: lane.redis.try_run(&format!("OBJECT ENCODING {key}"))?,
        })
    };
    let after_log_in = footprint()?;
    for cookie in &cookies {
        lane.visit_with(cookie, "/count")?;
    }
    Ok([after_log_in, footprint()?])
}

fn used_memory(lane: &Lane) -> anyhow::Result<f64> {
    let info: InfoDict = lane.redis.try_run("INFO memory")?;
    let bytes: u64 = info.get("used_memory").context("no used memory")?;
    Ok(bytes as f64)
}
