#!/bin/sh
# What tells of processes on macOS (lsof, ps), and git for the checkout of a hub there.
set -eu

missing=
for program in lsof:lsof ps:procps git:git; do
    command -v "${program%:*}" >/dev/null || missing="$missing ${program#*:}"
done
test -z "$missing" || { apt-get -qq update && apt-get -qq -y install $missing; } >/dev/null
