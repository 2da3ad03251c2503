#!/bin/sh
# What the containers of the suite of restarters need: the suite of containers' podman and base,
# Docker and its compose, ip, and the readers of examples/ (from PyPI, into OUTSIDE_DIR).
# Usage: sh install-containers.sh OUTSIDE_DIR; safe to run again. As root.
set -eu

readers="check-jsonschema==0.39.0 kubernetes-validate==1.37.0 podman-compose==1.6.0"
tools=$1/restarters/readers-$(echo "$readers" | tr -c 'a-z0-9.\n' -)

sh "$(dirname "$0")/../containers/install.sh" "$1"
wanted=
for pair in /usr/sbin/dockerd:docker.io /usr/bin/docker-compose:docker-compose ip:iproute2; do
    command -v "${pair%%:*}" >/dev/null || wanted="$wanted ${pair#*:}"
done
if [ -n "$wanted" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null
    # The machine's own daemon is not to be started: each module has one of its own.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    # shellcheck disable=SC2086 - these are several words
    apt-get -qq -y install --no-install-recommends $wanted >/dev/null
fi

if [ ! -e "$tools/bin/podman-compose" ]; then
    mkdir -p "$1/restarters"
    rm -rf "$tools"
    python3 -m venv "$tools"
    # shellcheck disable=SC2086 - these are several words
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check $readers ||
        { rm -rf "$tools"; exit 1; }
    ln -sfn "$(basename "$tools")" "$1/restarters/readers"
fi
