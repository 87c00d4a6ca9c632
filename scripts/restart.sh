#!/usr/bin/env bash
# Takes a stream off air and puts it on again, as a changed format needs. A stream that is not
# running is started.
#
#   scripts/restart.sh [STREAM_ID]    the id may be left out when there is one stream
#
# Viewers see an interruption. Neither a changed programme nor an upgrade of the controller needs it.
# Exits 0 started, 1 refused (told why), 3 controller unreachable.
# CONTROLLER_URL, CONTROLLER_API_TOKEN: from the environment or the environment file.
set -euo pipefail
HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=lib/api.sh
. "$HERE/lib/api.sh"

parse_stream_id "$@"
request POST /streams/stop "$(stream_ref)"
case $HTTP_STATUS in
200) jq -r '"\(.stream_id): \(.state)"' <<<"$BODY" ;;
*)
    if [ "$(jq -r '.error.code?' <<<"$BODY" 2>/dev/null)" != not_running ]; then
        show_refusal
        exit "$EXIT_REFUSED"
    fi
    ;;
esac
exec "$HERE/start.sh" "$@"
