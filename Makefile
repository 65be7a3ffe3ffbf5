# `make demo` and `make test` are the two commands; each sets up what it needs first. `make` alone explains the rest.
# Every compiling target uses the one cargo profile, release: a second one would compile libtorch's bridge again.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
# cargo installed a minute ago by rustup is found without a new shell.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/jtav
TARGET := $(or $(CARGO_TARGET_DIR),target)
JTAV := $(TARGET)/release/jtav
# What follows the command, as in: make demo ARGS="--json"
ARGS ?=

.PHONY: help
help: ## this text
	@echo 'jtav labels a live feed of posts: text, audio and images in, sentiment and embeddings out.'
	@echo
	@echo '  make demo      see it work: a sample feed through the whole system, on this machine alone'
	@echo '  make test      every test, with a real Kafka broker and a real Redis that the tests start'
	@echo
	@echo 'The first run of either installs what is missing (apt, PyPI, Maven), says so, and compiles: about a quarter'
	@echo 'of an hour on two cores. Afterwards plain cargo build, cargo test and cargo run work from any shell.'
	@echo
	@echo 'More, each taking ARGS="..." where a program is run:'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | grep -v -e '^  make demo|' -e '^  make test|' -e '^  make help|' \
	  | while IFS='|' read -r target text; do printf '%-26s%s\n' "$$target" "$$text"; done
	@echo
	@echo 'Examples:  make demo ARGS="--json"        one line of JSON, the last on stdout'
	@echo '           make demo ARGS="--serve"       stays, with /metrics and /describe'
	@echo '           JTAV_DATA_DIR=DIR make train ARGS="--data polarity-posts --out models/mine"'

.PHONY: setup setup-demo
setup: ## install what demo, test and check need; nothing is compiled
	@scripts/setup.sh test
	@echo 'set-up: everything is in place' >&2

setup-demo:
	@scripts/setup.sh demo

.PHONY: demo
demo: setup-demo ## the sample feed, labelled in front of you
	@cargo build --release --workspace --bin jtav >&2
	@"$(JTAV)" demo $(ARGS)

# A command that is run beside the tests, at the lowest priority.
BESIDE ?=
TESTS = $(if $(ARGS),cargo test --release --workspace $(ARGS),scripts/run_tests.py $(if $(BESIDE),--beside '$(BESIDE)'))
.PHONY: test
test: setup-test ## all tests, two programs at a time; ARGS="-p jtav-store": as cargo test does it
	@log="$${JTAV_SKIP_LOG:-}"; \
	if [ -z "$$log" ]; then log="$$(mktemp)"; trap 'rm -f "$$log"' EXIT; fi; \
	status=0; JTAV_SKIP_LOG="$$log" $(TESTS) || status=$$?; \
	if [ -s "$$log" ]; then echo "real parts that were missing, and the tests that were skipped for it:"; sort -u "$$log"; \
	elif [ $$status -eq 0 ]; then echo "no test was skipped for want of a real broker or store"; fi; \
	exit $$status

.PHONY: setup-test
setup-test:
	@scripts/setup.sh test

.PHONY: check
check: setup-demo ## formatting, clippy, the documentation's links, and licences and sources of all dependencies
	@for part in fmt clippy; do cargo $$part --version > /dev/null 2>&1 \
	  || { echo "cargo $$part is missing; run: rustup component add rustfmt clippy" >&2; exit 1; }; done
	cargo fmt --all --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps
	@scripts/cargo-deny.sh check

.PHONY: doc
doc: setup-demo ## the crates' documentation, from target/doc/jtav/index.html on
	@cargo doc --release --workspace --no-deps

.PHONY: check-manifests
check-manifests: ## the k8s manifests against the schemas of Kubernetes and of the custom resources
	@scripts/check-manifests.sh

.PHONY: check-prometheus
check-prometheus: ## promtool on configuration, rules, the rules' tests and the dashboard's queries
	@command -v promtool > /dev/null || scripts/setup.sh test
	@scripts/check-prometheus.sh

.PHONY: check-api
check-api: setup-test ## schemathesis, OpenAPI linters, a generated client and examples/ on a real broker and store
	@cargo build --release --workspace --bin jtav --bin jtav-readers >&2
	@CARGO_TARGET_DIR="$(TARGET)" scripts/check-api.sh $(ARGS)

.PHONY: bench
bench: setup-demo ## micro-benchmarks
	@cargo bench --profile release --workspace $(ARGS)

.PHONY: compare-media
compare-media: setup-demo ## decoding and signal processing beside Pillow, ffmpeg and librosa; ARGS="--out docs/results/media-speed"
	@cargo build --release --workspace --example media_speed >&2
	@CARGO_TARGET_DIR="$(TARGET)" scripts/compare-media.sh $(ARGS)

