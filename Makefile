# `make` alone lists what there is.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help run stack demo events test lint format bench bench-scale chaos event-figures load image installed installed-test

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

run: installed ## the service with its servers, until Ctrl-C; PORT, WEB_CONCURRENCY
	@$(BIN)/python -m booking_service.devstack run

stack: installed ## MongoDB, Redis and RabbitMQ alone, their URIs a line each
	@$(BIN)/python -m booking_service.devstack stack

demo: installed ## a booking end to end against the running service, each step in words
	@$(BIN)/python -m booking_service.devstack demo

events: installed ## print each event the running service publishes, a line each
	@$(BIN)/python -m booking_service.devstack events

test: installed-test ## every test, on servers of its own; T="tests/unit -k price" runs some
	@$(BIN)/python -m tests $(T)

lint: installed-test ## ruff, mypy, import directions, migrations, k8s, Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run  # warns that it looks without a database
	$(BIN)/kubernetes-validate --strict --quiet k8s/*.yaml k8s/secret.yaml.example
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/hadolint Dockerfile

image: installed-test ## the Dockerfile's steps in an empty folder: its size, and the service started from it
	$(BIN)/python -m tests.image

bench: installed-test ## this service beside Express on the same visits: docs/benchmark.md; needs node, npm, wrk; RUNS
	$(BIN)/python -m tests.benchmarks.compare --keep --runs $(or $(RUNS),1)

bench-scale: installed-test ## a million bookings against ten thousand: docs/benchmark-scale.md
	$(BIN)/python -m tests.benchmarks.scale --memory --keep

load: installed-test ## a mixed day at 70 % of what the machine can do, for ten minutes: docs/load.md; MINUTES keeps nothing
	@$(BIN)/python -m tests.benchmarks.mixed_day $(if $(MINUTES),--minutes $(MINUTES),--keep)

format: installed-test ## let ruff mend order and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

chaos: installed-test ## kill everything at random for ten minutes while bookings are made, then count; SECONDS
	@$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),600)

event-figures: installed-test ## latency, drain, idle cost and consumption of events
	@$(BIN)/python -m tests.benchmarks.events

installed:
	@$(PYTHON) booking_service/devstack/install.py run

installed-test:
	@$(PYTHON) booking_service/devstack/install.py test
