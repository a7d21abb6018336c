# Everything here works in .venv, which is made on first use: see scripts/create-env.
.PHONY: help demo test check bench constraints clean

help:
	@echo "make demo         install, then run the flights example on Prefect and print its result"
	@echo "make test         install, then run all tests (ARGS='-m \"not slow\"' for the quick ones)"
	@echo "make check        formatting, lint, types, layers and tests"
	@echo "make bench        measure against the peers (ARGS=import for one of them)"
	@echo "make constraints  compile constraints.txt anew (ARGS=--upgrade for the newest versions)"
	@echo "make clean        remove .venv and all that was built or cached here"

demo:
	@scripts/create-env examples
	@.venv/bin/flowlearner demo

test:
	@scripts/install-tools
	@scripts/create-env dev
	@.venv/bin/python -m pytest $(ARGS)

check:
	@scripts/create-env dev
	@scripts/check

bench:
	@scripts/create-env dev,bench
	@.venv/bin/python benchmarks/run.py $(ARGS)

constraints:
	@scripts/create-env dev
	@scripts/compile-constraints $(ARGS)

clean:
	rm -rf .venv build dist bench-results *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
