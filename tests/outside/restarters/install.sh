#!/bin/sh
# What the suite of restarters needs: the README's server, over which each test boots a machine with
# systemd as its process 1, and a program with a compiler of its own at run time (bun, the suite of
# sources').
# Usage: sh install.sh OUTSIDE_DIR; safe to run again. As root.
set -eu

here=$(dirname "$0")

sh "$here/../readme/install.sh" "$1"
sh "$here/../sources/install.sh" "$1"
for more in install-git.sh install-macos.sh install-containers.sh; do
    test ! -e "$here/$more" || sh "$here/$more" "$1"
done