SCENARIO ?= stub
.PHONY: profile
profile: setup-test ## SCENARIO=stub|text|mixed: a flame graph (SVG) of the worker under load; ARGS="--rate 3000"
	@command -v perf > /dev/null || { echo "perf is missing; run: apt-get install linux-perf" >&2; exit 1; }
	@cargo build --release --workspace --bin jtav --bin jtav-load-tests >&2
	@"$(TARGET)/release/jtav-load-tests" run --scenario "$(SCENARIO)" --profile "$(TARGET)/profile-$(SCENARIO).svg" $(ARGS)

.PHONY: load-test
load-test: setup-test ## open-loop load on a real broker and store; the result is dated and kept
	@cargo build --release --workspace --bin jtav --bin jtav-load-tests >&2
	@"$(TARGET)/release/jtav-load-tests" $(ARGS)

.PHONY: costs
costs: setup-test ## measures what a post costs, for jtav plan; ARGS="--seconds 30", --out FILE (config/costs.json, built in)
	@cargo build --release --workspace --bin jtav --bin jtav-load-tests >&2
	@"$(TARGET)/release/jtav-load-tests" costs $(ARGS)

.PHONY: race
race: setup-test ## jtav beside honest Python pipelines, same feed and weights; ARGS="--feeds stub --rounds 1", --out docs/results/race
	@cargo build --release --workspace --bin jtav >&2
	@CARGO_TARGET_DIR="$(TARGET)" scripts/race.sh $(ARGS)

.PHONY: growth
growth: setup-test ## how the cost of a post grows with workers, with the length of a feed and with the posts inside
	@cargo build --release --workspace --bin jtav >&2
	@CARGO_TARGET_DIR="$(TARGET)" scripts/race.sh --growth $(ARGS)

# Without a GPU it says so before anything is installed.
.PHONY: bench-gpu find-gpu
bench-gpu: find-gpu setup-demo ## on an NVIDIA GPU: each network beside PyTorch eager and compiled, and posts a second end to end
	@cargo build --release --workspace --bin jtav >&2
	@CARGO_TARGET_DIR="$(TARGET)" scripts/bench-gpu.sh $(ARGS)

find-gpu:
	@scripts/bench-gpu.sh --find-gpu

SEEDS ?= 8
HISTORIES ?= 100000
.PHONY: chaos
chaos: setup-test ## SEEDS=n: the fault matrix on a real broker and store, after HISTORIES=n random histories of the ledger
	@JTAV_LEDGER_HISTORIES=$(HISTORIES) cargo test --release --workspace --lib -- the_ledger_keeps >&2
	@cargo build --release --workspace --bin jtav --bin jtav-chaos >&2
	@"$(TARGET)/release/jtav-chaos" --seeds $(SEEDS) $(ARGS)

.PHONY: soak
# Without the minute in which the capacity is measured.
MINUTES ?= 30
soak: setup-test ## MINUTES=n (30) at 80 % of capacity with faults: memory, descriptors, lag as JSON and PNG
	@cargo build --release --workspace --bin jtav --bin jtav-load-tests >&2
	@"$(TARGET)/release/jtav-load-tests" soak --minutes $(MINUTES) $(ARGS)

TARGETS ?=
JOBS ?= 1
.PHONY: fuzz
fuzz: MINUTES := 10
fuzz: setup-demo ## MINUTES=n (10) each, TARGETS="image audio ..." (all), JOBS=n at a time: fuzzing; ARGS="--out DIR" keeps the table
	@scripts/fuzz.py --minutes $(MINUTES) --jobs $(JOBS) $(ARGS) $(TARGETS)

MUTATIONS ?= 100000
.PHONY: mutations
mutations: setup-demo ## MUTATIONS=n (100000): damaged media through the decode processes; what became of them
	@cargo build --release --workspace --bin jtav >&2
	@JTAV_MUTATIONS=$(MUTATIONS) cargo test --release --workspace --test decode_mutations -- --nocapture

# The bundled checkpoints, with the packs of JTAV_DATA_DIR (a quarter of an hour on two cores, then a few minutes, as the second
# keeps the sound and the picture of the first):
#   make train ARGS="--data polarity-posts --out models/jtav-modern"
#   make train ARGS="--data polarity-posts --profile light --stages text,fusion --out models/jtav-light"
.PHONY: train
train: setup-demo ## train a checkpoint: ARGS="--data polarity-posts --out models/mine", --profile light; ARGS="--help"
	@cargo build --release --workspace --bin jtav >&2
	@"$(JTAV)" train $(ARGS)

.PHONY: fmt
fmt: ## format the sources
	@cargo fmt --all

.PHONY: clean
clean: ## delete what was built and fetched in this folder; the user's cache stays
	rm -rf target third_party .cache

.PHONY: clean-cache
clean-cache: ## delete the user's cache too (libtorch, Apache Kafka): the next set-up downloads again
	rm -rf "$(CACHE)"
