"""The README's container, word by word; `docker` is podman's here."""

from __future__ import annotations

import shutil
import unittest
from pathlib import Path

from hub_upgrade.version import VERSION
from tests.e2e.harness import wait_for
from tests.outside.containers.scene import BASE
from tests.outside.readme.blocks import said
from tests.outside.readme.machine import MachineCase
from tests.outside.readme.visitor import Visitor

NEXT = "0.2.0"
CONF = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=8000:8000"]
log_driver = "k8s-file"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
IMAGE = "localhost/base"
DOCKER = f"""\
docker() {{
    if [ "$1" = build ]; then shift; set -- build --build-arg BASE={IMAGE} "$@"; fi
    /usr/bin/docker "$@"
}}
"""
"""The only word that is put in: the base's."""
START = "mkdir image"
PUBLISH = """echo '{"releases": "published"}' > hub.json"""
REMOVE = "docker rm -f hub"


class Container(MachineCase):
    def setUp(self) -> None:
        super().setUp()
        upper = Path(self.machine.directory, "upper")
        shutil.copyfile(BASE, upper / "root" / "base.tar")
        (upper / "etc" / "containers").mkdir(exist_ok=True)
        (upper / "etc" / "containers" / "containers.conf").write_text(CONF)
        (upper / "etc" / "containers" / "nodocker").touch()
        self.machine.sh(f"podman import --quiet ../base.tar {IMAGE}")
        self.machine.sh(said("python3 build_pyz.py"))
        self.visitor = Visitor(self.machine.process)
        self.addCleanup(self.machine.run, "podman rm --all --force --time=0")

    def docker(self, text: str) -> str:
        return self.machine.sh(DOCKER + text, limit_s=120)

    def serves(self, version: str) -> None:
        wait_for(lambda: self.visitor.version() == version, f"{version}: {self.told()}")

    def told(self) -> str:
        return self.machine.run("docker logs hub 2>&1").stdout

    def test_built_run_upgraded_made_anew_and_removed(self) -> None:
        *start, logs = said(START).splitlines()
        self.docker("\n".join(start))
        self.serves(VERSION)
        wait_for(lambda: "sign in" in self.told(), "the link")
        self.visitor.signs_in(self.docker(logs))
        self.assertEqual(self.visitor.ask("/api/hub").json()["mode"], "in-place")
        self.docker("docker exec hub python3 /opt/hub.pyz doctor --health")
        self.docker(f"python3 build_pyz.py --version {NEXT} --output dist/hub-{NEXT}.pyz")
        config, copied, restart, *rest = said(PUBLISH).splitlines()
        self.docker(f"{config}\n{copied}\n{restart}")
        self.serves(VERSION)
        told = self.docker("\n".join(rest))
        self.assertIn(f"Upgraded: {VERSION} -> {NEXT}, and proven.", told)
        self.docker("docker stop hub")
        state = self.machine.sh("docker inspect --format='{{.State.ExitCode}}' hub")
        self.assertEqual(state.strip(), "0")
        self.docker("docker rm hub")
        self.docker(next(line for line in start if line.startswith("docker run")))
        self.serves(NEXT)
        self.docker(said(REMOVE))
        images = "podman images --format '{{.Names}}' | grep -v base || :"
        left = self.machine.sh(f"podman ps --all --quiet; podman volume ls --quiet; {images}")
        self.assertEqual("", left)


if __name__ == "__main__":
    unittest.main()
