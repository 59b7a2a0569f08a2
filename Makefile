.DEFAULT_GOAL := help
.PHONY: help demo test screenshots chaos compat compat-quick bench bench-quick profile fuzz lint lowest fmt doc deps deps-lint deps-test deps-bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: deps ## the demo on http://127.0.0.1:8080: nginx, three instances, Redis (INSTANCES, PORT, REDIS_URL and more in README.md change that)
	cargo run --locked --release --package demo -- up

# Tests of the store that sealing cannot touch, or that never seal; and those for which it makes no difference how
# many servers there are.
UNSEALED := auto_traits:: black_hole:: built_in:: check:: cookies:: examples:: http:: http2:: \
	lost_connection:: options:: other_servers:: outage:: pool:: protocol::on_a_cluster:: slow_line:: \
	users::model::a_session_that_is_being_renewed users::model::on_a_cluster::

test: deps-test ## every test, documentation examples included; those of the store with sealed sessions, too
	cargo test --locked --workspace --all-features
	SEALED=yes cargo test --locked --workspace --all-features --test store -- $(UNSEALED:%=--skip %)
	for tls in native-tls rustls; do \
		cargo test --locked --package actix-session-redis --features $$tls --test tls || exit; \
	done

# Where cargo puts what it makes.
TARGET = $(or $(CARGO_TARGET_DIR),target)

screenshots: deps-test ## the pictures in the READMEs, made anew by the tests that use a browser
	cargo test --locked --package e2e --test browser
	cp $(TARGET)/browser/counter.png demo/
	cp $(TARGET)/browser/devices.png crates/actix-session-redis/docs/

chaos: deps-test ## only the tests in which Redis is in trouble under load, with their figures
	cargo test --locked --package e2e --test faults

compat: deps-test ## the tests of the store and the fault trials against other servers: SERVERS, or four Redis and Valkey, 8 minutes each
	tests/servers/compat.sh $(SERVERS)

compat-quick: deps-test ## a minute of the same: what servers could do in different ways, on two of them
	tests/servers/compat.sh --quick redis-trixie valkey-trixie

bench: deps-bench ## how fast it is against what else there is, into the tables of the manual: about 20 minutes, on a machine that does nothing else
	cargo run --locked --release --package bench -- run --chapter crates/actix-session-redis/docs/benchmarks.md
	cargo bench --locked --package actix-session-redis --features seal --bench store
	cargo bench --locked --package actix-session-redis --features seal --bench allocations

# Not optimized: all of that was built for the tests.
bench-quick: deps-bench ## a minute of the same, to see that it works: the figures mean nothing
	cargo build --locked --workspace --all-features --bins
	$(TARGET)/debug/bench run --quick
	cargo bench --locked --workspace --all-features --profile dev --bench store -- --test
	cargo bench --locked --workspace --all-features --profile dev --bench allocations

profile: deps-bench ## where the CPU time of a request goes, ours beside the floor; needs perf
	tests/bench/profile.sh

# How long each target is fuzzed.
FUZZ_SECONDS ?= 60

fuzz: ## what Redis or a cookie may bring, made up, FUZZ_SECONDS (60) for each target; needs Rust nightly, cargo-fuzz and a C++ compiler
	@cargo +nightly fuzz --version || { \
		echo "fuzz: rustup toolchain install nightly; cargo install --locked cargo-fuzz" >&2; exit 1; }
	cd crates/actix-session-redis && for target in $$(cargo +nightly fuzz list); do \
		mkdir -p "fuzz/target/corpus/$$target" && \
		RUSTFLAGS="$(RUSTFLAGS) --cfg actix_session_redis_fuzzing" cargo +nightly fuzz run "$$target" "fuzz/target/corpus/$$target" "fuzz/corpus/$$target" -- \
			-max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 || exit; \
	done

# Alone, TLS is built by `make test`, and all together come first.
lint: deps-test ## formatting, clippy and rustdoc, with warnings as errors; what the library depends on
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	cargo clippy --locked --package actix-session-redis -- -D warnings
	for feature in cluster metrics seal sentinel; do \
		cargo clippy --locked --package actix-session-redis --features $$feature -- -D warnings || exit; \
	done
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --all-features --no-deps
	tests/dependencies.sh

lowest: deps-test ## the library with the lowest versions of its dependencies, and the lowest Rust, that its manifest admits
	tests/lowest-versions.sh

fmt: ## formats the code
	cargo fmt --all

doc: ## the documentation of the library, in a browser
	cargo doc --package actix-session-redis --all-features --no-deps --open

deps: ## installs redis-server and nginx where they are missing
	@demo/deps.sh

deps-test: ## the same, and what the tests need: OpenSSL, jq, patch, Chromium, HAProxy, Caddy, Prometheus
	@demo/deps.sh test

deps-lint: ## cargo-deny, with which lint looks at licences and advisories: takes some minutes
	@cargo deny --version 2>/dev/null || cargo install --locked cargo-deny

deps-bench: ## what the demo needs, and wrk, which generates load
	@demo/deps.sh bench
