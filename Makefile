# Everything is installed into .venv, as the locks say; scripts/setup explains what it lacks.
.PHONY: setup setup-dev run test quick storm lint bench lock clean

# Compiled once, not at each of the hundreds of starts of a process, whatever the shell wants.
unexport PYTHONDONTWRITEBYTECODE

# On two cores; the tests of a file stay together, with the servers that they share.
PYTEST = .venv/bin/pytest --ignore=tests/bench --numprocesses 2 --dist loadfile
SLOW = browser connected faults security broadcaster/test_protocol.py \
    $(patsubst %,streams/test_%.py,app cluster embedded gate_checks making reader relay run secured)

setup: ## what `run` needs
	@scripts/setup

setup-dev:
	@scripts/setup dev

run: export BROADCASTER_HOME ?= $(CURDIR)/.broadcaster
run: setup ## the practice run, until Ctrl-C (which is no error)
	@trap : INT; .venv/bin/broadcaster demo || [ $$? -eq 130 ]

test: setup-dev ## every test
	@scripts/test-deps
	$(PYTEST)

quick: setup-dev ## under a minute: no browser, no broker, no PostgreSQL, nothing killed
	$(PYTEST) --dist worksteal --hypothesis-profile quick -k "not postgres and not kafka" \
	    $(addprefix --ignore=tests/,$(SLOW))

storm: setup-dev ## all brokers gone for five minutes, and what `test` does in 20 s
	@scripts/test-deps
	BROADCASTER_STORM_SECONDS=300 .venv/bin/pytest tests/streams/test_cluster.py -k gone

lint: setup-dev ## style, types, who may import whom, the compose file's form
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache --no-logo
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

bench: setup-dev ## prints how fast it is
	@for script in tests/bench/bench_*.py; do \
	    .venv/bin/python -m "tests.bench.$$(basename "$$script" .py)" || exit 1; \
	done

lock: ## both locks from pyproject.toml
	@scripts/lock

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find broadcaster streams adapters tests -name __pycache__ -prune -exec rm -rf {} +
