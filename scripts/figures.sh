#!/usr/bin/env bash
# Make the README's pictures of recipes anew, in docs/recipes/: so many minutes each, on one core.
# Arguments are settings, such as dataset.root=DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh
runs="$(mktemp -d)"
trap 'rm -rf "$runs"' EXIT
mkdir -p docs/recipes
while read -r recipe minutes; do
    OMP_NUM_THREADS=1 .venv/bin/wgan-train "experiment=$recipe" "max_minutes=$minutes" device=cpu \
        "hydra.run.dir=$runs/$recipe" "$@" </dev/null
    .venv/bin/wgan-sample "checkpoint=$runs/$recipe" "out=docs/recipes/$recipe.png" </dev/null
done <<'LIST'
wgan_mlp 5
pytorch_gan_wgan 5
pytorch_gan_wgan_gp 5
pytorch_gan_relativistic 5
labml_wgan 15
wgan_gp_mnist 15
LIST
