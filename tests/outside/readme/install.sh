#!/bin/sh
# What the README's suite needs: mmdebstrap, and with it a small Debian server that is never
# started as it lies there: each test boots a throwaway layer over it. Made once, from the system's
# mirror; the base of its container image is the container suite's.
# Usage: sh install.sh OUTSIDE_DIR; safe to run again. As root.
set -eu

outside=$1/readme
suite=bookworm
server=$outside/server-$suite-2

sh "$(dirname "$0")/../containers/install.sh" "$1"
wanted=
for pair in mmdebstrap:mmdebstrap unshare:util-linux ip:iproute2; do
    command -v "${pair%%:*}" >/dev/null || wanted="$wanted ${pair#*:}"
done
if [ -n "$wanted" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null
    # shellcheck disable=SC2086 - these are several words
    apt-get -qq -y install --no-install-recommends $wanted >/dev/null
fi

if [ ! -e "$server" ]; then
    mkdir -p "$outside"
    scratch=$(mktemp -d "$outside/server.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    # What a server has, and the programs that the README names.
    mmdebstrap --quiet --variant=minbase \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --include=systemd-sysv,dbus,python3-minimal,libpython3-stdlib,make,curl,procps,iproute2 \
        --include=nginx-light,caddy,openssl,openssh-server,openssh-client,cron \
        --include=podman,podman-docker,runc,conmon,netavark,aardvark-dns,iptables,catatonit \
        "$suite" "$scratch/tree" 2>"$scratch/log" || { cat "$scratch/log" >&2; exit 1; }
    # Which of the two web servers starts with the machine is for the test to say.
    rm -f "$scratch"/tree/etc/systemd/system/multi-user.target.wants/caddy.service \
        "$scratch"/tree/etc/systemd/system/multi-user.target.wants/nginx.service
    rm -rf "$scratch/tree/var/cache/apt" "$scratch/tree/var/lib/apt/lists"
    mv "$scratch/tree" "$server"
fi
