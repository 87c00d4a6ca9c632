#!/usr/bin/env bash
# Takes a stream off air and waits until its worker is gone.
#
#   scripts/stop.sh [STREAM_ID]       the id may be left out when there is one stream
#
# Exits 0 stopped, 1 refused (told why), 3 controller unreachable.
# CONTROLLER_URL, CONTROLLER_API_TOKEN: from the environment or the environment file.
set -euo pipefail
HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=lib/api.sh
. "$HERE/lib/api.sh"

parse_stream_id "$@"
request POST /streams/stop "$(stream_ref)"
if [ "$HTTP_STATUS" != 200 ]; then
    show_refusal
    exit "$EXIT_REFUSED"
fi
jq -r '"\(.stream_id): \(.state)"' <<<"$BODY"
