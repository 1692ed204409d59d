# `make demo` and `make test` each start from nothing: they make .venv, install, then run.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
MANIFESTS := $(filter-out %/kustomization.yaml,$(wildcard deploy/kubernetes/*/*.yaml))

.DEFAULT_GOAL := help
.PHONY: help install demo test browser postgres extras web page fuzz lint train eval clean ffmpeg

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

install: $(STAMP)  ## make .venv and install everything under the tested versions

$(STAMP): pyproject.toml constraints.txt | ffmpeg
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 10) else f"Python {v[0]}.{v[1]} found, 3.10 or newer needed: run `make PYTHON=/path/to/python3.11 $(or $(MAKECMDGOALS),install)`")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: sudo apt-get install -y python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --constraint constraints.txt
	@touch $@

# musdb and museval refuse to import without ffmpeg and ffprobe on PATH.
ffmpeg:
	@command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null && exit 0; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ffmpeg >/dev/null; \
	elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ffmpeg >/dev/null; \
	elif command -v brew >/dev/null; then brew install --quiet ffmpeg; \
	elif command -v apt-get >/dev/null; then echo "ffmpeg is missing: sudo apt-get install -y ffmpeg" >&2; exit 1; \
	else echo "ffmpeg is missing: install it with your package manager so that ffmpeg and ffprobe are on PATH" >&2; exit 1; fi

demo: install  ## make data, train tfswa_tiny, score it, separate a real song (about 10 minutes on 2 cores)
	rm -rf demo/train demo/scores demo/stems
	$(BIN)/python train.py experiment=demo hydra.run.dir=demo/train
	$(BIN)/tfswa bundle demo/train/checkpoints/last.ckpt -o demo/model.safetensors
	$(BIN)/python eval.py ckpt=demo/model.safetensors data.root=demo/songs metrics=sdr segment=12 wiener=true out=demo/scores
	$(BIN)/tfswa separate "$$($(BIN)/python -c 'import glob, importlib.util as u; print(glob.glob(u.find_spec("stempeg").submodule_search_locations[0] + "/data/*.stem.mp4")[0])')" \
	  --model demo/model.safetensors -o demo/stems --template "{stem}.{ext}" --segment 12 --wiener --residual --picture
	@echo
	@echo "songs it made   demo/songs"
	@echo "model           demo/model.safetensors"
	@echo "score table     demo/scores/scores.json"
	@echo "a real song     demo/stems: its stems and a picture of their spectrograms"

test: install  ## run all tests
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --max-worker-restart 1 $(ARGS)

browser: install  ## install Chromium and what drives it, for the tests of pages, which are skipped without
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
	if [ "$$(id -u)" = 0 ]; then sudo=; else sudo="sudo -n"; fi; \
	$$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[browser]' --constraint constraints.txt

postgres:  ## install Postgres, for the tests of several services, which are skipped without
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
	if [ "$$(id -u)" = 0 ]; then sudo=; else sudo="sudo -n"; fi; \
	$$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; }

extras: install  ## install the Hugging Face Hub's client and Ray, for their tests, which are skipped without
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[hub,ray]' --constraint constraints.txt

web: page  ## build the page that separates songs in a browser, and serve it at http://127.0.0.1:8000 (or PORT=8001)
	@$(BIN)/python tools/web.py serve $(if $(PORT),--port $(PORT))

page: install web/node_modules  ## build that page in web/dist, for any host of static files; MODEL=model.safetensors takes another model
	$(BIN)/python tools/web.py build $(if $(MODEL),--model $(MODEL))

web/node_modules: web/package.json
	@command -v npm >/dev/null || { echo "npm is missing, which fetches what runs the model in a browser: install Node.js 18 or newer, such as by sudo apt-get install -y npm" >&2; exit 1; }
	cd web && npm install --silent
	@touch $@

fuzz: install  ## separate 3,000 damaged audio files, break 40 runs, a sweep of 6 and services 30 times off
	FUZZ_FILES=3000 FUZZ_RUNS=40 FUZZ_TRIALS=6 FUZZ_KILLS=10 $(BIN)/python -m pytest tests/fuzz tests/training/test_sweep.py tests/export tests/service/test_killed.py $(ARGS)

lint: install  ## ruff and mypy; hadolint and kubernetes-validate, of what deploys the service
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if [ -x $(BIN)/hadolint ]; then echo "$(BIN)/hadolint Dockerfile"; $(BIN)/hadolint Dockerfile; \
	else echo "hadolint is not there for this system: the Dockerfile is not checked"; fi
	@if [ -x $(BIN)/kubernetes-validate ]; then echo "$(BIN)/kubernetes-validate $(MANIFESTS)"; $(BIN)/kubernetes-validate --strict --quiet $(MANIFESTS); \
	else echo "kubernetes-validate is not installed: the manifests are not checked"; fi

train: install  ## python train.py, e.g. make train ARGS="model=tfswa_small data.root=/data/musdb18hq"
	$(BIN)/python train.py $(ARGS)

eval: install  ## python eval.py, e.g. make eval ARGS="ckpt=runs/…/best.ckpt"
	$(BIN)/python eval.py $(ARGS)

clean:  ## remove .venv and caches; runs/ and data stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
