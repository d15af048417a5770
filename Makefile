# The only set-up anyone needs: each target makes .venv and installs the pinned versions first.
PYTHON ?= python3
RUN := .venv/bin/python
INSTALL := $(RUN) -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: demo test check bench size clean

demo: .venv/demo-installed
	$(RUN) -m wholegpt demo

test: check
	$(RUN) -m pytest

check: .venv/dev-installed
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

bench: .venv/dev-installed
	@for script in bench/*.py; do echo "== $$script"; $(RUN) "$$script" || exit 1; done

# Lines of Python per folder: reported, not enforced.
size:
	@for folder in src/wholegpt src/wholegpt/*/ tests bench; do \
	  printf '%6d  %s\n' "$$(find "$$folder" $$([ "$$folder" = src/wholegpt ] && echo -maxdepth 1) -name '*.py' -exec cat {} + 2>/dev/null | wc -l)" "$$folder"; \
	done
	@printf '%6d  src/wholegpt in all\n' "$$(find src/wholegpt -name '*.py' -exec cat {} + | wc -l)"

clean:
	rm -rf .venv demo demo.partial dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/demo-installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wholegpt needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[demo]'
	@touch $@

.venv/dev-installed: .venv/demo-installed
	$(INSTALL) -e '.[dev]'
	@touch $@
