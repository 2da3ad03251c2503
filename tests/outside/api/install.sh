#!/bin/sh
# What the API suite needs: Schemathesis and a validator of OpenAPI documents (PyPI), in a virtual
# environment of its own, made with $PYTHON (3.11 or newer), else with the python3 on the path.
# Usage: sh install.sh OUTSIDE_DIR; safe to run again.
set -eu

schemathesis=4.32.5
validator=0.9.0

outside=$1
venv=$outside/schemathesis
mark=$venv/$schemathesis-$validator

if [ ! -e "$mark" ] || ! "$venv/bin/python" -c ''; then
    mkdir -p "$outside"
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check \
        "schemathesis==$schemathesis" "openapi-spec-validator==$validator"
    : >"$mark"
fi
