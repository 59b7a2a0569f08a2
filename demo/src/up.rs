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

use testbed::{Event, Stack, StackOptions};

use crate::{CookieKey, Instances, SealKeys, SessionTtl, redis_url::RedisUrl, serve::ServeOptions};

#[derive(Debug, Args)]
pub(crate) struct UpOptions {
    /// How many instances to run
    #[arg(long, env, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    instances: u16,
    /// Port of nginx on 127.0.0.1; 0 takes any free one
    #[arg(long, env, default_value_t = 8080)]
    port: u16,
    /// Redis that holds the sessions, as `demo serve` takes it [default: a private one that forgets
    /// everything in the end]
    #[arg(long, env = RedisUrl::VARIABLE, hide_env_values = true, value_name = "URL")]
    redis_url: Option<RedisUrl>,
    /// How long a session lives after its last request: seconds, or with a unit as in 90s, 500ms
    #[arg(long, default_value = "1h")]
    session_ttl: SessionTtl,
    /// With SEAL_KEYS: go on with sessions that are in Redis in clear, and seal them
    #[arg(long, env = ServeOptions::ACCEPT_UNSEALED, value_parser = BoolishValueParser::new())]
    accept_unsealed: bool,
}

/// Runs the whole stack until SIGTERM, SIGINT or SIGHUP.
pub(crate) fn up(options: UpOptions) -> anyhow::Result<()> {
    if let Some(url) = &options.redis_url {
        check_redis(url)?;
    }
    // From here on a signal ends nothing by itself: one that comes while the stack starts waits
    // until it can be stopped in good order.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;

    let mut stack = Stack::start(StackOptions {
        application: Instances {
            program: env::current_exe()?,
            cookie_key: CookieKey::from_env_if_set()?.unwrap_or_else(CookieKey::generate),
            seal_keys: SealKeys::from_env_if_set()?,
            accept_unsealed: options.accept_unsealed,
            session_ttl: options.session_ttl,
            show_logs: true,
        },
        instances: options.instances.into(),
        port: options.port,
        redis_url: options.redis_url.map(|url| url.as_str().to_owned()),
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

fn check_redis(redis: &RedisUrl) -> anyhow::Result<()> {
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
