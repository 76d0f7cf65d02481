# Two commands do everything: `make demo` and `make test`. Each sets up .venv by itself.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-exhaustive lint types tests test-oldest wheel docs clean

demo: .venv/demo.stamp
	$(BIN)/xray-demo --out=demo_out

test: lint types tests wheel

lint: .venv/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/test.stamp
	$(BIN)/mypy

tests: .venv/browser.stamp
	$(BIN)/pytest --durations=20

# Every case of the heavy tests too, of which `make test` runs a fixed part; compiled as users' programs are.
test-exhaustive: lint types wheel
	XLA_FLAGS=--xla_backend_optimization_level=3 $(BIN)/pytest --exhaustive --durations=20

# The oldest versions that pyproject.toml claims, in an environment of their own. Two tests say nothing there: protobuf
# before 7.35 does not name a failed allocation (the file is refused all the same, as damaged), and SciPy 1.13 rounds the
# last digit of recorded intervals otherwise. Old releases warn of what newer ones took away, which is no error here.
OLDEST := .venv/oldest
test-oldest: .venv/test.stamp
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(BIN)/python -m tests.oldest_versions > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/pip install -q --constraint $(OLDEST)/constraints.txt -e ".[test]"
	$(OLDEST)/bin/python -m pytest tests/models tests/checkpoints tests/inference tests/prepare tests/detectors tests/verdict \
	  tests/rows tests/sweep --override-ini=filterwarnings= \
	  --deselect tests/checkpoints/programs/test_onnx_model.py::test_a_small_file_does_not_become_large \
	  --deselect tests/rows/test_upgrade.py::test_every_row_of_the_evidence_is_a_whole_row

# The built wheel, outside the tree: what is missing from the package fails here and nowhere else.
wheel: .venv/test.stamp
	rm -rf dist build && $(BIN)/python -m build --wheel --no-isolation --outdir dist .
	rm -rf .venv/wheel && mkdir -p .venv/wheel
	$(BIN)/pip install -q --no-deps --target .venv/wheel dist/*.whl
	cd .venv/wheel && PYTHONPATH=. ../bin/python -P ../../tests/check_wheel.py

# The pages of docs/ as a site in site/, for a browser and without a server; a broken link is an error.
docs: .venv/docs.stamp
	$(BIN)/mkdocs build --strict

.venv/demo.stamp: pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e ".[report]"
	touch $@

# Pinned: free to choose, pip would try releases of boto for many minutes.
.venv/test.stamp: pyproject.toml setup.py requirements_lock.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --constraint requirements_lock.txt -e ".[test]"
	touch .venv/demo.stamp $@

# The report's pages are tested in a Chromium; where none can be had these tests are skipped.
.venv/browser.stamp: .venv/test.stamp
	if $(BIN)/python -m tests.browser; then touch $@; fi

.venv/docs.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e ".[docs]"
	touch $@

clean:
	rm -rf .venv build dist demo_out site
