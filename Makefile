# make app   sets everything up and starts SERscope on http://localhost:8501
# make test  sets everything up and runs the whole suite, in two processes of one thread, in the order of the files
# make soak  runs what takes hours: docs/soak.md says what each part does

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
# Uploads over 1 MB are spooled to the temporary folder: keep them in memory where the system has such a place.
MEMORY := $(if $(wildcard /dev/shm/.),/dev/shm,)

.PHONY: app test lint benchmark soak clean

app: $(VENV)/.app
	$(if $(MEMORY),TMPDIR=$(MEMORY)) $(BIN)/streamlit run app.py --server.port $(PORT)

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy

benchmark: $(VENV)/.test
	$(BIN)/python -m benchmarks

soak: $(VENV)/.test
	$(BIN)/python -m benchmarks.crosstalk
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.uploads
	$(BIN)/python -m benchmarks.load
	$(BIN)/python -m benchmarks.fuzz --minutes 60

$(VENV)/.app: requirements.txt constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.test: requirements-dev.txt $(VENV)/.app
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
