#!/usr/bin/env bash
# Measures cost and smoothness of one stream against a bare FFmpeg, and prints one table.
#
#   ./scripts/bench.sh [cost|picture|calls|hooks|live ...]    # a part of it, or all
#
# Takes about twelve minutes on a machine that should do nothing else meanwhile. Needs what the tests
# need (./scripts/test.sh installs it). Exits 1 when a bar is missed.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --release --package worker --package controller --package e2e --bins
exec "${CARGO_TARGET_DIR:-target}/release/bench" "$@"
