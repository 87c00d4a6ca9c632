#!/usr/bin/env bash
# One line and an exit status for monitoring: is everything on air that should be?
#
#   scripts/health.sh [STREAM_ID]
#
#   0 healthy      every wanted stream runs as wanted
#   1 degraded     on air, but not as wanted (slate, a destination down, starting), or the
#                  controller cannot save its state
#   2 down         a wanted stream is off air
#   3 unreachable  the controller does not answer
# CONTROLLER_URL, CONTROLLER_API_TOKEN: from the environment or the environment file.
set -euo pipefail
HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=lib/api.sh
. "$HERE/lib/api.sh"

parse_stream_id "$@"

# Whoever watches must not take a refusal for health.
get() {
    request GET "$1"
    if [ "$HTTP_STATUS" != 200 ]; then
        printf 'unreachable: '
        show_refusal 2>&1
        exit "$EXIT_UNREACHABLE"
    fi
}

get /health
CONTROLLER=$BODY
get "/streams/status${STREAM_ID:+?stream_id=$STREAM_ID}"
VERDICT=$(jq -r --argjson controller "$CONTROLLER" -f "$HERE/lib/verdict.jq" <<<"$BODY")
printf '%s\n' "${VERDICT#* }"
exit "${VERDICT%% *}"
