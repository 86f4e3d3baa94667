# Two commands matter: `make demo` does the main job, `make test` passes the tests.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: help demo test test-slow test-qgis check bench chaos rooms clean

help:
	@echo "make demo   install into .venv and run the whole pipeline on a synthetic street (no GPU, no weights)"
	@echo "make test   install with test tools and run lint, types and all tests"
	@echo "make check  lint and types only      make test-slow  long sweeps      make bench  benchmarks"
	@echo "make test-qgis  the demo's output in real QGIS (apt-get install qgis python3-qgis), and docs/qgis.png"
	@echo "make chaos  60 SIGKILLs over 300 photos, on GeoPackage and PostGIS (CHAOS='--kills 20 --seed 2')"

$(VENV)/core.stamp: pyproject.toml docker/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c docker/constraints.txt --editable .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml docker/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c docker/constraints.txt --editable '.[models,dev]'
	@touch $@

demo: $(VENV)/core.stamp
	$(BIN)/geocorrect demo --out out/demo

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu and not qgis"

test-slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m "slow"

# Opens the demo's output in real QGIS, and keeps what it looks like for the cookbook.
test-qgis: demo $(VENV)/dev.stamp
	GEOCORRECT_REQUIRE_QGIS=1 GEOCORRECT_REQUIRE_POSTGIS=1 GEOCORRECT_DEMO=out/demo GEOCORRECT_QGIS_PICTURES=out/qgis \
		$(BIN)/python -m pytest -m qgis tests/qgis
	cp out/qgis/demo.qgz.png docs/qgis.png

chaos: $(VENV)/dev.stamp
	PYTHONPATH=tests $(BIN)/python tests/support/chaos_campaign.py $(CHAOS)

bench: $(VENV)/dev.stamp
	for script in benchmarks/*.py; do $(BIN)/python $$script --quick || exit 1; done

# The picture of docs/architecture.md, from the imports.
rooms:
	PYTHONPATH=tests $(BIN)/python tests/support/draw_rooms.py

clean:
	rm -rf out dist build $(VENV)
