# One command set for people and CI: make setup | run | test | check | bench
SHELL := /bin/bash
PYTHON ?= python3
PORT ?= 8000
PRODUCTS ?= 20000
TEST_PACKAGES := mariadb-server curl chromium openjdk-17-jre-headless libmariadb-java
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup compiling run test bench pictures check format clean
.DEFAULT_GOAL := help

help:
	@echo "make run    install, fill the database, serve: http://127.0.0.1:$(PORT) (PORT=, PRODUCTS= for the sample)"
	@echo "make test   all tests, on SQLite and on a private MariaDB server"
	@echo "make check  lint and types        make bench  benchmarks        make setup  install only"

setup: $(VENV)/.installed

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $$($(PYTHON) --version) is too old: install Python 3.11 or newer, or name it: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	       && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null && $(PYTHON) -m venv $(VENV); } \
	  || { rm -rf $(VENV); echo "make: no virtual environment: apt-get install python3-venv, then run make again" >&2; exit 1; }

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	@echo "installing requirements.txt into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-spark.txt requirements.txt | $(VENV)/bin/python
	@echo "installing requirements-dev.txt and requirements-spark.txt into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -r requirements-spark.txt
	@touch $@ $(VENV)/.installed

# The catalog: the Kaggle files if they are here, otherwise a made-up one.
amazon_products.csv amazon_categories.csv: | setup
	@if [ -e amazon_products.csv ] && [ -e amazon_categories.csv ]; then exit 0; fi; \
	for file in amazon_products.csv amazon_categories.csv; do if [ -e $$file ]; then \
	  echo "make: $$file is here without the other file of the catalog; add it, or move $$file away for a sample" >&2; exit 1; fi; done; \
	echo "No amazon_products.csv and amazon_categories.csv here: writing a sample catalog of $(PRODUCTS) products."; \
	echo "The real one (1.4 M products): Kaggle, 'Amazon Products Dataset 2023 (1.4M Products)' by asaniczka."; \
	$(BIN)/python -m recommender.sample_catalog --products $(PRODUCTS) --out .

# Compiles what step 3 needs, in the background of the catalog and steps 1 and 2. Step 3 waits for the rest.
compiling: | setup
	@[ -n "$$(find recommender -name '*.nbi' -print -quit)" ] \
	|| { $(BIN)/python -m recommender.commands.warm_up </dev/null >/dev/null 2>&1 & }

run: setup compiling amazon_products.csv amazon_categories.csv
	@$(BIN)/python to_rds.py --if-changed
	@$(BIN)/python load_recommendation_data.py
	@$(BIN)/python recommendation_engine.py --if-stale
	@key=$$($(BIN)/python -m recommender.commands.demo_key) || exit 1; \
	if [ -n "$$key" ]; then export API_KEY="$$key"; \
	  echo "API_KEY is not set: a key for this run alone. What needs one:"; \
	  echo "    curl -H 'X-API-Key: $$key' http://127.0.0.1:$(PORT)/users/42/neighbors"; fi; \
	$(BIN)/python -m recommender.commands.wait_until_ready "http://127.0.0.1:$(PORT)" & \
	exec $(BIN)/uvicorn api:app --host 127.0.0.1 --port $(PORT)

# Compiled once, on both cores: without it each worker compiles nearly everything. Three workers, as some tests wait.
test: $(VENV)/.installed-dev
	@PATH="$$PATH:/usr/sbin"; have() { command -v mariadbd && command -v curl && command -v chromium && command -v java \
	  && [ -f /usr/share/java/mariadb-java-client.jar ]; }; have >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	     && { echo "installing $(TEST_PACKAGES) for the tests ..."; apt-get update -qq; \
	          DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(TEST_PACKAGES) >/dev/null; }; } \
	|| echo "tests that lack a program are skipped; to run them all: apt-get install $(TEST_PACKAGES)" >&2
	@[ -n "$$(find recommender -name '*.nbi' -print -quit)" ] || RANKING=auto $(BIN)/python -m recommender.commands.warm_up
	@$(BIN)/python -m pytest -n 3 --dist loadfile

$(VENV)/.installed-bench: requirements-bench.txt requirements-dev.txt requirements.txt | $(VENV)/bin/python
	@echo "installing requirements-bench.txt into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@ $(VENV)/.installed-dev $(VENV)/.installed

# Short versions of all benchmarks, ratios within one run; each has --help for the whole one.
bench: $(VENV)/.installed-bench
	@for name in neighbors one_user rankings read load batch forecast quality cold_start serve worst live pauses pages taste_map; do echo; \
	  echo "== benchmarks/$$name.py"; \
	  $(BIN)/python -m benchmarks.$$name --short || exit 1; done

# The pictures of the pages in docs/, from a made-up shop of its own.
pictures: $(VENV)/.installed-dev
	@command -v chromium >/dev/null || { echo "make: no chromium on PATH: apt-get install chromium" >&2; exit 1; }
	@$(BIN)/python -m tests.support.pictures docs

check: $(VENV)/.installed-dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy

format: $(VENV)/.installed-dev
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
