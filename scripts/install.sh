#!/usr/bin/env bash
# Installs or upgrades stream-controller as a systemd service. Run as root, as often as you like.
#
#   scripts/install.sh                 from the binaries in target/release; run from an installed
#                                      release, it is that release again: for changed settings
#   scripts/install.sh --bin-dir DIR   from the binaries in DIR
#   scripts/install.sh --rollback      back to the release before this one
#   scripts/install.sh --dry-run …     show each step, change nothing
#   scripts/install.sh --no-start …    install only; do not start or restart the service
#
# What is where afterwards:
#   /opt/stream-controller/releases/…    binaries, scripts and docs; current and previous point there
#   /etc/stream-controller/stream-controller.env    settings and secrets, 0600; never overwritten
#   /var/lib/stream-controller           configuration, state, logs, local media; user stream
# Streams stay on air during an upgrade or rollback: running workers keep their old binary until
# scripts/upgrade.sh puts the installed one in, on air, or their stream is restarted.
#
# Exits 0 done, 1 failed (told why; what was installed before stays), 64 not called as above.
set -euo pipefail
HERE=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=lib/env.sh
. "$HERE/lib/env.sh"

readonly SOURCE=$HERE/..
readonly OPT=/opt/stream-controller ETC=/etc/stream-controller VAR=/var/lib/stream-controller
readonly UNIT=stream-controller.service SOCKET=stream-controller.socket
readonly UNITS=/etc/systemd/system
# The socket unit's address is the settings' CONTROLLER_BIND.
readonly ADDRESS_FILE=$UNITS/$SOCKET.d/address.conf
readonly ENV_FILE=$ETC/stream-controller.env
readonly KEPT_RELEASES=3

BIN_DIR=$SOURCE/target/release
[ ! -x "$SOURCE/bin/stream-controller" ] || BIN_DIR=$SOURCE/bin
DRY_RUN=no
ROLLBACK=no
START=yes
while [ $# -gt 0 ]; do
    case $1 in
    --bin-dir)
        [ $# -gt 1 ] || fail "$EXIT_USAGE" "--bin-dir needs a directory"
        BIN_DIR=$2
        shift
        ;;
    --dry-run) DRY_RUN=yes ;;
    --rollback) ROLLBACK=yes ;;
    --no-start) START=no ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) fail "$EXIT_USAGE" "unknown option $1; see --help" ;;
    esac
    shift
done

say() { printf '%s\n' "$*"; }

# Does it, or says what would be done.
run() {
    if [ "$DRY_RUN" = yes ]; then
        printf 'would run: %s\n' "${*@Q}"
    else
        "$@"
    fi
}

has_systemd() { [ -d /run/systemd/system ]; }

