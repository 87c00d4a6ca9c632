#!/usr/bin/env bash
# Puts the installed worker into the streams that are on air. They stay on air: no platform sees a
# reconnect. Streams that run it already are left alone.
#
#   scripts/upgrade.sh [STREAM_ID]    without an id: every stream, one after another
#
# Exits 0 upgraded or nothing to do, 1 refused or failed (told why; that stream goes on with the worker
# it had), 3 controller unreachable.
# CONTROLLER_URL, CONTROLLER_API_TOKEN: from the environment or the environment file.
set -euo pipefail
HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=lib/api.sh
. "$HERE/lib/api.sh"

parse_stream_id "$@"
if [ -n "$STREAM_ID" ]; then
    request POST "/streams/$STREAM_ID/upgrade"
    if [ "$HTTP_STATUS" != 200 ]; then
        show_refusal
        exit "$EXIT_REFUSED"
    fi
    jq -r --arg id "$STREAM_ID" '"\($id): upgraded from \(.from) to \(.to) in \(.took_ms) ms"' <<<"$BODY"
    exit 0
fi
request POST /streams/upgrade
if [ "$HTTP_STATUS" != 200 ]; then
    show_refusal
    exit "$EXIT_REFUSED"
fi
jq -r 'if .streams == [] then "nothing to upgrade" else .streams[] |
    if .upgrade then "\(.stream_id): upgraded from \(.upgrade.from) to \(.upgrade.to) in \(.upgrade.took_ms) ms"
    else "\(.stream_id): \(.error)" end end' <<<"$BODY"
jq -e 'all(.streams[]; .upgrade != null)' <<<"$BODY" >/dev/null || exit "$EXIT_REFUSED"
