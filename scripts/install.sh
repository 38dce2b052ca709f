#!/usr/bin/env bash
# Install wgan-cli (editable) into .venv, at the versions that are tested. It is safe to run this again.
# The argument is what to install; '.[dev]' adds the tools of scripts/check.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3.11}"
command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "wgan-cli needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2
    exit 1
}
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable "${1:-.}"
