#!/usr/bin/env bash
# Installs what the tests need on a machine that has only Rust, and runs all of them.
#
#   ./scripts/test.sh                 everything
#   ./scripts/test.sh bad_input       only tests whose name contains the text
#
# Packages come from apt (Debian, Ubuntu); other FFmpeg versions come from PyPI into .cache/ffmpeg.
# What cannot be had is left out, and the tests that needed it are listed as SKIPPED at the end. So are those
# with a real MediaMTX, which no distribution packages: put a `mediamtx` on the PATH to run them.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1-} in
  -h | --help)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
  -*)
    echo "test.sh: unknown option $1; see --help" >&2
    exit 64
    ;;
esac

say() { printf '\n== %s\n' "$*"; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# The file or command that shows that a package is there, and the package.
readonly NEEDED=(
  cc:gcc
  ffmpeg:ffmpeg
  ffprobe:ffmpeg
  nginx:nginx
  /usr/lib/nginx/modules/ngx_rtmp_module.so:libnginx-mod-rtmp
  jq:jq
  curl:curl
  setpriv:util-linux
  strace:strace
  ip:iproute2
  nft:nftables
  faketime:faketime
  /lib/systemd/systemd:systemd
  dbus-daemon:dbus
  /etc/ssl/certs/ca-certificates.crt:ca-certificates
)

install_packages() {
  local missing=() entry
  for entry in "${NEEDED[@]}"; do
    case $entry in
      /*) [ -e "${entry%%:*}" ] || missing+=("${entry##*:}") ;;
      *) command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  if ! command -v apt-get >/dev/null; then
    echo "this machine has no apt-get; install by hand: ${missing[*]}" >&2
    exit 1
  fi
  local had_nginx=no
  if command -v nginx >/dev/null; then had_nginx=yes; fi
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
  # The tests start an nginx of their own; the package's service would only hold port 80.
  if [ $had_nginx = no ] && [ -d /run/systemd/system ]; then
    as_root systemctl disable --now nginx || true
  fi
}

# install_optional WHAT PACKAGE...: what only some tests need. Where it cannot be had, they say SKIPPED.
install_optional() {
  local what=$1
  shift
  say "installing $what"
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
    echo "$what cannot be had; its tests will be skipped"
}

# For the page's look. Ubuntu has only a snap of it.
install_browser() {
  local browser
  for browser in chromium chromium-browser google-chrome google-chrome-stable; do
    ! command -v "$browser" >/dev/null || return 0
  done
  install_optional Chromium chromium
}

# A real OBS on a screen of its own.
install_obs() {
  if ! command -v obs >/dev/null || ! command -v Xvfb >/dev/null; then
    install_optional OBS obs-studio xvfb
  fi
}

# A camera: GStreamer's RTSP server. Debian's own Python finds the packaged bindings.
install_rtsp_server() {
  /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")' 2>/dev/null ||
    install_optional "GStreamer's RTSP server" \
      python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good
}

# fetch_ffmpeg VERSION WHEEL_VERSION SHA256: an FFmpeg as imageio-ffmpeg packs it for x86-64.
fetch_ffmpeg() {
  local version=$1 wheel=$2 sum=$3 directory=.cache/ffmpeg/$1
  [ ! -x "$directory/ffmpeg" ] || return 0
  if [ "$(uname -m)" != x86_64 ] || ! python3 -m pip --version >/dev/null 2>&1; then
    echo "FFmpeg $version: needs x86-64 and pip; its tests will be skipped"
    return 0
  fi
  say "fetching FFmpeg $version"
  local work
  work=$(mktemp -d)
  echo "imageio-ffmpeg==$wheel --hash=sha256:$sum" >"$work/requirements.txt"
  if python3 -m pip download --quiet --no-deps --require-hashes --only-binary=:all: \
    --dest "$work" --requirement "$work/requirements.txt"; then
    python3 -m zipfile -e "$work"/*.whl "$work"
    mkdir -p "$directory"
    install -m 0755 "$work"/imageio_ffmpeg/binaries/ffmpeg-* "$directory/ffmpeg"
    "$directory/ffmpeg" -version | head -n 1
  else
    echo "FFmpeg $version could not be fetched; its tests will be skipped"
  fi
  rm -rf "$work"
}

summary() {
  local log=$1 failed=$2
  say "summary"
  grep '^SKIPPED ' "$log" || true
  awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
       END { printf "%d passed, %d failed, %d ignored", passed, failed, ignored }' "$log"
  printf ', %d skipped, %d minutes %d seconds in all\n' \
    "$(grep -c '^SKIPPED ' "$log" || true)" $((SECONDS / 60)) $((SECONDS % 60))
  if [ "$failed" -ne 0 ]; then
    grep -E '^test .* FAILED$' "$log" | sort -u || true
    echo "FAILED"
    exit 1
  fi
  echo "all tests passed"
}

install_packages
install_browser
install_obs
install_rtsp_server
fetch_ffmpeg 7.0 0.6.0 c7e46fcec401dd990405049d2e2f475e2b397779df2519b544b8aab515195282
fetch_ffmpeg 9.0 0.8.1 050d6850601c3b3890bd2b28306f3b842b3daea390a561101174375a1c460bda

say "building"
# All targets, because that is how the tests need them: it builds the binaries once, not twice.
cargo build --locked --workspace --all-targets

say "testing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
cargo test --locked --workspace --no-fail-fast -- "$@" 2>&1 | tee "$log" || failed=1
summary "$log" "$failed"
