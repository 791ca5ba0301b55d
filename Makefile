# The whole daily life: make demo, make test, make lint. Each target sets up what it needs by itself.

PYTHON_BIN := .venv/bin/python
# Two workers and more share the files of tests; a file stays in one worker.
PYTEST_ARGS ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
DEMO_OUT := out/demo
RECIPE ?= small
RIG ?= sim
SUITE ?= full

.DEFAULT_GOAL := help
.PHONY: help demo build model test hil lint bench aarch64 soak generate clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Run the whole box live on the bundled session, without a sound card, and say where the mix lies
	@.ci/setup demo
	@.venv/bin/evenhand-box run --board sim --session demo/session --record $(DEMO_OUT)

build: ## Compile the C
	@.ci/setup build

model: ## Make the learned mixer from seeds, about 90 minutes of two cores; stopped, the same command goes on
	@.ci/setup model
	@.venv/bin/evenhand-model make $(RECIPE)

test: ## Run every test but the soak; generated files and import contracts are among them
	@.ci/setup test
	@$(PYTHON_BIN) -m pytest -m "not soak and not aarch64" --rig sim $(PYTEST_ARGS)

hil: ## Test a box from outside: RIG=sim, qemu_arm64 or a file of your own; SUITE=smoke, full or soak
	@.ci/setup $(if $(filter qemu_arm64,$(RIG)),image,test)
	@$(PYTHON_BIN) -m hil_tests run --rig $(RIG) --suite $(SUITE)

lint: ## Check layout, types and imports; changes nothing
	@.ci/setup lint
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@git ls-files '*.c' '*.h' ':!*/generated/*' | xargs clang-format --dry-run -Werror
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache --no-logo
	@$(PYTHON_BIN) -m dsp_kernels.contract.generate --check

bench: ## Measure kernels and the whole chain beside their peers
	@.ci/setup bench
	@for bench in */bench/__main__.py; do $(PYTHON_BIN) -m "$$(dirname $$bench | tr / .)" || exit 1; done

aarch64: ## Run the tests of the box's own processor: the same bits, the same answers, no more instructions
	@.ci/setup aarch64
	@$(PYTHON_BIN) -m pytest -m aarch64

soak: ## Run the tests that take minutes to hours
	@.ci/setup test
	@$(PYTHON_BIN) -m pytest -m soak

generate: ## Write dsp_kernels/contract/generated from the two TOML files
	@$(or $(wildcard $(PYTHON_BIN)),python3) -m dsp_kernels.contract.generate

clean: ## Remove what was built and rendered; .venv stays
	@rm -rf build out .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@rm -f */_*.so */_*.o */_*.c */libasound_module_*.so
	@find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
