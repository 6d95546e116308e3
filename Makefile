# photog: every target works in a fresh clone with Python 3.11 or newer and make
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo browser test test-gpu extras quantized chaos lint bench proto schemas clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	# an earlier release was installed under the name photog; with both, each verb of an extension would be there twice
	$(BIN)/python -m pip uninstall --quiet --yes photog
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[diffusion,cloud,http,page,serve,dlib,dev]'
	# only for a picture of six people that its package ships; its own dependencies would bring a second opencv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps insightface
	# for tests of the enhancing networks; with its dependencies comes a torchvision that only CUDA's torch loads
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps spandrel einops
	touch $(READY)

demo: $(READY)
	$(BIN)/python -m demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry .

# the page is tested in Debian's chromium; where it cannot be installed those tests are skipped, and say so
browser:
	@if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium fonts-liberation; } \
			>/dev/null || echo "chromium could not be installed: the page is not tested in a browser"; \
	fi

# one run, file by file, so that what a file loads or trains is made once; tests/conftest.py puts the long files first, and
# the short ones fill what is left. Real workers are mostly waited for, so two cores have room for four processes. One
# thread each: networks this small gain nothing by more
TEST_JOBS ?= 4
test: export OMP_NUM_THREADS = 1
# the hundreds of processes that the tests start need not compile the sources again, whatever the environment says
test: export PYTHONDONTWRITEBYTECODE =
test: lint browser
	$(BIN)/python -m pytest --numprocesses $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

# base weights in 8 and 4 bits; the libraries lie apart, because diffusers and peft import them in every process, which takes
# a second
quantized: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps --upgrade --target build/quantized bitsandbytes torchao
	PYTHONPATH=build/quantized $(BIN)/python -m pytest tests/unit/test_quantization.py

# every extra for itself on the oldest and the newest supported Python, where they are installed; the images by pip
extras: $(READY)
	TEST_PYTHONS=1 $(BIN)/python -m pytest tests/functional/test_extras.py tests/scenario/test_pythons.py tests/scenario/test_images.py

# on a machine with an NVIDIA GPU; elsewhere all of it is skipped. docs/gpu.md says what it shows
test-gpu: $(READY)
	$(BIN)/python -m pytest tests/gpu -v -o log_cli=true -o log_cli_level=INFO --durations 0

# 200 schedules of each kind; they mostly wait, so several run side by side. A seed that fails says how to run it again
CHAOS_SEEDS ?= 1-200
CHAOS_JOBS ?= 6
chaos: export OMP_NUM_THREADS = 1
chaos: $(READY)
	failed=0; for kind in folder s3 cloud; do \
		$(BIN)/python -m tests.scenario.chaos --kind $$kind --seeds $(CHAOS_SEEDS) --jobs $(CHAOS_JOBS) || failed=1; \
	done; exit $$failed

# what `photog schema` prints, committed, so that readers need no photog
schemas: $(READY)
	$(BIN)/photog schema --out schemas

bench: $(READY)
	for script in benchmarks/[a-z]*.py; do \
		echo "== $$script"; $(BIN)/python -m benchmarks.$$(basename $$script .py); \
	done

# what protoc writes is committed, so that only who changes queue.proto needs it. The release sets the oldest protobuf that
# can read its code (6.31), which the extra `serve` asks for
proto:
	$(PYTHON) -m venv build/protoc
	build/protoc/bin/python -m pip install --quiet 'grpcio-tools==1.75.1'
	build/protoc/bin/python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. serve/queue.proto

clean:
	rm -rf $(VENV) out build *.egg-info .mypy_cache .ruff_cache .pytest_cache
