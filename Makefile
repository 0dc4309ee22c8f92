# What people and CI run. `make help` lists it.

CARGO ?= cargo

.PHONY: help build demo test check bench sim fuzz clean

help:            ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

build:           ## the release binary: target/release/nt
	$(CARGO) build --release --locked

demo: build      ## a server, a client and a web page in one process
	./target/release/nt demo $(DEMO)

test:            ## all tests; those that miss a program say so
	$(CARGO) build --release --locked
	NT_E2E_BIN=$(CURDIR)/target/release/nt $(CARGO) test --locked

check:           ## what CI runs: format, lints, tests
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) doc --locked --no-deps --quiet
	$(MAKE) test

# Set by environment, as the header of tests/bench/bench.rs tells: NT_BENCH_ROUNDS, NT_BENCH_SECONDS, NT_BENCH_ONLY (systems),
# NT_BENCH_LOADS, NT_BENCH_BIN, NT_BENCH_BASE (another nt, for A/B), NT_BENCH_STATIC (a musl build).
bench: build     ## nt beside other tunnels: writes docs/BENCHMARKS.md; half an hour; less: NT_BENCH_ONLY=nt,rathole NT_BENCH_LOADS=bulk
	NT_BENCH_BIN=$${NT_BENCH_BIN:-$(CURDIR)/target/release/nt} $(CARGO) bench --quiet --locked --profile harness --bench bench

sim:             ## the simulator for longer: SEEDS=1000
	NT_SIM_SEEDS=$(SEEDS) $(CARGO) test --locked --test sim

fuzz:            ## fuzz one target with a nightly: TARGET=wire SECONDS=60
	mkdir -p tests/fuzz/found/$(TARGET)
	$(CARGO) +nightly fuzz run --fuzz-dir tests/fuzz $(TARGET) tests/fuzz/found/$(TARGET) tests/fuzz/corpus/$(TARGET) \
	    -- -max_total_time=$(SECONDS)

clean:           ## removes what was built
	$(CARGO) clean
