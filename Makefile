# Needs Python 3.9 or newer and make. Only `lint` (two tools, into .tools/), `crash` (strace,
# e2fsprogs), `image` (mmdebstrap, and Debian packages into a scratch directory), and `e2e`,
# `e2e-sources` and `e2e-restarters` (what each tests/outside/*/install.sh names) fetch anything.

PYTHON ?= python3
FULL ?=
RUFF = ruff==0.17.6
MYPY = mypy==1.19.1
TOOLS = .tools/$(RUFF)-$(MYPY)
TYPED = hub_upgrade build_pyz.py tests $(wildcard bench)
CRASH_LIMIT_S = $(if $(FULL),43200,1500)

.PHONY: build run test test-all crash image e2e e2e-sources e2e-restarters lint bench clean

build:
	$(PYTHON) build_pyz.py

run: build
	$(PYTHON) examples/tour.py

# Within two minutes on two cores; every word that is printed is left to test-all.
test:
	$(PYTHON) -m tests.run --skip e2e.test_transcripts

test-all:
	$(PYTHON) -m tests.every_python

# Every step and every kind once; with FULL=1 the whole product of them.
crash:
	@command -v strace >/dev/null || { apt-get -qq update && apt-get -qq -y install strace; } >/dev/null
	@test "$$(id -u)" != 0 || command -v mkfs.ext4 >/dev/null || \
	    { apt-get -qq update && apt-get -qq -y install e2fsprogs; } >/dev/null
	CRASH_TESTS=$(if $(FULL),full,cover) $(PYTHON) -m tests.run --crash --limit $(CRASH_LIMIT_S)

# The file alone in an image of Debian's python3-minimal and libpython3-stdlib, as its process 1.
image:
	@command -v mmdebstrap >/dev/null || { apt-get -qq update && apt-get -qq -y install mmdebstrap; } >/dev/null
	$(PYTHON) -m tests.image.minimal

# What needs programs from outside: a browser, containers, proxies, a fuzzer (root, Debian). Each
# suite installs what it needs by its own install.sh (a registry may hiccup once), Debian's packages
# or into .outside/.
e2e:
	@for script in $(filter-out %/sources/install.sh %/restarters/install.sh,$(wildcard tests/outside/*/install.sh)); do \
	    sh $$script $(CURDIR)/.outside || sh $$script $(CURDIR)/.outside || exit 1; \
	done
	OUTSIDE=$(CURDIR)/.outside $(PYTHON) -m tests.run --outside --skip outside.sources \
	    --skip outside.restarters --limit 900

# Other programs' hubs, installed by the real bun, npm, pip and git, some of them in containers
# (root, Debian).
e2e-sources:
	@for script in tests/outside/containers/install.sh tests/outside/sources/install.sh; do \
	    sh $$script $(CURDIR)/.outside || sh $$script $(CURDIR)/.outside || exit 1; \
	done
	OUTSIDE=$(CURDIR)/.outside $(PYTHON) -m tests.run --outside --only outside.sources --limit 900

# What keeps a hub alive, and restarts it: systemd as process 1 and as a user's manager, containers
# (root, Debian).
e2e-restarters:
	@script=tests/outside/restarters/install.sh; \
	sh $$script $(CURDIR)/.outside || sh $$script $(CURDIR)/.outside
	OUTSIDE=$(CURDIR)/.outside $(PYTHON) -m tests.run --outside --only outside.restarters --limit 900

lint: $(TOOLS)
	@passed=0; failed=0; \
	for tool in "ruff check" "mypy $(TYPED)" \
	    "mypy --platform darwin --cache-dir .mypy_cache/darwin hub_upgrade"; do \
	    echo "$$tool"; \
	    if .tools/bin/$$tool; then passed=$$((passed + 1)); else failed=$$((failed + 1)); fi; \
	done; \
	echo "$$passed passed, $$failed failed"; test $$failed -eq 0

$(TOOLS):
	rm -rf .tools
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check $(RUFF) $(MYPY)
	touch $@

bench: build
	$(PYTHON) -m bench.run

clean:
	rm -rf dist .tools .outside .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
