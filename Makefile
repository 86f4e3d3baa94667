# Two commands matter: `make demo` does the main job, `make test` passes the tests.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: help demo docs test test-long test-slow test-qgis lint check bench chaos rooms constraints image-digests sbom clean

help:
	@echo "make demo   install into .venv and run the whole pipeline on a synthetic street (no GPU, no weights)"
	@echo "make test   install with test tools and run lint, types and tests"
	@echo "make check  lint and types only      make test-long  whole jobs, minutes      make test-slow  sweeps, hours"
	@echo "make bench  benchmarks"
	@echo "make test-qgis  the demo's output in real QGIS (apt-get install qgis python3-qgis), and its pictures in docs"
	@echo "make docs   documentation as a site in out/site"
	@echo "make sbom   bill of materials and licences of the dependencies      make constraints  their hashes for the images"
	@echo "make image-digests  pin the base images of docker/ to what their registry serves now"
	@echo "make chaos  60 SIGKILLs over 300 photos from a hostile server, on GeoPackage and PostGIS (CHAOS='--kills 20 --seed 2')"

# The versions alone: pip refuses an editable package as soon as one hash is stated.
$(VENV)/versions.txt: docker/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	sed -e '/^ *--hash=/d' -e 's/ *\\$$//' docker/constraints.txt > $@

$(VENV)/core.stamp: pyproject.toml $(VENV)/versions.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c $(VENV)/versions.txt --editable .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml $(VENV)/versions.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c $(VENV)/versions.txt --editable '.[models,dev]'
	@touch $@

# What stands in docs/, and a reference made from the program; warnings are errors.
docs: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

demo: $(VENV)/core.stamp
	$(BIN)/geocorrect demo --out out/demo

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

check: lint
	$(BIN)/mypy

# Tests start many programs: without bytecode on disk each would compile the package again.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Types beside the tests, which leave processors idle here and there; what mypy says comes last.
test: lint
	@$(BIN)/mypy >$(VENV)/mypy.log 2>&1 & types=$$!; trap "kill $$types" INT; \
	$(PYTEST) -m "not long and not slow and not gpu and not qgis"; tested=$$?; \
	wait $$types; typed=$$?; cat $(VENV)/mypy.log; exit $$((tested | typed))

# Whole jobs, killed ones, clusters, networks of full size, browsers: what takes a second and more each.
test-long: $(VENV)/dev.stamp
	$(PYTEST) -m "long and not slow and not gpu and not qgis"

test-slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m "slow"

# Opens the demo's output in real QGIS, and keeps what it looks like for README and cookbook.
test-qgis: demo $(VENV)/dev.stamp
	GEOCORRECT_REQUIRE_QGIS=1 GEOCORRECT_REQUIRE_POSTGIS=1 GEOCORRECT_DEMO=out/demo GEOCORRECT_QGIS_PICTURES=out/qgis \
		$(BIN)/python -m pytest -m qgis tests/qgis
	cp out/qgis/demo.qgz.png docs/qgis.png
	cp out/qgis/before_after.png docs/img/qgis_before_after.png

chaos: $(VENV)/dev.stamp
	PYTHONPATH=tests $(BIN)/python tests/support/chaos_campaign.py $(CHAOS)

bench: $(VENV)/dev.stamp
	for script in benchmarks/*.py; do $(BIN)/python $$script --quick || exit 1; done
	$(BIN)/python benchmarks/track.py --out out/bench.json

# The picture of docs/architecture.md, from the imports.
rooms:
	PYTHONPATH=tests $(BIN)/python tests/support/draw_rooms.py

# Every package of the images with its hashes, for all Pythons; uv decides, pip installs.
constraints: $(VENV)/dev.stamp
	$(BIN)/uv pip compile pyproject.toml docker/build.in $(COMPILE) --output-file docker/constraints.txt
	$(BIN)/uv pip compile pyproject.toml docker/build.in --extra models --extra ray $(COMPILE) \
		--output-file docker/constraints-gpu.txt

COMPILE := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make constraints"

# The digest of every base image, from its registry, into the files that name it.
image-digests: $(VENV)/core.stamp
	$(BIN)/python docker/image_digests.py docker/Dockerfile docker/Dockerfile.gpu docker/compose.yml

# CycloneDX bill of materials and licences of what is installed without tools for development.
sbom: $(VENV)/sbom.stamp
	mkdir -p out/sbom
	$(VENV)/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --validate \
		--output-file out/sbom/geocorrect.cdx.json $(VENV)/sbom/bin/python
	$(VENV)/tools/bin/pip-licenses --python $(VENV)/sbom/bin/python --format markdown --with-urls \
		--output-file out/sbom/licences.md

$(VENV)/sbom.stamp: docker/constraints.txt
	$(PYTHON) -m venv $(VENV)/sbom
	$(VENV)/sbom/bin/python -m pip install --quiet --require-hashes --requirement docker/constraints.txt
	$(VENV)/sbom/bin/python -m pip install --quiet --no-deps .
	$(PYTHON) -m venv $(VENV)/tools
	$(VENV)/tools/bin/python -m pip install --quiet cyclonedx-bom pip-licenses
	@touch $@

clean:
	rm -rf out dist build $(VENV)
