#!/usr/bin/env bash
# Uploads files to the media store.
#
#   scripts/upload_media.sh FILE… [PREFIX/]
#
# A last argument that ends in "/" and is no folder here is put before each file's name:
#   scripts/upload_media.sh ~/videos/*.mp4 shows/
# The store and its keys are those of the environment file (docs/upload.md); nothing secret is put on
# a command line. Exits 0 when all files have arrived.
set -euo pipefail
HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=lib/env.sh
. "$HERE/lib/env.sh"

case ${1-} in
-h | --help)
    usage
    exit 0
    ;;
'')
    usage >&2
    exit "$EXIT_USAGE"
    ;;
esac

KEY=()
if [[ ${*: -1} == */ && ! -d ${*: -1} ]]; then
    KEY=(--key "${*: -1}")
    set -- "${@:1:$#-1}"
fi
for file in "$@"; do
    if [ ! -f "$file" ] || [ ! -r "$file" ]; then
        fail "$EXIT_USAGE" "$file is not a file that can be read"
    fi
done
CONTROLLER=$(controller_binary)
load_env_file
"$CONTROLLER" media upload "${KEY[@]}" -- "$@"

# What root put into the service's own folder, the service must be able to replace.
SERVICE_MEDIA=/var/lib/stream-controller/media
if [ "$(id -u)" = 0 ] && [ "${STORAGE_PROVIDER:-local}" = local ] && [ -d "$SERVICE_MEDIA" ]; then
    chown -R stream:stream "$SERVICE_MEDIA"
fi
