#!/usr/bin/env bash
# Make the README's pictures of the small recipes anew, in docs/recipes/: each after five minutes on one core.
# Arguments are settings, such as dataset.root=DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh
runs="$(mktemp -d)"
trap 'rm -rf "$runs"' EXIT
mkdir -p docs/recipes
for recipe in wgan_mlp pytorch_gan_wgan pytorch_gan_wgan_gp pytorch_gan_relativistic labml_wgan labml_wgan_gp wgan_gp_mnist; do
    OMP_NUM_THREADS=1 .venv/bin/wgan-train "experiment=$recipe" max_minutes=5 device=cpu "hydra.run.dir=$runs/$recipe" "$@"
    .venv/bin/wgan-sample "checkpoint=$runs/$recipe" "out=docs/recipes/$recipe.png"
done
