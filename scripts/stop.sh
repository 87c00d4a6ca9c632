#!/usr/bin/env bash
# Takes a stream off air and waits until its worker is gone.
#
#   scripts/stop.sh [STREAM_ID]       the id may be left out when there is one stream
#
# While no controller of this machine runs, it finds the workers that are still on air itself and
# ends them (without an id: all), and the next controller does not start those streams.
#
# Exits 0 stopped, 1 refused (told why), 3 controller unreachable.
# CONTROLLER_URL, CONTROLLER_API_TOKEN: from the environment or the environment file.
set -euo pipefail
HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=lib/api.sh
. "$HERE/lib/api.sh"

# Whether the workers of that controller are on this machine, and it does not answer.
is_down_here() {
    local url
    url=$(controller_url)
    case $url in
    http://127.* | http://localhost[:/]* | http://\[::1\]*) ;;
    *) [ -z "$(setting CONTROLLER_URL)" ] || return 1 ;;
    esac
    ! curl --silent --output /dev/null --connect-timeout 3 --max-time 10 "$url/health/live"
}

# As the service's user when called by root: workers and state file are that user's.
stop_without_controller() {
    local controller owner as=()
    controller=$(controller_binary)
    load_env_file
    if [ "$(id -u)" = 0 ]; then
        if [ -z "${STATE_DIR-}" ]; then
            export STATE_DIR=/var/lib/stream-controller
            export RUNTIME_DIR=${RUNTIME_DIR:-/run/stream-controller}
        fi
        owner=$(stat -c %U "$STATE_DIR" 2>/dev/null || echo root)
        [ "$owner" = root ] || as=(runuser -u "$owner" --)
    fi
    printf 'no controller answers at %s: looking for workers\n' "$(controller_url)" >&2
    "${as[@]}" "$controller" workers stop ${STREAM_ID:+--stream "$STREAM_ID"} || exit "$EXIT_UNREACHABLE"
}

parse_stream_id "$@"
if is_down_here; then
    stop_without_controller
    exit 0
fi
request POST /streams/stop "$(stream_ref)"
if [ "$HTTP_STATUS" != 200 ]; then
    show_refusal
    exit "$EXIT_REFUSED"
fi
jq -r '"\(.stream_id): \(.state)"' <<<"$BODY"
