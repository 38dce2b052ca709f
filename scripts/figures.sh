#!/usr/bin/env bash
# Make the pictures in docs/recipes/ again. Each recipe trains on one core for the minutes in the list at the end.
# Arguments are settings of wgan-train, such as dataset.root=FOLDER.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh
runs="$(mktemp -d)"
trap 'rm -rf "$runs"' EXIT
mkdir -p docs/recipes
while read -r recipe minutes; do
    OMP_NUM_THREADS=1 .venv/bin/wgan-train "experiment=$recipe" "max_minutes=$minutes" device=cpu \
        "out=$runs/$recipe" "$@" </dev/null
    .venv/bin/wgan-sample "checkpoint=$runs/$recipe" "out=docs/recipes/$recipe.png" </dev/null
done <<'LIST'
wgan_mlp 5
pytorch_gan_wgan 5
pytorch_gan_wgan_gp 5
pytorch_gan_relativistic 5
labml_wgan 15
wgan_gp_mnist 15
LIST
