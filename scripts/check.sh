#!/usr/bin/env bash
# Install, and check everything that a change must pass: lint, format, types, tests.
# Arguments go to pytest: -m "not slow", a file, -k ...
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh '.[dev]'
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder "$@"
