#!/bin/sh
# What the suite of install sources needs: git, strace, curl, e2fsprogs, node and npm (Debian, where they are not on
# the path), bun (the npm registry), and pip in a virtual environment made with $PYTHON, else with
# the python3 on the path.
# Usage: sh install.sh OUTSIDE_DIR; safe to run again.
set -eu

bun=1.4.5
pip=26.3

outside=$1/sources
venv=$outside/venv

wanted=
command -v git >/dev/null || wanted="$wanted git"
command -v strace >/dev/null || wanted="$wanted strace"
command -v curl >/dev/null || wanted="$wanted curl"
command -v mkfs.ext4 >/dev/null || wanted="$wanted e2fsprogs"
command -v npm >/dev/null || wanted="$wanted nodejs npm"
if [ -n "$wanted" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null
    # shellcheck disable=SC2086 - these are several words
    apt-get -qq -y install --no-install-recommends $wanted >/dev/null
fi

if [ "$("$outside/node_modules/.bin/bun" --version 2>/dev/null)" != "$bun" ]; then
    mkdir -p "$outside"
    rm -rf "$outside/node_modules"
    scratch=$(mktemp -d "$outside/npm.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    (cd "$outside" && npm install --silent --no-audit --no-fund --no-save --no-package-lock \
        --prefix "$outside" --cache "$scratch" "bun@$bun")
fi

if [ ! -e "$venv/pip-$pip" ] || ! "$venv/bin/python" -c ''; then
    mkdir -p "$outside"
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check "pip==$pip"
    : >"$venv/pip-$pip"
fi
