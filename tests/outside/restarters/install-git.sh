#!/bin/sh
# git for the throwaway machines of this suite, whose tree (the README's server) has none: the
# program and its own names alone, of the same Debian. Made once, from the system's mirror.
# Usage: sh install-git.sh OUTSIDE_DIR; safe to run again. As root, with mmdebstrap on the path.
set -eu

outside=$1/restarters
suite=bookworm
layer=$outside/git-$suite

if [ ! -e "$layer" ]; then
    mkdir -p "$outside"
    scratch=$(mktemp -d "$outside/git.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    mmdebstrap --quiet --variant=extract --include=git "$suite" "$scratch/tree" \
        2>"$scratch/log" || { cat "$scratch/log" >&2; exit 1; }
    mkdir -p "$scratch/layer/usr/bin" "$scratch/layer/usr/lib/git-core"
    cp -a "$scratch/tree/usr/bin/git" "$scratch/layer/usr/bin/git"
    for name in git git-upload-pack; do
        ln -s ../../bin/git "$scratch/layer/usr/lib/git-core/$name"
    done
    ln -s git "$scratch/layer/usr/bin/git-upload-pack"
    mv "$scratch/layer" "$layer"
fi
