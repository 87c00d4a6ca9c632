#!/usr/bin/env bash
# Reads a stream for some seconds and tells what a viewer would get: codecs, pictures, sound, longest hole.
#
#   scripts/play_test.sh URL [SECONDS]           SECONDS: 10 when left out
#
#   scripts/play_test.sh rtsp://127.0.0.1:8554/live/main/out
#   scripts/play_test.sh rtmp://127.0.0.1:1935/live/main/out
#
#   0 it plays   1 nothing, or no picture, within the time   64 not called as above
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
-*) fail "$EXIT_USAGE" "unknown option $1; see --help" ;;
esac
need ffprobe timeout awk
URL=$1 SECONDS_LONG=${2-10}
[[ $SECONDS_LONG =~ ^[1-9][0-9]{0,5}$ ]] || fail "$EXIT_USAGE" "$SECONDS_LONG is not a number of seconds"
OPTIONS=()
case $URL in
rtsp://*) OPTIONS=(-rtsp_transport tcp) ;;
esac
PACKETS=$(timeout --signal=INT "$((SECONDS_LONG + 10))" ffprobe -loglevel error "${OPTIONS[@]}" \
    -read_intervals "%+$SECONDS_LONG" -show_entries 'packet=codec_type,pts_time' -of csv=p=0 "$URL" || true)
awk -F, '
    $1 == "video" && $2 != "N/A" { video[pictures++] = $2 + 0 }
    $1 == "audio" && $2 != "N/A" { frames++; if (last != "" && $2 - last > sound) sound = $2 - last; last = $2 }
    END {
        if (!pictures) { print "no picture"; exit 1 }
        # Pictures come in the order of decoding.
        n = asort_numbers(video, pictures)
        for (i = 1; i < n; i++) if (video[i] - video[i - 1] > hole) hole = video[i] - video[i - 1]
        printf "%d pictures, %d frames of sound, longest step of the picture %.0f ms, of the sound %.0f ms\n", \
            pictures, frames, hole * 1000, sound * 1000
    }
    function asort_numbers(list, count,    i, j, value) {
        for (i = 1; i < count; i++) {
            value = list[i]
            for (j = i - 1; j >= 0 && list[j] > value; j--) list[j + 1] = list[j]
            list[j + 1] = value
        }
        return count
    }' <<<"$PACKETS"
