#!/usr/bin/env bash
# Publishes a test picture with a running clock and a tone, as an encoder would.
#
#   scripts/publish_test.sh URL [SECONDS]        SECONDS: 60 when left out
#
#   scripts/publish_test.sh rtmp://127.0.0.1:1935/live/STREAM_KEY          built-in ingest
#   scripts/publish_test.sh rtsp://127.0.0.1:8554/live/main/in             MediaMTX
#   scripts/publish_test.sh 'srt://127.0.0.1:8890?streamid=publish:live/main/in'
#
# SIZE (1280x720), RATE (30): from the environment. The stream key is part of the URL, so other users of
# this machine can see it in `ps` meanwhile: use a key made for tests.
set -euo pipefail
HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=lib/env.sh
. "$HERE/lib/env.sh"

case ${1-} in
'' | -h | --help)
    usage
    [ -n "${1-}" ] || exit "$EXIT_USAGE"
    exit 0
    ;;
esac
need ffmpeg
URL=$1 SECONDS_LONG=${2-60} SIZE=${SIZE:-1280x720} RATE=${RATE:-30}
[[ $SECONDS_LONG =~ ^[1-9][0-9]{0,5}$ ]] || fail "$EXIT_USAGE" "$SECONDS_LONG is not a number of seconds"
case $URL in
rtmp://* | rtmps://*) OUTPUT=(-f flv) ;;
rtsp://*) OUTPUT=(-f rtsp -rtsp_transport tcp) ;;
srt://*) OUTPUT=(-f mpegts) ;;
*) fail "$EXIT_USAGE" "the URL must begin with rtmp://, rtmps://, rtsp:// or srt://" ;;
esac
exec ffmpeg -nostdin -hide_banner -loglevel warning -re \
    -f lavfi -i "testsrc2=size=$SIZE:rate=$RATE" -f lavfi -i 'sine=frequency=440:sample_rate=48000' \
    -t "$SECONDS_LONG" -c:v libx264 -preset veryfast -tune zerolatency -pix_fmt yuv420p -g "$RATE" \
    -b:v 1500k -maxrate 1500k -bufsize 1500k -c:a aac -b:a 128k -ac 2 "${OUTPUT[@]}" "$URL"
