#![no_main]

actix_session_redis_fuzz::target!("hash_fields");
