# Everything is installed into .venv, as the locks say; scripts/setup explains what it lacks.
.PHONY: setup setup-dev run test quick storm lint bench lock clean

# Compiled once, not at each of the hundreds of starts of a process, whatever the shell wants.
unexport PYTHONDONTWRITEBYTECODE

# The tests' files lie in memory where there are 4 GB of it: what is told to be on the disk is waited
# for thousands of times, which is a third of all the time.
ROOM := $(shell df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
IN_MEMORY = $(shell [ "$(ROOM)" -gt 4000000 ] 2>/dev/null && echo env TMPDIR=/dev/shm)

# On two cores; the tests of a file stay together, with the servers that they share. The folders whose
# files take longest come first: one of those at the end would leave a core idle.
PYTEST = $(IN_MEMORY) .venv/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
LONG = $(addprefix tests/,faults/ connected/ browser/ streams/)
FOLDERS = $(LONG) $(filter-out $(LONG) tests/bench/ tests/__pycache__/,$(wildcard tests/*/))
SLOW = adapters browser connected faults security \
    $(patsubst %,broadcaster/test_%.py,delivery_world protocol protocol_judge) \
    $(patsubst %,broadcaster/desk/test_%.py,fallback voice) \
    $(patsubst %,streams/test_%.py,after_a_restart aftercare app cluster deliver embedded gate_checks inform making reader relay run secured)

setup: ## what `run` needs
	@scripts/setup

setup-dev:
	@scripts/setup dev

run: export BROADCASTER_HOME ?= $(CURDIR)/.broadcaster
run: setup ## the practice run, until Ctrl-C (which is no error)
	@trap : INT; .venv/bin/broadcaster demo || [ $$? -eq 130 ]

test: setup-dev ## every test
	@scripts/test-deps
	$(PYTEST) $(FOLDERS)

quick: setup-dev ## about a minute: no browser, broker, PostgreSQL or channel, nothing killed, no simulated world
	@echo 'This leaves out, for `make test`: what needs PostgreSQL or Kafka, and all of $(addprefix tests/,$(SLOW)).'
	$(PYTEST) --dist worksteal --hypothesis-profile quick -k "not postgres and not kafka" -m "not server" \
	    $(addprefix --ignore=tests/,bench $(SLOW))

storm: setup-dev ## 200 kills, and all brokers gone for five minutes: what `test` does small
	@scripts/test-deps
	BROADCASTER_STORM_KILLS=200 .venv/bin/pytest -s tests/faults/test_storm.py
	BROADCASTER_STORM_SECONDS=300 .venv/bin/pytest -k all_brokers tests/streams/test_cluster.py tests/faults/test_servers_away.py
	.venv/bin/pytest -s tests/broadcaster/test_delivery_world.py -k whatever --hypothesis-seed=$$(date +%s)

lint: setup-dev ## style, types, who may import whom, the compose file's form
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache --no-logo
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

bench: setup-dev ## prints how fast it is
	@scripts/bench-deps
	@for script in tests/bench/bench_*.py; do \
	    .venv/bin/python -m "tests.bench.$$(basename "$$script" .py)" || exit 1; \
	done

lock: ## both locks from pyproject.toml
	@scripts/lock

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find broadcaster streams adapters tests -name __pycache__ -prune -exec rm -rf {} +
