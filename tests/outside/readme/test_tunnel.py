"""The README's SSH tunnel, word by word, from a laptop with a network of its own."""

from __future__ import annotations

import subprocess
import unittest

from hub_upgrade.version import VERSION
from tests.e2e.harness import children_of, wait_for
from tests.outside.readme.blocks import said
from tests.outside.readme.server import ServerCase
from tests.outside.readme.visitor import Visitor

SERVER, LAPTOP = "10.19.39.1", "10.19.39.2"
NAME = "server.example"


class Laptop(ServerCase):
    """Its network is one cable away from the server's; its disk is the server's, for its tools."""

    def setUp(self) -> None:
        super().setUp()
        self.install()
        holder = subprocess.Popen(
            [*self.machine.inside(), "unshare", "--net", "sh", "-c", "echo $$; exec sleep 600"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert holder.stdout is not None
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        pid = int(holder.stdout.readline())  # as the machine numbers it
        self.laptop = children_of(holder.pid)[0]
        self.network = f"nsenter --net=/proc/{pid}/ns/net"
        self.machine.sh(
            f"ip link add to-laptop type veth peer name to-server netns {pid}; "
            f"ip address add {SERVER}/30 dev to-laptop; ip link set to-laptop up; "
            f"{self.network} ip address add {LAPTOP}/30 dev to-server; "
            f"{self.network} ip link set to-server up; {self.network} ip link set lo up; "
            f"echo {SERVER} {NAME} >>/etc/hosts"
        )
        # Somebody who may log in, and whose server is known: the README begins after that.
        self.machine.sh(
            "useradd --create-home --shell /bin/sh you; mkdir -p /root/.ssh /home/you/.ssh; "
            "ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519; "
            "cp /root/.ssh/id_ed25519.pub /home/you/.ssh/authorized_keys; chown -R you: /home/you; "
            f"ssh-keyscan -t ed25519 {NAME} >/root/.ssh/known_hosts 2>/dev/null"
        )

    def on_laptop(self, script: str) -> subprocess.CompletedProcess[str]:
        return self.machine.run(f"{self.network} sh -c '{script}'")

    def test_the_page_through_a_tunnel(self) -> None:
        health = "curl --silent --max-time 5 http://127.0.0.1:1939/health"
        self.assertEqual("", self.on_laptop(health).stdout)
        tunnel = subprocess.Popen(
            [*self.machine.inside(), "env", "-i", "HOME=/root", "PATH=/usr/bin:/bin",
             *self.network.split(), "sh", "-c",
             said("ssh -N -L 1939:127.0.0.1:1939 you@server.example")],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.addCleanup(tunnel.wait)
        self.addCleanup(tunnel.kill)
        wait_for(lambda: VERSION in self.on_laptop(health).stdout, "the hub on the laptop")
        link = self.machine.sh(said("su - parachute -c 'hub.pyz token link'"))
        self.assertTrue(link.startswith("http://127.0.0.1:1939/#code="), link)
        Visitor(self.laptop).signs_in(link)
        self.machine.sh("pkill -x ssh")
        tunnel.wait()
        self.assertEqual("", self.on_laptop(health).stdout)


if __name__ == "__main__":
    unittest.main()
