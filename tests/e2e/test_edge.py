"""Every kind of address a hub can listen on: served, printed, told, reached, and upgraded there."""

from __future__ import annotations

import json
import re
import socket
import unittest

from tests.e2e.harness import CONFIG, Hub, RealCase, build, cli, wait_for

URL = re.compile(r"http://[^\s/]+")


def has_ipv6() -> bool:
    """Whether this machine's loopback has an IPv6 address."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class AddressTest(RealCase):
    config = {**CONFIG, "probation_s": 0.2}

    def serving(self, host: str, bracketed: str) -> Hub:
        self.publish(build("1.1.0"))
        hub = self.hub()
        if host in ("::", "::1"):
            hub.host = "::1"
        hub.start("--host", host)
        self.assertEqual(hub.url, f"http://{bracketed}:{hub.port}")
        for url in URL.findall(hub.output()):
            self.assertNotIn(host + ":", url.replace(bracketed, ""), url)
        return hub

    def by_command_line(self, hub: Hub) -> None:
        """The command line finds it, and upgrades it where it is."""
        done = cli(hub.program, "upgrade", "--config-dir", hub.home)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        self.assertEqual(hub.wait_healthy()["version"], "1.1.0")
        told = cli(hub.program, "status", "--json", "--config-dir", hub.home)
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertEqual(json.loads(told.stdout)["phase"], "succeeded")

    def told_peer(self, hub: Hub, host: str) -> str:
        """The address that the record names when it is asked over this one."""
        hub.host = host
        record = hub.finished(hub.upgrade())
        self.assertEqual(record["phase"], "succeeded", record)
        return str(record["requested_by"]).rpartition(" from ")[2]

    def test_ipv4_loopback(self) -> None:
        hub = self.serving("127.0.0.1", "127.0.0.1")
        self.by_command_line(hub)
        self.assertEqual(self.told_peer(hub, "127.0.0.1"), "127.0.0.1")

    def test_every_ipv4_address(self) -> None:
        hub = self.serving("0.0.0.0", "0.0.0.0")
        self.by_command_line(hub)
        self.assertEqual(self.told_peer(hub, "127.0.0.1"), "127.0.0.1")

    @unittest.skipUnless(has_ipv6(), "this machine has no IPv6")
    def test_ipv6_loopback(self) -> None:
        hub = self.serving("::1", "[::1]")
        self.by_command_line(hub)
        self.assertEqual(self.told_peer(hub, "::1"), "::1")

    @unittest.skipUnless(has_ipv6(), "this machine has no IPv6")
    def test_every_address_of_both_kinds(self) -> None:
        hub = self.serving("::", "[::]")
        self.by_command_line(hub)
        self.assertEqual(self.told_peer(hub, "::1"), "::1")
        self.assertEqual(self.told_peer(hub, "127.0.0.1"), "127.0.0.1")
        wait_for(hub.health, "health over IPv4")
