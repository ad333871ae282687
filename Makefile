# make demo: a first asset.  make test: everything that must hold.  make test-all: long sweeps also.  make fuzz: hostile input to every command.
# make engine-tests: the asset in Blender, Godot and three.js, which it installs.  make browser-tests: the gallery and the viewers in Chromium, also installed.
# All go through make install.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROMPT ?= a red mushroom with white parts

.PHONY: install demo test test-all engine-tests browser-tests fuzz bench clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

demo: install
	$(BIN)/dreamfusion-mesh generate "$(PROMPT)" --preset demo --out out/demo

$(VENV)/.installed-tests: $(VENV)/.installed tests/gltf/package.json
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]"
	@if command -v npm >/dev/null; then cd tests/gltf && npm install --no-package-lock --no-audit --no-fund --silent; \
	else echo "npm not found: the Khronos validator's tests will be skipped"; fi
	touch $@

test: $(VENV)/.installed-tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(SELECTED)

test-all: SELECTED := -m "" --timeout=7200
test-all: test

engine-tests: PROGRAMS := blender godot3-server chromium
engine-tests: DEBIAN := python3-numpy
engine-tests: TESTS := tests/engines

browser-tests: PROGRAMS := chromium
browser-tests: TESTS := tests/browser

engine-tests browser-tests: $(VENV)/.installed-tests
	@missing=; for program in $(PROGRAMS); do command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	if [ -n "$$missing" ]; then $$([ "$$(id -u)" = 0 ] || echo sudo) apt-get install --yes --no-install-recommends $$missing $(DEBIAN); fi
	cd tests/engines && npm install --no-package-lock --no-audit --no-fund --silent
	$(BIN)/python -m pytest $(TESTS)

fuzz: $(VENV)/.installed-tests
	$(BIN)/python -m tools.fuzz

bench: install
	$(BIN)/python -m tools.bench all

clean:
	rm -rf $(VENV) build dist out *.egg-info
