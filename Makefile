# Everything a user or CI runs. `make run` and `make test` set up what they need.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# Without PYTHON= an environment keeps the interpreter that made it, and a new one takes the first that fits.
# `make test PYTHON=python3.12` takes another one, which gets an environment of its own beside .venv, so that trying
# a second Python neither breaks nor rebuilds a pipeline that is running.
PYTHON ?=
WANTED := $(if $(PYTHON),$(shell '$(PYTHON)' -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null))
PRESENT := $(firstword $(shell cat .venv/.python-version 2>/dev/null))
VENV := $(if $(and $(WANTED),$(filter-out $(WANTED),$(PRESENT))),.venv-$(WANTED),.venv)
BIN := $(VENV)/bin
ENVIRONMENT := PYTHON='$(PYTHON)' GOAL='$(firstword $(MAKECMDGOALS))' sh tools/environment.sh

.PHONY: help setup venv run demo paper test test-fast docs record-docs crash stops fuzz judge simulate test-clients bench-paper bench-stop \
	bench-flood bench-doors bench-executor bench-breaker lint bench clean

help:
	@echo "make run           start the whole pipeline against the paper gateway (ctrl-C ends it)"
	@echo "make demo          one incident in half a minute: what orderfuse does when IB begins to reject"
	@echo "make test          lint, types and all tests (PYTHON=python3.12 takes another interpreter)"
	@echo "make test-fast     the unit tests without those that compute for seconds, in some 20 s"
	@echo "make docs          the documents as a site, in site/"
	@echo "make record-docs   run what the documents print, and write down what it says now"
	@echo "make simulate      both middles in virtual time, with a model of IB and kills anywhere (SEEDS=10000, FIRST=0)"
	@echo "make judge         what IB may say of an order, in any order, to the real executor (SEEDS=100000, FIRST=0)"
	@echo "make test-clients  four real IB clients against the paper gateway, each in its own environment"
	@echo "make crash         kill -9 at 37 named points in 200 cases, resumable (CASES=1000, FIRST=200)"
	@echo "make stops         a stop with breaker and executor dying around it, at random (CASES=500, SEED=1)"
	@echo "make fuzz          garbage on the public links while a strategy trades (SECS=600, SEED=1)"
	@echo "make lint          ruff and mypy only"
	@echo "make paper         the paper gateway alone"
	@echo "make bench         the circuit breaker's speed beside others'"
	@echo "make bench-paper   the paper gateway's speed and size"
	@echo "make bench-stop    what still reaches the broker after the decision to stop"
	@echo "make bench-flood   what one program that floods does to another that trades"
	@echo "make bench-doors   the same for subscriptions and connections without end"
	@echo "make bench-executor  what 100,000 orders leave behind in one executor"
	@echo "make bench-breaker  what strategies cost the breaker: an order beside 1,000 of them, and 1,000 that do nothing"
	@echo "make setup         only set up what running needs, and start nothing"
	@echo "make venv          the same with the tools of development"
	@echo "make clean         remove the environments and caches"

setup:
	@$(ENVIRONMENT) $(VENV) services

venv:
	@$(ENVIRONMENT) $(VENV) dev

# The Procfile names .venv, so that honcho, a unit file and a person start the same thing.
run:
	@$(ENVIRONMENT) .venv services
	@.venv/bin/python -m services

demo: setup
	@$(BIN)/python -m examples.demo

paper: setup
	@$(BIN)/python -m services.paper

lint: venv
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# First what needs no socket, with the branches it takes counted, and then what computes long or waits for processes.
test: lint
	@$(BIN)/python -m pytest --numprocesses auto --cov --cov-report= tests/unit
	@$(BIN)/python -m tests.covered
	@$(BIN)/python -m pytest --numprocesses auto --dist loadgroup --no-loadscope-reorder \
		tests/simulation tests/processes tests/campaigns tests/clients

test-fast: venv
	@$(BIN)/python -m pytest --numprocesses auto -m "not long" tests/unit

# Not --quiet: mkdocs does not count what it does not print, and would be strict no more.
docs: venv
	@$(BIN)/python docs/generate_settings.py
	@$(BIN)/python -m docs.generate_bounds
	@$(BIN)/python -m docs.generate_ib_codes
	@$(BIN)/mkdocs build

# PAGES="commands.md concepts.md" takes some only.
record-docs: venv
	@$(BIN)/python -m tests.processes.docs $(PAGES)

# Other people's clients, two of them under IBKR's licence, in .venv-clients and never beside the project's own.
test-clients: venv
	@$(BIN)/python -m tests.clients

# What a failing case prints as its seed is replayed by: .venv/bin/python -m tests.campaigns.crash --seed N
CASES ?= 200
FIRST ?= 0
crash: venv
	@$(BIN)/python -m tests.campaigns.crash --first $(FIRST) --count $(CASES)

# What a failing case prints as its seed is replayed by: .venv/bin/python -m tests.campaigns.stops --case N
stops: venv
	@$(BIN)/python -m tests.campaigns.stops --seed $(SEED) --count $(CASES)

# What a failing run prints as its cases is replayed by: .venv/bin/python -m tests.campaigns.fuzz --replay CASE
SECS ?= 600
SEED ?= 1
fuzz: venv
	@$(BIN)/python -m tests.campaigns.fuzz --secs $(SECS) --seed $(SEED)

# A failing story prints its seed: SEEDS=1 FIRST=<seed> plays it again.
SEEDS ?= 10000
judge: venv
	@$(BIN)/python -m tests.simulation.judge --first $(FIRST) --seeds $(SEEDS)

# What a failing run prints is replayed by: SEED=N make simulate
simulate: venv
	@$(BIN)/python -m tests.simulation.play --first $(FIRST) --seeds $(SEEDS)

bench-paper: venv
	@$(BIN)/python -m benchmarks.paper_gateway

bench-stop: venv
	@$(BIN)/python -m benchmarks.stop

bench-flood: venv
	@$(BIN)/python -m benchmarks.flood

# What 300,000 subscriptions and connections in a loop do to a strategy beside them.
bench-doors: venv
	@$(BIN)/python -m benchmarks.doors

bench-executor: venv
	@$(BIN)/python -m benchmarks.executor_memory

bench-breaker: venv
	@$(BIN)/python -m benchmarks.breaker

# The breakers that ours is measured beside stay out of the environment that the pipeline runs in.
bench:
	@$(ENVIRONMENT) .venv-bench bench
	@.venv-bench/bin/python benchmarks/circuit_speed.py

clean:
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage build dist site