install_packages() {
    local tool missing=()
    # Debian's ffmpeg brings ffprobe.
    for tool in ffmpeg curl jq; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    # What rtmps is checked against.
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
    # By which the controller learns whether its unit is stopped or restarted.
    ! has_systemd || [ -S /run/dbus/system_bus_socket ] || missing+=(dbus)
    [ ${#missing[@]} -gt 0 ] || return 0
    say "packages: ${missing[*]}"
    command -v apt-get >/dev/null || fail 1 "no apt-get here: install ${missing[*]} and run this again"
    run apt-get update -qq
    run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

create_user() {
    ! id stream >/dev/null 2>&1 || return 0
    say "user: stream"
    run useradd --system --user-group --home-dir "$VAR" --no-create-home --shell /usr/sbin/nologin stream
}

create_directories() {
    run install -d -m 0755 "$OPT" "$OPT/releases"
    run install -d -m 0750 "$ETC"
    run install -d -m 0750 -o stream -g stream "$VAR" "$VAR/media"
}

create_env_file() {
    if [ -e "$ENV_FILE" ]; then
        run chmod 0600 "$ENV_FILE"
        return 0
    fi
    say "settings: $ENV_FILE, with a new API token"
    [ "$DRY_RUN" = no ] || return 0
    local token
    token=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
    # Made complete beside its place, so that a half-written file is never taken for the real one.
    (
        umask 077
        sed "s/^#CONTROLLER_API_TOKEN=\$/CONTROLLER_API_TOKEN=$token/" "$SOURCE/.env.example" >"$ENV_FILE.new"
    )
    mv "$ENV_FILE.new" "$ENV_FILE"
}

# Checksums of all that a release consists of.
content() {
    sha256sum <"$BIN_DIR/stream-controller"
    sha256sum <"$BIN_DIR/stream-worker"
    (
        cd "$SOURCE"
        find scripts docs deploy systemd .env.example -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    )
}

# Copies the release and makes it current. Its name is its content, so the same one is found again.
install_release() {
    local binary version sum release
    for binary in stream-controller stream-worker; do
        [ -x "$BIN_DIR/$binary" ] || fail 1 "no $BIN_DIR/$binary: run cargo build --release first"
    done
    version=$("$BIN_DIR/stream-controller" --version | awk '{print $2}')
    sum=$(content | sha256sum)
    release=releases/$version-${sum:0:12}
    if [ ! -d "$OPT/$release" ]; then
        say "release: $OPT/$release"
        run rm -rf "$OPT/$release.new"
        run install -d -m 0755 "$OPT/$release.new/bin" "$OPT/$release.new/systemd"
        run install -m 0755 "$BIN_DIR/stream-controller" "$BIN_DIR/stream-worker" "$OPT/$release.new/bin/"
        run cp -r "$SOURCE/scripts" "$SOURCE/docs" "$SOURCE/deploy" "$SOURCE/.env.example" "$OPT/$release.new/"
        run install -m 0644 "$SOURCE/systemd/$UNIT" "$SOURCE/systemd/$SOCKET" "$OPT/$release.new/systemd/"
        run mv -T "$OPT/$release.new" "$OPT/$release"
    fi
    make_current "$release"
}

# Points `current` at a release, and `previous` at the one before, each in one step.
make_current() {
    local release=$1 before
    before=$(readlink "$OPT/current" || true)
    if [ "$before" = "$release" ]; then
        say "release: ${release#releases/} is current already"
        return 0
    fi
    [ -z "$before" ] || point previous "$before"
    point current "$release"
    CHANGED=yes
}

point() {
    say "$1: ${2#releases/}"
    run ln -sfn "$2" "$OPT/$1.new"
    run mv -T "$OPT/$1.new" "$OPT/$1"
}

# Only releases beyond the kept ones, and never current or previous.
remove_old_releases() {
    local release
    [ -d "$OPT/releases" ] || return 0
    # Release names hold no line ends; they are made above.
    # shellcheck disable=SC2012
    ls -1t "$OPT/releases" | tail -n +$((KEPT_RELEASES + 1)) | while IFS= read -r release; do
        case releases/$release in
        "$(readlink "$OPT/current")" | "$(readlink "$OPT/previous")") ;;
        *)
            say "removing old release: $release"
            run rm -rf "$OPT/releases/$release"
            ;;
        esac
    done
}

install_units() {
    local from=$OPT/current/systemd
    [ "$DRY_RUN" = no ] || [ -e "$from/$UNIT" ] || from=$SOURCE/systemd
    install_unit "$from/$UNIT"
    if [ -e "$from/$SOCKET" ]; then
        install_unit "$from/$SOCKET"
        install_address
    elif [ -e "$UNITS/$SOCKET" ]; then
        # A release from before there was one binds the address itself.
        say "removing: $UNITS/$SOCKET"
        run rm -rf "${UNITS:?}/$SOCKET" "${ADDRESS_FILE%/*}"
        MOVED=yes CHANGED=yes
    fi
    [ "$CHANGED" = no ] || ! has_systemd || run systemctl daemon-reload
}

install_unit() {
    local file=$UNITS/${1##*/}
    ! cmp -s "$1" "$file" || return 0
    say "unit: $file"
    run install -m 0644 "$1" "$file"
    CHANGED=yes
}

install_address() {
    local bind text
    bind=$(STREAM_CONTROLLER_ENV=$ENV_FILE CONTROLLER_BIND='' setting CONTROLLER_BIND)
    bind=${bind:-127.0.0.1:8080}
    # It goes into a unit: nothing else than an address may.
    [[ $bind =~ ^([0-9.]+|\[[0-9a-fA-F:.]+\]):[0-9]+$ ]] ||
        fail "$EXIT_USAGE" "CONTROLLER_BIND=$bind in $ENV_FILE is not an address like 127.0.0.1:8080"
    text=$(printf '# From CONTROLLER_BIND, by scripts/install.sh.\n[Socket]\nListenStream=\nListenStream=%s' "$bind")
    [ "$(cat "$ADDRESS_FILE" 2>/dev/null)" != "$text" ] || return 0
    say "address: $bind"
    run install -d -m 0755 "${ADDRESS_FILE%/*}"
    [ "$DRY_RUN" = yes ] || printf '%s\n' "$text" >"$ADDRESS_FILE"
    MOVED=yes CHANGED=yes
}

start_service() {
    if ! has_systemd; then
        say "systemd does not run here: start $OPT/current/bin/stream-controller in your own way"
        return 0
    fi
    # The service starts the socket, so this is for both.
    run systemctl enable --quiet "$UNIT"
    # A socket that is open keeps its address; the restart below opens it at the new one.
    if [ "$MOVED" = yes ] && [ "$START" = yes ] && systemctl is-active --quiet "$SOCKET"; then
        run systemctl stop "$SOCKET"
    fi
    if [ "$START" = no ]; then
        say "not started: systemctl restart $UNIT"
    elif ! systemctl is-active --quiet "$UNIT"; then
        say "starting $UNIT"
        run systemctl start "$UNIT" || not_up
    elif [ "$CHANGED" = yes ]; then
        say "restarting $UNIT; streams stay on air"
        run systemctl restart "$UNIT" || not_up
    else
        say "$UNIT runs and nothing has changed"
    fi
}

# Type=notify: start and restart have waited until it serves.
not_up() {
    journalctl -u "$UNIT" -n 20 --no-pager >&2 || true
    fail 1 "$UNIT did not come up; its last lines are above. Settings are in $ENV_FILE.$(
        [ ! -e "$OPT/previous" ] || printf ' Back to the release before: %s --rollback' "$OPT/current/scripts/install.sh"
    )"
}

CHANGED=no
MOVED=no
[ "$DRY_RUN" = yes ] || [ "$(id -u)" = 0 ] || fail 1 "must be run as root (or with --dry-run)"
if [ "$ROLLBACK" = yes ]; then
    PREVIOUS=$(readlink "$OPT/previous" || true)
    [ -n "$PREVIOUS" ] || fail 1 "there is no release before this one"
    make_current "$PREVIOUS"
else
    install_packages
    create_user
    create_directories
    create_env_file
    install_release
    remove_old_releases
fi
install_units
start_service
[ "$DRY_RUN" = yes ] || say "done. Next: $OPT/current/docs/deployment.md"
