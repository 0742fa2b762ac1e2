# make chat                     a chat with the default model in this terminal; the first time builds and fetches everything
# make chat PROMPT="..."        one answer on stdout
# make test                     everything that CI runs: lint, kernels under each instruction set and AddressSanitizer, all tests
# make quick                    the tests without the slow ones
# make bench                    speed beside llama.cpp's, on the same files
# make lint, make format        ruff and the arrows between packages

SHELL := /bin/bash
PYTHON ?= python3
MODEL ?= smollm2-135m
BIN := .venv/bin
SOURCES := pyproject.toml CMakeLists.txt scripts/environment.py $(shell find native -name '*.cpp' -o -name '*.h')
# Of the tests of weights those where kernels are at work; the others are of Python alone.
NATIVE_TESTS := tests/ops $(patsubst %,tests/weights/test_%.py,arrangement gguf gguf_metadata lanes panels quantize)
KERNEL_TESTS := $(NATIVE_TESTS) tests/models tests/engine
# Two tests at a time, each computing on one core where torch does: what one of them waits for, the other uses.
PARALLEL := -n 2 --dist worksteal
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)
export PROMPT

.PHONY: chat test quick lint format kernels asan bench clean
.DEFAULT_GOAL := chat

chat: .venv/installed
	@$(BIN)/divebell chat $(MODEL) $(if $(PROMPT),--prompt "$$PROMPT")

test: lint kernels asan
	$(PYTEST)

quick: .venv/installed-test
	$(PYTEST) -m "not slow"

lint: .venv/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache

format: .venv/installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The whole suite runs with the best instruction set that the machine has; these are the others that it has.
kernels: .venv/installed-test
	@for isa in $$($(BIN)/python scripts/other_isas.py); do \
	  echo "DIVEBELL_ISA=$$isa"; \
	  DIVEBELL_ISA=$$isa $(PYTEST) -m "not slow" $(KERNEL_TESTS) || exit 1; \
	done

asan: .venv/installed-test
	scripts/asan.sh $(PARALLEL) $(NATIVE_TESTS)

bench: .venv/installed-bench
	$(BIN)/python benchmarks/peers.py

clean:
	rm -rf build dist .venv

.venv/installed: $(SOURCES)
	@echo "installing divebell and what it needs into .venv" >&2
	@$(PYTHON) scripts/environment.py
	@touch $@

.venv/installed-bench: $(SOURCES)
	@echo "installing divebell with what its benchmarks need into .venv" >&2
	@$(PYTHON) scripts/environment.py bench
	@touch .venv/installed $@

.venv/installed-test: $(SOURCES)
	@echo "installing divebell with its test tools into .venv" >&2
	@$(PYTHON) scripts/environment.py test
	@touch .venv/installed $@
