#!/bin/sh
# What the browser suite needs: Chromium with its driver (Debian), axe-core (the npm registry).
# Usage: sh install.sh OUTSIDE_DIR; safe to run again.
set -eu

outside=$1
axe=4.14.1

wanted=
command -v chromium >/dev/null || wanted="$wanted chromium"
command -v chromedriver >/dev/null || wanted="$wanted chromium-driver"
command -v npm >/dev/null || wanted="$wanted nodejs npm"
test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf || wanted="$wanted fonts-dejavu-core"
if [ -n "$wanted" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null
    # shellcheck disable=SC2086 - these are several words
    apt-get -qq -y install --no-install-recommends $wanted >/dev/null
fi

if [ ! -e "$outside/axe-core-$axe/axe.min.js" ]; then
    mkdir -p "$outside"
    scratch=$(mktemp -d "$outside/axe.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    (cd "$scratch" && npm_config_cache="$scratch/cache" npm pack --silent "axe-core@$axe" >/dev/null)
    tar -xzf "$scratch/axe-core-$axe.tgz" -C "$scratch"
    rm -rf "$outside/axe-core-$axe"
    mv "$scratch/package" "$outside/axe-core-$axe"
fi
