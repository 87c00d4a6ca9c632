#!/usr/bin/env bash
# Measures cost and smoothness of one stream against a bare FFmpeg, and prints one table.
#
#   ./scripts/bench.sh [cost|picture|calls|hooks|live|obs ...]    # a part of it, or all
#
# Takes about eighteen minutes on a machine that should do nothing else meanwhile. Needs what the tests
# need (./scripts/test.sh installs it); without an OBS that part is skipped. Exits 1 when a bar is missed.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1-} in
  -h | --help)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
esac
for part in "$@"; do
  case $part in
    cost | picture | calls | hooks | live | obs) ;;
    *)
      echo "bench.sh: there is no part $part; see --help" >&2
      exit 64
      ;;
  esac
done

cargo build --locked --release --package worker --package controller --package e2e --bins
exec "${CARGO_TARGET_DIR:-target}/release/bench" "$@"
