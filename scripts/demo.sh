#!/usr/bin/env bash
# Puts a channel on air whose picture can be watched in a browser. Needs Rust; the rest it brings.
#
#   ./scripts/demo.sh             until Ctrl-C
#   ./scripts/demo.sh --check     ends with 0 as soon as a picture was decoded from the preview, with 1
#                                 and the reason when none comes
#
# Own files go into media/ (DEMO_MEDIA_DIR); when it is empty, a few clips are made. Everything else is
# in .demo/ (DEMO_STATE_DIR). CONTROLLER_BIND is the address, 127.0.0.1:8080 unless set. The build is the
# development one: on two cores it is done in a third of the time, and the work of a stream is
# FFmpeg's, which is the same in both.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly ROOT=$PWD

readonly BIND=${CONTROLLER_BIND:-127.0.0.1:8080}
readonly URL=http://$BIND
readonly STATE=${DEMO_STATE_DIR:-$ROOT/.demo}
readonly MEDIA=${DEMO_MEDIA_DIR:-$ROOT/media}
# How long the picture may take once the controller runs; making the clips comes before that.
readonly PICTURE_SECS=60
readonly START_SECS=300

CONTROLLER=
RUN=

say() { printf '\n== %s\n' "$*"; }
fail() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install_missing() {
  local missing=()
  command -v cargo >/dev/null || fail 'Rust is missing: https://rustup.rs'
  command -v cc >/dev/null || missing+=(gcc libc6-dev)
  { command -v ffmpeg && command -v ffprobe; } >/dev/null || missing+=(ffmpeg)
  command -v curl >/dev/null || missing+=(curl)
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "install ${missing[*]}, then run this again"
  say "installing ${missing[*]}"
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# The environment is not passed on: a stream key or a bucket in it must not turn a demo into a
# broadcast. In a session of its own, so that Ctrl-C comes from here, once.
start_controller() {
  mkdir -p "$STATE" "$MEDIA"
  # Sockets have short names only, and a checkout may lie deep.
  RUN=$(mktemp -d /tmp/stream-demo.XXXXXX)
  env -i PATH="$PATH" HOME="${HOME:-/}" LANG=C.UTF-8 \
    CONTROLLER_BIND="$BIND" STORAGE_PROVIDER=local STORAGE_LOCAL_DIR="$MEDIA" \
    STATE_DIR="$STATE" RUNTIME_DIR="$RUN" CACHE_DIR="$STATE/cache" LOG_FORMAT=pretty \
    setsid "$TARGET/debug/stream-controller" demo 2>"$STATE/controller.log" &
  CONTROLLER=$!
}

# SIGINT takes the stream off air and ends the worker; the controller itself bounds how long.
finish() {
  local status=$?
  trap '' INT TERM HUP
  if [ -n "$CONTROLLER" ] && kill -INT "$CONTROLLER" 2>/dev/null; then
    say 'ending'
    wait "$CONTROLLER" || true
  fi
  [ -z "$RUN" ] || rm -rf "$RUN"
  exit "$status"
}

# until_true SECONDS COMMAND...: while the controller lives.
until_true() {
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    if ! kill -0 "$CONTROLLER" 2>/dev/null; then
      tail -n 20 "$STATE/controller.log" >&2
      fail 'the controller has ended; its last lines are above'
    fi
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.3
  done
}

is_up() { curl --silent --fail --output /dev/null "$URL/health/ready"; }
has_segment() { curl --silent --fail "$URL/preview/main/index.m3u8" | grep -q '\.ts'; }
has_picture() {
  ffmpeg -v error -nostdin -i "$URL/preview/main/index.m3u8" -frames:v 1 -f null - 2>/dev/null
}

start_stream() {
  local answer
  answer=$(curl --silent --output /dev/null --write-out '%{http_code}' --request POST "$URL/streams/main/start")
  # 409: it has started by itself.
  case $answer in 202 | 409) ;; *) fail "the stream does not start: POST /streams/main/start answered $answer" ;; esac
}

main() {
  local only_check=${DEMO_EXIT_AFTER_PICTURE:-}
  case ${1-} in
    '') ;;
    --check) only_check=1 ;;
    -h | --help)
      sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *)
      printf 'demo.sh: unknown argument %s; see --help\n' "$1" >&2
      exit 64
      ;;
  esac
  install_missing
  say 'building (the first time takes some minutes)'
  cargo build --locked --bin stream-controller --bin stream-worker
  TARGET=${CARGO_TARGET_DIR:-$ROOT/target}

  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  say 'starting'
  start_controller
  until_true "$START_SECS" is_up || fail "no answer from $URL; see $STATE/controller.log"
  start_stream
  until_true "$PICTURE_SECS" has_segment || fail "no preview after $PICTURE_SECS s; see $STATE/logs/main.log"
  until_true "$PICTURE_SECS" has_picture || fail "the preview has no picture; see $STATE/logs/main.log"

  say "on air: $URL/"
  if [ -n "$only_check" ]; then
    say 'a picture was decoded from the preview'
    exit 0
  fi
  printf 'Put your own files into %s; Ctrl-C ends the channel.\n' "$MEDIA"
  wait "$CONTROLLER"
}

main "$@"
