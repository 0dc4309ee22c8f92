# What people and CI run. `make help` lists it.

CARGO ?= cargo

.PHONY: help build static dist cross-check systems-check packages packages-check demo features test check faults bench soak sim mutants fuzz \
    torture vm-check clean

help:            ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)
	@echo '  bench is set by environment: NT_BENCH_ROUNDS=3 NT_BENCH_SECONDS=3 NT_BENCH_ONLY=nt,nt-tls,rathole,…'
	@echo '    NT_BENCH_LOADS=bulk,udp,http,names,echo,memory,crowd,scale,wan NT_BENCH_BIN=, NT_BENCH_BASE=, NT_BENCH_STATIC=PATH'

build:           ## the release binary: target/release/nt
	$(CARGO) build --release --locked

# What people copy to their machines; musl-gcc (apt install musl-tools) compiles the C of ring.
MUSL := $(shell uname -m)-unknown-linux-musl
static:          ## the same as one static file: target/*-linux-musl/release/nt
	rustup target add $(MUSL)
	CC_$(subst -,_,$(MUSL))=musl-gcc $(CARGO) build --release --locked --target $(MUSL)

dist:            ## small static files for other machines too, in dist/: TARGET=mips, or all; docs/PLATFORMS.md
	$(MAKE) -f packaging/cross/Makefile dist

cross-check:     ## what is in dist/ against the nt of this machine, in qemu where it is foreign: TARGET=mips, or all
	$(MAKE) -f packaging/cross/Makefile cross-check

packages:        ## packages of what is in dist/, for Debian and OpenWrt: TARGET=mipsel, or all; docs/PACKAGES.md
	$(MAKE) -f packaging/Makefile packages

packages-check:  ## whether they install, work and go again (as root; says what it wants)
	$(MAKE) -f packaging/Makefile packages-check

systems-check:   ## whether nt compiles for Windows, macOS, FreeBSD and Android: TARGET=windows, or all
	$(MAKE) -f packaging/cross/Makefile systems-check

demo: build      ## a server, a client and a web page in one process
	./target/release/nt demo $(DEMO)

test:            ## all tests; those that miss a program say so
	$(CARGO) build --release --locked
	NT_E2E_BIN=$(CURDIR)/target/release/nt $(CARGO) test --locked

faults:          ## the faults on real kernels (docs/TESTING.md), for longer than `make test` has time
	$(CARGO) build --release --locked
	NT_E2E_LONG=1 NT_E2E_BIN=$(CURDIR)/target/release/nt $(CARGO) test --locked --test e2e

# Each by itself, then what people build: a router's client, one with all that it can do, a server.
SETS := none server client tls udp http files admin config ca install doctor demo \
    client,udp client,udp,http,files,admin,config,ca,install server,udp
features:        ## whether each feature builds alone, and the usual sets
	for set in $(SETS); do \
	    echo "features: $$set"; \
	    $(CARGO) clippy --quiet --locked --no-default-features --features "$${set#none}" -- -D warnings || exit 1; \
	done

check:           ## what CI runs: format, lints, tests
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(MAKE) features
	$(CARGO) doc --locked --no-deps --quiet
	$(MAKE) test

# The header of tests/bench/bench.rs tells more of what is set by environment: NT_BENCH_ROUNDS, NT_BENCH_SECONDS,
# NT_BENCH_ONLY, NT_BENCH_LOADS, NT_BENCH_BIN, NT_BENCH_BASE, NT_BENCH_STATIC.
bench: build     ## nt beside other tunnels, in half an hour: writes docs/BENCHMARKS.md
	$(MAKE) static || echo "the static build is not measured"
	NT_BENCH_STATIC=$${NT_BENCH_STATIC-$$(ls $(CURDIR)/target/$(MUSL)/release/nt 2>/dev/null)} \
	NT_BENCH_BIN=$${NT_BENCH_BIN:-$(CURDIR)/target/release/nt} $(CARGO) bench --quiet --locked --profile harness --bench bench

MINUTES ?= 60
soak: build      ## churn, faults and what they cost over time: MINUTES=60 writes docs/TESTING.md
	NT_SOAK_MINUTES=$(MINUTES) NT_SOAK_SEED=$(SEED) NT_E2E_BIN=$${NT_E2E_BIN:-$(CURDIR)/target/release/nt} \
	$(CARGO) bench --quiet --locked --profile harness --bench soak

sim:             ## the simulator for a night: SEEDS=10000 STEPS=20000
	NT_SIM_SEEDS=$(SEEDS) $(if $(STEPS),NT_SIM_STEPS=$(STEPS)) $(CARGO) test --locked --test sim

mutants:         ## proof that the simulator finds mistakes, in an hour at most: writes docs/TESTING.md
	$(CARGO) bench --quiet --locked --profile harness --bench mutants

FUZZED = $(or $(TARGET),$(patsubst tests/fuzz/fuzz_targets/%.rs,%,$(wildcard tests/fuzz/fuzz_targets/*.rs)))
fuzz:            ## fuzz with a nightly and cargo-fuzz: TARGET=wire, or each in turn, for SECONDS=60
	for target in $(FUZZED); do \
	    mkdir -p tests/fuzz/found/$$target && \
	    $(CARGO) +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none $$target \
	        tests/fuzz/found/$$target tests/fuzz/corpus/$$target \
	        -- -max_total_time=$(or $(SECONDS),60) -max_len=2048 -print_final_stats=1 || exit 1; \
	done

# tests/torture holds the conversations; the cryptography of the far end is tlslite-ng's.
torture: build   ## TLS conversations that a good client never has, with a foreign client: wants python3 with venv
	test -d target/torture || { python3 -m venv target/torture && target/torture/bin/pip install -q tlslite-ng==0.8.2; } \
	    || { rm -rf target/torture; exit 1; }
	target/torture/bin/python -B tests/torture/torture.py target/release/nt $(CONVERSATIONS)

vm-check: build  ## nt as a service, in virtual machines of Debian (as root; says what it wants): SYSTEM=systemd, or each
	for system in $(or $(SYSTEM),systemd openrc); do tests/vm/run.sh target/release/nt $$system || exit 1; done

clean:           ## removes what was built
	$(CARGO) clean
