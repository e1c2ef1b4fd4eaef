# make demo   install, then a live mesh on a real video      make test   install, then all tests
# make bench  measure this machine                            make lint   style, docstrings, spelling and types
# make app    install the application only                    make dev    install what tests and training need
# make simulate   TensorRT engines on a simulated CUDA device (Linux, cc); the first time compiles pycuda, some minutes
# make rtx    install NVIDIA's TensorRT-RTX (370 MB) and let it build every engine on the CPU
# make readers    install Blender, OpenSim and the glTF validator (1.2 GB) and let them read every exported format
# make faults  break the program in 110 ways and check what it leaves      make soak MINUTES=30   faults at random

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
OUT := out

.PHONY: faults soak fuzz audit locks demo test simulate rtx readers bench lint app dev clean

# HASHES=no installs by version, without comparing the packages with locks/*.txt: for an index with files of its own
export HASHES ?= yes

# make locks   write locks/*.txt anew from pyproject.toml and constraints.txt
# make audit   licences of what is installed, and known vulnerabilities where the package index answers
# make fuzz EXAMPLES=2000   damaged files for every reader

demo: app
	@mkdir -p $(OUT)
	$(BIN)/python run_camera.py --source demo --record $(OUT)/demo.mp4 --save $(OUT)/demo.npz --save $(OUT)/demo.glb --report $(OUT)/demo.json --verbose

test: dev
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

simulate: $(VENV)/simulated/libcuda.so.1
	SIMULATED_DEVICE=required LD_LIBRARY_PATH=$(VENV)/simulated $(BIN)/python -m pytest tests/simulated

$(VENV)/simulated/libcuda.so.1: tests/simulated/build.py $(wildcard tests/simulated/libcuda/*) tests/simulated/requirements.txt | dev
	$(BIN)/python tests/simulated/build.py $(VENV)/simulated

rtx: $(VENV)/.rtx
	$(BIN)/python -m pytest tests/export/checks/test_ahead_of_time.py tests/engines/test_builder_ahead_of_time.py

READERS := $(VENV)/readers

readers: dev $(READERS)/.blender $(READERS)/.opensim $(READERS)/.node
	$(BIN)/python -m pytest tests/tools/test_round_trips.py

# Blender and OpenSim want NumPy releases that contradict each other, so each gets an environment of its own.
$(READERS)/.blender: | $(BIN)/python
	$(BIN)/python -m venv $(READERS)/blender
	$(READERS)/blender/bin/python -m pip install --quiet bpy
	@touch $@

$(READERS)/.opensim: | $(BIN)/python
	$(BIN)/python -m venv $(READERS)/opensim
	$(READERS)/opensim/bin/python -m pip install --quiet opensim
	@touch $@

$(READERS)/.node: | $(BIN)/python
	@mkdir -p $(READERS)
	npm install --silent --no-save --prefix $(READERS) gltf-validator@2.0.0-dev.3.10
	@touch $@

faults: dev
	$(BIN)/python -m tests.faults

soak: dev
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),30)

fuzz: dev
	FUZZ_EXAMPLES=$(or $(EXAMPLES),2000) $(BIN)/python -m pytest --timeout 3600 -k "damaged or reworded or noise or any_" tests/test_foreign_bytes.py tests/test_foreign_json.py tests/test_any_command_line.py tests/realtime/stages/regressor/test_contract.py tests/realtime/sources/test_hostile_videos.py tests/body/test_hostile_files.py tests/training/motion/test_hostile_files.py

audit: app
	$(BIN)/python -m tools.licences
	$(BIN)/python -m tools.audit

locks: app
	$(PIP) uv
	$(BIN)/python -m tools.lock

bench: app
	$(BIN)/python -m tools.bench

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	if command -v shellcheck >/dev/null; then shellcheck docker/*.sh .ci/run; fi
	if test -x $(BIN)/hadolint; then $(BIN)/hadolint docker/Dockerfile.*; fi
	$(BIN)/mypy

app: $(VENV)/.app
dev: $(VENV)/.dev

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: pyproject.toml constraints.txt locks/app.txt | $(BIN)/python
	$(BIN)/python tools/install.py app
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt locks/dev.txt | $(BIN)/python
	$(BIN)/python tools/install.py dev
	@touch $@ $(VENV)/.app

$(VENV)/.rtx: pyproject.toml constraints.txt | dev
	$(PIP) --editable '.[dev,rtx]'
	@touch $@

clean:
	rm -rf $(VENV) $(OUT) build *.egg-info
