use std::{
    env,
    io::{self, Write as _},
    thread,
};

use actix_session_redis::RedisSessionStore;
use actix_web::rt::System;
use anyhow::{anyhow, bail};
use clap::{Args, builder::BoolishValueParser};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    CookieKey, Event, RedisAddress, SealKeys, SessionTtl, Stack, StackOptions, serve::ServeOptions,
};

#[derive(Debug, Args)]
pub(crate) struct UpOptions {
    /// How many instances to run
    #[arg(long, env, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    instances: u16,
    /// Port of nginx on 127.0.0.1; 0 takes any free one
    #[arg(long, env, default_value_t = 8080)]
    port: u16,
    #[command(flatten)]
    redis: RedisAddress,
    /// How long a session lives after its last request: seconds, or with a unit as in 90s, 500ms
    #[arg(long, default_value = "1h")]
    session_ttl: SessionTtl,
    /// With SEAL_KEYS: go on with sessions that are in Redis in clear, and seal them
    #[arg(long, env = ServeOptions::ACCEPT_UNSEALED, value_parser = BoolishValueParser::new())]
    accept_unsealed: bool,
}

/// Runs the whole stack until SIGTERM, SIGINT or SIGHUP.
pub(crate) fn up(options: UpOptions) -> anyhow::Result<()> {
    let redis = options.redis.is_given().then_some(options.redis);
    if let Some(redis) = &redis {
        check_redis(redis)?;
    }
    // From here on a signal ends nothing by itself: one that comes while the stack starts waits
    // until it can be stopped in good order.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;

    let mut stack = Stack::start(StackOptions {
        instances: options.instances.into(),
        port: options.port,
        session_ttl: options.session_ttl,
        redis,
        cookie_key: CookieKey::from_env_if_set()?.unwrap_or_else(CookieKey::generate),
        seal_keys: SealKeys::from_env_if_set()?,
        accept_unsealed: options.accept_unsealed,
        show_logs: true,
        ..StackOptions::new(env::current_exe()?)
    })?;
    say(&stack.to_string());
    say(&format!("Ready: {}", stack.url()));

    let interrupter = stack.interrupter();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            interrupter.interrupt();
        }
    });
    let mut left = options.instances;
    loop {
        match stack.wait()? {
            Event::InstanceEnded(instance) => {
                left -= 1;
                match left {
                    0 => say(&format!("{instance}; none is left, so nginx answers 502")),
                    1 => say(&format!("{instance}; the other one carries on")),
                    _ => say(&format!("{instance}; the others carry on")),
                }
            }
            Event::BackboneEnded(part) => bail!("{part}; stopped the rest; its log:{}", part.log),
            Event::Interrupted => {
                say("Stopping");
                return Ok(());
            }
        }
    }
}

fn check_redis(redis: &RedisAddress) -> anyhow::Result<()> {
    let store = RedisSessionStore::new(redis.pool()?);
    System::new()
        .block_on(store.ping())
        // Its text is complete: the sources would only repeat it.
        .map_err(|reason| anyhow!("cannot use the Redis of REDIS_URL: {reason}"))
}

/// For the person in front of it: that nobody reads is no reason to stop the stack.
fn say(line: &str) {
    writeln!(io::stdout(), "{line}").ok();
}
