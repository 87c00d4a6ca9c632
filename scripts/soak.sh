#!/usr/bin/env bash
# Random faults to several streams for half an hour; exit 1 when a viewer saw too much of one, when
# another stream noticed, when anything grew, or when the air record and the receivers disagree.
#
#   ./scripts/soak.sh                          30 minutes, 5 streams
#   ./scripts/soak.sh --minutes 480 --streams 8 --seed 4711
#   ./scripts/soak.sh --only worker-killed,destination-resets      of these faults alone
#
# Everything happens in directories and on loopback ports of its own; Ctrl-C ends all of it.
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=30
arguments=()
usage() {
  echo "soak.sh: $1; see --help" >&2
  exit 64
}
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    --minutes | --streams | --seed | --only) [ -n "${2-}" ] || usage "$1 wants a value" ;;
    *) usage "unknown argument $1" ;;
  esac
  case $1 in
    --minutes) minutes=$2 ;;
    *) arguments+=("$1" "$2") ;;
  esac
  shift 2
done

cargo build --locked --release --package worker --package controller --bins
exec "${CARGO_TARGET_DIR:-target}/release/stream-controller" drill --soak "$minutes" "${arguments[@]}"
