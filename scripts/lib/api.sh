# shellcheck shell=bash
# Talks to the controller's API for the scripts beside this folder, which source it.
#
# CONTROLLER_URL and CONTROLLER_API_TOKEN are taken from the environment, else from the environment
# file. The token reaches curl through its standard input: in its arguments `ps` would show it.

# shellcheck source=env.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/env.sh"

# shellcheck disable=SC2034 # for the scripts that source this
readonly EXIT_REFUSED=1 EXIT_UNREACHABLE=3

# Reads the one optional stream id into STREAM_ID; answers --help.
parse_stream_id() {
    STREAM_ID=
    case ${1-} in
    -h | --help)
        usage
        exit 0
        ;;
    -*) fail "$EXIT_USAGE" "unknown option $1; see --help" ;;
    esac
    [ $# -le 1 ] || fail "$EXIT_USAGE" "takes one stream id at most; see --help"
    # Goes into a JSON text and a URL below, so nothing else than an id may pass.
    [[ ${1-} =~ ^([a-z0-9][a-z0-9_-]{0,62})?$ ]] || fail "$EXIT_USAGE" "$1 is not a stream id"
    STREAM_ID=${1-}
}

# The controller's address: CONTROLLER_URL, else where CONTROLLER_BIND makes it listen.
controller_url() {
    local url bind
    url=$(setting CONTROLLER_URL)
    if [ -z "$url" ]; then
        bind=$(setting CONTROLLER_BIND)
        bind=${bind:-127.0.0.1:8080}
        bind=${bind/#0.0.0.0:/127.0.0.1:}
        bind=${bind/#\[::\]:/[::1]:}
        url=http://$bind
    fi
    printf '%s\n' "${url%/}"
}

# request METHOD PATH [JSON]: sets HTTP_STATUS and BODY. Ends the script when nobody answers; the
# controller gives a request up after 30 s and says so.
request() {
    local method=$1 path=$2 json=${3-} url answer
    url=$(controller_url)
    local options=(--silent --show-error --globoff --connect-timeout 3 --max-time 40
        --request "$method" --header @- --write-out '\n%{http_code}')
    [ -z "$json" ] || options+=(--header 'Content-Type: application/json' --data-binary "$json")
    if ! answer=$(auth_header | curl "${options[@]}" "$url$path" 2>&1); then
        printf 'unreachable: no answer from %s (%s)\n' "$url" "${answer%%$'\n'*}" >&2
        printf 'Is it running? systemctl status stream-controller\n' >&2
        exit "$EXIT_UNREACHABLE"
    fi
    HTTP_STATUS=${answer##*$'\n'}
    BODY=${answer%$'\n'*}
}

auth_header() {
    local token
    token=$(setting CONTROLLER_API_TOKEN)
    [ -z "$token" ] || printf 'Authorization: Bearer %s\n' "$token"
}

# Shows the refusal in BODY, each problem on a line.
show_refusal() {
    jq -r '.error | "\(.code): \(.message)", (.problems[]? | "  - \(.path): \(.message)")' \
        <<<"$BODY" >&2 2>/dev/null ||
        printf 'HTTP %s from %s\n' "$HTTP_STATUS" "$(controller_url)" >&2
    case $HTTP_STATUS in
    401 | 403)
        printf 'Set CONTROLLER_API_TOKEN, or run this as a user who can read %s.\n' \
            "${STREAM_CONTROLLER_ENV:-/etc/stream-controller/stream-controller.env}" >&2
        ;;
    esac
}

# The body that names STREAM_ID, if one was given.
stream_ref() {
    [ -z "$STREAM_ID" ] || printf '{"stream_id":"%s"}' "$STREAM_ID"
}

need curl jq
