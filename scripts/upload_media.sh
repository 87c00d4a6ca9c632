#!/usr/bin/env bash
# Uploads files to the media store.
#
#   scripts/upload_media.sh FILE… [PREFIX/]
#
# A last argument that ends in "/" is put before each file's name:
#   scripts/upload_media.sh ~/videos/*.mp4 shows/
# The store and its keys are those of the environment file (see docs/upload.md); nothing secret is
# put on a command line. Exits 0 when all files arrived, else with the status of the first failure.
set -euo pipefail
HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=lib/env.sh
. "$HERE/lib/env.sh"

case ${1-} in
-h | --help | '')
    usage
    [ $# -gt 0 ] && exit 0
    exit "$EXIT_USAGE"
    ;;
esac

PREFIX=
if [[ ${*: -1} == */ && ! -d ${*: -1} ]]; then
    PREFIX=${*: -1}
    set -- "${@:1:$#-1}"
fi
CONTROLLER=$(controller_binary)
load_env_file

for file in "$@"; do
    "$CONTROLLER" media upload "$file" "$PREFIX${file##*/}"
done
