# Set-up and checks. A machine needs Python 3.11 and make; everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --constraints constraints.txt

PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal
unexport PYTHONDONTWRITEBYTECODE    # tests start mlopt some hundred times: each would compile it again

.PHONY: demo gate test quick fuzz lint generated docs clean system-packages

# Train a small network on bundled digits, compress it, show the table and where the report is.
demo: .venv/demo-ready
	$(BIN)/python docs/tutorials/train_digits.py
	$(BIN)/mlopt compress model.h5 --data digits-train.npz --test digits-test.npz

# Hold the demo's files to the project's own budget, mlopt-budget.toml.
gate: demo
	$(BIN)/mlopt gate check --report model-mlopt/report.json

# The whole suite: style, types, tests, documentation.
test: .venv/test-ready lint
	$(PYTEST)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir build/site

# Style, types, and the tests that neither train nor start whole runs: while one works.
quick: .venv/test-ready lint
	$(PYTEST) -m "not training and not long"

# Damaged files of every format, two thousand each: for a scheduled run, of an hour or two.
fuzz: .venv/test-ready
	MLOPT_FUZZ_MUTATIONS=2000 $(BIN)/python -m pytest -n 2 --timeout 7200 tests/fuzz

# Programs that some tests need, e.g. sshd, adb, qemu, valgrind: without them those tests are skipped.
system-packages:
	@.ci/install-system-packages

lint: .venv/test-ready
	$(BIN)/ruff check .
	$(BIN)/mypy

# Rewrite what is generated and committed: schemas, the command line's page, the tutorial notebook.
generated: .venv/test-ready
	$(BIN)/python docs/generate.py

docs: .venv/test-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

clean:
	rm -rf .venv build model.h5 model-mlopt digits-train.npz digits-test.npz

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv

.venv/demo-ready: pyproject.toml constraints.txt | .venv/bin/uv
	$(UV) --editable '.[tflite,onnx,coreml]' --group demo
	touch $@

.venv/test-ready: .venv/demo-ready
	$(UV) --editable '.[all]' --group dev
	touch $@
