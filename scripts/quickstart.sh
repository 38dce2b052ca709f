#!/usr/bin/env bash
# Install into .venv, train on the embedded data, and say where the pictures are. Arguments are settings: epochs=3 ...
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh
exec .venv/bin/wgan-train "$@"
