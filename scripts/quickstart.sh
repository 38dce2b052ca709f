#!/usr/bin/env bash
# Install into .venv, train on the embedded digits, and print where the run's folder is.
# Arguments are settings of wgan-train, such as epochs=3.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh
exec .venv/bin/wgan-train "$@"
