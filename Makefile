# `make train` and `make test` do all the set-up on a fresh machine.
#   make train ARGS="--attention se_block --epochs 10"
#   make evaluate RUN=runs/NAME
#   make fuzz TIMES=40       # so many times the cases of `make test`

PYTHON ?= python3
BIN := .venv/bin
BACKENDS ?= tensorflow jax torch
TIMES ?= 40
has = $(wildcard .venv/lib/*/site-packages/$(1))
RUN ?= $(patsubst %/config.json,%,$(firstword $(shell ls -t runs/*/config.json 2>/dev/null)))

.PHONY: train evaluate test soak fuzz lint docs bench

train: .venv/installed
	$(BIN)/python main.py train $(ARGS)

evaluate: .venv/installed
	$(BIN)/python main.py evaluate $(RUN)

test: .venv/installed-dev
	@for backend in $(BACKENDS); do \
	  if $(BIN)/python -c "import sys, importlib.util as u; sys.exit(not u.find_spec('$$backend'))"; then \
	    echo "Testing on $$backend"; \
	    KERAS_BACKEND=$$backend $(BIN)/python -m pytest $(ARGS) || exit 1; \
	  else \
	    echo "Skipped $$backend: it is not installed in .venv"; \
	  fi; \
	done

# kills and resumes real training processes, many times, on every backend that is installed
soak: export KILLS = 20
soak:
	$(MAKE) test ARGS=tests/test_resume.py

fuzz: .venv/installed-dev
	FUZZ=$(TIMES) $(BIN)/python -m pytest -n 0 tests/fuzz --hypothesis-show-statistics

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# pages of every public name, in build/site; warnings are errors
docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# times everything, more than an hour; DATA is the folder with CIFAR-10, PHOTOS one of images; with a
# GPU and JAX the accelerator too
bench: .venv/installed
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.overhead --network resnet50
	$(BIN)/python -m benchmarks.precision
	$(BIN)/python -m benchmarks.recipes
	$(BIN)/python -m benchmarks.floor
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.throughput
	$(if $(call has,torch),$(BIN)/python -m benchmarks.pytorch)
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.scaling
	ATTENTION_ZOO_CPU_DEVICES=2 $(BIN)/python -m benchmarks.devices
	$(if $(DATA),$(BIN)/python -m benchmarks.end_to_end $(DATA))
	$(if $(PHOTOS),$(BIN)/python -m benchmarks.folder $(PHOTOS))
	$(if $(PHOTOS),$(BIN)/python -m benchmarks.reading $(PHOTOS))
	$(if $(and $(shell command -v nvidia-smi),$(call has,jax)),KERAS_BACKEND=jax $(BIN)/python -m benchmarks.accelerator)

.venv/installed: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

# the backends; requirements.txt has TensorFlow. TORCH_INDEX can be the address of a package index
# with another build of PyTorch, such as the one for CPUs that pytorch.org names
.venv/installed-tensorflow: .venv/installed
	touch $@

.venv/installed-jax: .venv/installed
	$(BIN)/python -m pip install --quiet jax
	touch $@

.venv/installed-torch: .venv/installed
	$(BIN)/python -m pip install --quiet torch==2.13.0 $(addprefix --index-url ,$(TORCH_INDEX))
	touch $@
