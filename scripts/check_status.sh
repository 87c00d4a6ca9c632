#!/usr/bin/env bash
# Shows the controller and its streams for people.
#
#   scripts/check_status.sh [STREAM_ID]
#   scripts/check_status.sh --json [STREAM_ID]    the API's own answer
#
# Exits 0 shown, 1 refused, 3 controller unreachable. For monitoring use health.sh.
# CONTROLLER_URL, CONTROLLER_API_TOKEN: from the environment or the environment file.
set -euo pipefail
HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=lib/api.sh
. "$HERE/lib/api.sh"

AS_JSON=no
ARGUMENTS=()
for argument in "$@"; do
    if [ "$argument" = --json ]; then AS_JSON=yes; else ARGUMENTS+=("$argument"); fi
done
parse_stream_id "${ARGUMENTS[@]}"

get() {
    request GET "$1"
    if [ "$HTTP_STATUS" != 200 ]; then
        show_refusal
        exit "$EXIT_REFUSED"
    fi
}

STATUS_PATH=/streams/status${STREAM_ID:+?stream_id=$STREAM_ID}
if [ "$AS_JSON" = yes ]; then
    get "$STATUS_PATH"
    jq . <<<"$BODY"
    exit 0
fi

get /health
jq -r -f "$HERE/lib/health.jq" <<<"$BODY"
get "$STATUS_PATH"
jq -r -f "$HERE/lib/status.jq" <<<"$BODY"

# The record of the last 24 hours is worth a line, and its absence is no reason to fail.
request GET "/health/uptime?window=24h${STREAM_ID:+&stream_id=$STREAM_ID}"
if [ "$HTTP_STATUS" = 200 ]; then
    jq -r -f "$HERE/lib/uptime.jq" <<<"$BODY"
fi
request GET "/health/transitions?window=30d&limit=100${STREAM_ID:+&stream_id=$STREAM_ID}"
if [ "$HTTP_STATUS" = 200 ]; then
    jq -r -f "$HERE/lib/lives.jq" <<<"$BODY"
fi
