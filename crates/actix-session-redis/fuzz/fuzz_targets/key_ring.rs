#![no_main]

actix_session_redis_fuzz::target!("key_ring");
