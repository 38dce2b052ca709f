#!/usr/bin/env bash
# Make .venv with wgan-cli in it (editable), at the versions that are tested. Safe to run again.
# The argument is what to install: '.[dev]' has the tools of scripts/check.sh, too.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3.11}"
command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "wgan-cli needs Python 3.11 or newer; say which with PYTHON=/path/to/python3.11" >&2
    exit 1
}
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable "${1:-.}"
