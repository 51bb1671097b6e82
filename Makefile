# make demo   installs, trains and measures a phase-diverse zoo, labels its phases,
#             queries it, draws report.html
# make test   lint, types, layering and the fast tests
# make test-all   also the slow ones: kills, every recipe
# make release DEST=...   trains zoos, or goes on, measures, labels and publishes them, and
#             scores the probe tasks of docs/zoos.md, which states what that costs
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test test-all release lint clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("phasezoo needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/phasezoo train digits_mlp_phases
	$(BIN)/phasezoo measure digits_mlp_phases --steps last
	$(BIN)/phasezoo phases digits_mlp_phases --step last
	@echo; echo "Which width and learning rate generalise best? Chosen on the validation split"
	@$(BIN)/phasezoo sql "SELECT width, lr, avg(validation_accuracy) AS validation_accuracy, avg(test_accuracy) AS test_accuracy, stddev_samp(test_accuracy) AS sd, count(*) AS seeds FROM models WHERE zoo = 'digits_mlp_phases' AND step = steps GROUP BY width, lr ORDER BY validation_accuracy DESC LIMIT 5"
	@echo; echo "When does each width learn? Mean test accuracy over training, at learning rate 0.01"
	@$(BIN)/phasezoo sql "SELECT width, round(epoch) AS epoch, avg(train_loss) AS train_loss, avg(test_accuracy) AS test_accuracy FROM models WHERE zoo = 'digits_mlp_phases' AND lr = 0.01 AND width IN (4, 64) GROUP BY ALL ORDER BY width, epoch"
	@echo; echo "How do the weights differ between networks that generalise and those that do not?"
	@$(BIN)/phasezoo sql "SELECT test_accuracy > 0.9 AS generalises, tensor, avg(l2) AS norm, avg(std) AS std, count(*) AS networks FROM models JOIN tensor_stats USING (shard, row) WHERE zoo = 'digits_mlp_phases' AND step = steps AND width = 32 GROUP BY ALL ORDER BY tensor, generalises"
	@echo
	$(BIN)/phasezoo report

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Compiled modules are kept, as many tests start processes. What stands in a folder stays
# in one process, which makes what its tests share once; slow tests are too unlike for that.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2

test: lint
	$(PYTEST) --dist loadgroup

test-all: lint
	$(PYTEST) --dist loadfile -m "not gpu and not network"

# DEST is a folder, hf://datasets/USER/NAME or s3://BUCKET/PREFIX. Of the data only digits
# are built in: others come from the Hub, or from files with DATA=DIR. LIMIT=N trains at most
# N networks of each zoo, WORKERS=N is the number of processes. The same command continues a
# release that was interrupted.
ZOOS ?= digits_mlp_phases digits_mlp_seeds fashion_mnist_cnn_phases tree_mini lora_tree_mini
RELEASE ?= release
LICENSE ?= cc-by-4.0
PAGE ?= docs/zoos.md
DATA_FROM = $(if $(DATA),--data "$(DATA)") $(if $(WORKERS),--workers $(WORKERS))
# Only grids have phases; Hessians of all other networks would take hours.
METRICS = $(if $(filter %_phases,$*),,--metric gradient_noise)
IN_RELEASE = --catalog "$(RELEASE)/catalogue"

release: $(ZOOS:%=release-%)
	$(BIN)/phasezoo publish "$(DEST)" --license $(LICENSE) $(IN_RELEASE)
	$(BIN)/python docs/zoos_page.py "$(DEST)" --copy "$(RELEASE)/copy" --page "$(PAGE)"

release-tree_mini: release-tree_mini_roots
release-lora_tree_mini: release-lora_tree_mini_root

release-%: .venv/installed
	@test -n "$(DEST)" || { echo "Name where to publish: make release DEST=FOLDER" >&2; exit 2; }
	$(BIN)/phasezoo train $* $(DATA_FROM) $(if $(LIMIT),--limit $(LIMIT)) $(IN_RELEASE)
	$(BIN)/phasezoo measure $* $(DATA_FROM) $(METRICS) --steps last $(IN_RELEASE)
	$(if $(filter %_phases,$*),$(BIN)/phasezoo phases $* --step last $(IN_RELEASE))

clean:
	rm -rf .venv phasezoo-data report.html
