#!/bin/sh
# What the container suite needs: podman with runc, mkfs.ext4, and a base tree of Debian's own
# interpreter and little else (mmdebstrap, from the system's mirror; made once).
# Usage: sh install.sh OUTSIDE_DIR; safe to run again. As root.
set -eu

outside=$1/containers
suite=bookworm

wanted=
for pair in podman:podman runc:runc conmon:conmon mmdebstrap:mmdebstrap mkfs.ext4:e2fsprogs \
    iptables:iptables catatonit:catatonit newuidmap:uidmap; do
    command -v "${pair%%:*}" >/dev/null || wanted="$wanted ${pair#*:}"
done
test -e /usr/lib/podman/netavark || wanted="$wanted netavark aardvark-dns"
if [ -n "$wanted" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null
    # shellcheck disable=SC2086 - these are several words
    apt-get -qq -y install --no-install-recommends $wanted >/dev/null
fi

if [ ! -e "$outside/base-$suite.tar" ]; then
    mkdir -p "$outside"
    scratch=$(mktemp -d "$outside/base.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    # dash and coreutils for the Dockerfile's RUN; python3 is the link that a package would make.
    mmdebstrap --quiet --variant=extract \
        --include=python3-minimal,libpython3-stdlib,base-files,dash,coreutils \
        "$suite" "$scratch/tree" 2>/dev/null
    test -e "$scratch/tree/usr/bin/python3" || ln -s python3.11 "$scratch/tree/usr/bin/python3"
    test -e "$scratch/tree/bin/sh" || ln -s dash "$scratch/tree/bin/sh"
    echo "root:x:0:0:root:/root:/bin/sh" >"$scratch/tree/etc/passwd" # as every image has
    rm -rf "$scratch/tree/usr/share/doc" "$scratch/tree/var/cache/apt" "$scratch/tree/var/lib/apt"
    tar -C "$scratch/tree" --numeric-owner -cf "$scratch/base.tar" .
    mv "$scratch/base.tar" "$outside/base-$suite.tar"
fi
