# shellcheck shell=bash
# Settings and small talk for the scripts beside this folder, which source it.
#
# The environment file is STREAM_CONTROLLER_ENV, ./.env or
# /etc/stream-controller/stream-controller.env, the first that can be read. It is read as systemd
# reads it (NAME=value, # comments, quotes), and never sourced: a key may hold `$` or a blank.

readonly EXIT_USAGE=64

# Tells what is wrong and ends the script with the given status.
fail() {
    local status=$1
    shift
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "$status"
}

# Prints the comment at the top of the calling script.
usage() {
    sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
}

# Ends the script unless these programs are there.
need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail "$EXIT_USAGE" "needs $tool: apt-get install $tool"
    done
}

# The path of the environment file; nothing when there is none.
env_file() {
    local file
    for file in "${STREAM_CONTROLLER_ENV-}" ./.env /etc/stream-controller/stream-controller.env; do
        if [ -n "$file" ] && [ -r "$file" ]; then
            printf '%s\n' "$file"
            return
        fi
    done
}

# Its assignments as NAME=value lines, quotes removed.
env_lines() {
    local file
    file=$(env_file)
    [ -n "$file" ] || return 0
    sed -n -E \
        -e 's/^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)[[:space:]]*=[[:space:]]*/\1=/; T' \
        -e 's/[[:space:]]+$//' \
        -e 's/^([^=]*=)(["'"'"'])(.*)\2$/\1\3/' \
        -e p "$file"
}

# The value of a variable: the environment's, else the file's.
setting() {
    local name=$1 line value=
    if [ -n "${!name-}" ]; then
        value=${!name}
    else
        while IFS= read -r line; do
            [ "${line%%=*}" != "$name" ] || value=${line#*=}
        done < <(env_lines)
    fi
    printf '%s\n' "$value"
}

# Exports what the file sets and the environment does not.
load_env_file() {
    local line name
    while IFS= read -r line; do
        name=${line%%=*}
        [ -n "${!name-}" ] || export "${line?}"
    done < <(env_lines)
}

# The installed controller, else the one built here.
controller_binary() {
    local file here
    here=$(dirname -- "${BASH_SOURCE[0]}")
    for file in "${CONTROLLER_BIN-}" "$here/../../bin/stream-controller" \
        /opt/stream-controller/current/bin/stream-controller \
        "$here/../../target/release/stream-controller" "$here/../../target/debug/stream-controller"; do
        if [ -n "$file" ] && [ -x "$file" ]; then
            printf '%s\n' "$file"
            return
        fi
    done
    fail "$EXIT_USAGE" "no stream-controller here: build it (cargo build --release) or set CONTROLLER_BIN"
}
