#!/usr/bin/env bash
# Puts a stream on air.
#
#   scripts/start.sh [STREAM_ID]      the id may be left out when there is one stream
#
# Exits 0 started, 1 refused (told why), 3 controller unreachable.
# CONTROLLER_URL, CONTROLLER_API_TOKEN: from the environment or the environment file.
set -euo pipefail
HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=lib/api.sh
. "$HERE/lib/api.sh"

parse_stream_id "$@"
request POST /streams/start "$(stream_ref)"
if [ "$HTTP_STATUS" != 202 ]; then
    show_refusal
    exit "$EXIT_REFUSED"
fi
jq -r '"\(.stream_id): \(.state)"' <<<"$BODY"
