# Two commands: `make up` runs Longshore on a fresh machine, `make test` passes
# the tests on one. All else is for working on it; see CONTRIBUTING.md.

.DEFAULT_GOAL := help
.NOTPARALLEL:

## up: install what is missing, build, and run everything until Ctrl-C
.PHONY: up
up:
	@deploy/setup/packages build
	@deploy/setup/build quick
	@exec .longshore/bin/longshore up

## test: install what the tests need and run all of them
.PHONY: test
test:
	@exec tests/run

## build: the programs as they are released, the edge built for size
.PHONY: build
build:
	@deploy/setup/packages build
	@deploy/setup/build small

## reset: forget the state of `make up`
.PHONY: reset
reset:
	@deploy/setup/reset

## bench: measure the budgets of docs/SPECIFICATION.md (ARGS="..." for its own)
.PHONY: bench
bench:
	@deploy/setup/packages build
	@deploy/setup/build small longshore-bench
	@exec .longshore/bin/longshore-bench $(ARGS)

## fuzz: feed what reads bytes from outside (ARGS="MINUTES TARGET..."), 5 minutes
.PHONY: fuzz
fuzz:
	@exec tests/fuzz/run $(ARGS)

## soak: the stories of kills, floods and limits in full, for hours
.PHONY: soak
soak:
	@LONGSHORE_SOAK=1 exec tests/run soak

## control-plane: build etcd and kube-apiserver for the tests, print their folder
.PHONY: control-plane
control-plane:
	@tests/kubernetes/build

## fmt: format the code
.PHONY: fmt
fmt:
	@cargo fmt --all

## lint: formatting, structure and clippy, without the tests
.PHONY: lint
lint:
	@exec tests/run lint

## deny: licences, bans and sources of all dependencies, by cargo-deny
.PHONY: deny
deny:
	@cargo deny --version >/dev/null 2>&1 || { echo 'cargo-deny is missing; hint: cargo install --locked cargo-deny' >&2; exit 1; }
	@cargo deny check bans licenses sources

## help: this list
.PHONY: help
help:
	@sed -n 's/^## /  make /p' Makefile
