"""What the README says of the unit: its text, what a module can and cannot do in it, the socket,
another unit beside it, and a file of one's own."""

from __future__ import annotations

import json
import unittest

from tests.e2e.harness import wait_for
from tests.outside.readme.blocks import said
from tests.outside.readme.server import OWNER, ServerCase

UNIT = "# /etc/systemd/system/parachute-hub.service"
INSTALL = "hub.pyz unit install --user parachute --releases /srv/releases"
PROBE = """\
tries() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo $name; fi; }
cd "$HOME/.parachute"
{
    tries home touch there
    tries tmp touch /tmp/there
    tries jit python3 -c 'import mmap; mmap.mmap(-1, 4096, prot=7)'
    tries init cat /proc/1/comm
    tries socket python3 -c 'import socket; socket.create_server(("127.0.0.1", 0))'
    tries beside touch ../there
    tries releases touch /srv/releases/there
    tries writable touch /srv/open/there
    tries namespace unshare --user --map-root-user true
    tries mount mount -t tmpfs tmpfs /mnt
    tries device test -e /dev/kmsg -o -e /dev/mem -o -e /dev/sda
    tries other su --command true nobody
    tries name hostname other
    tries raw python3 -c 'import socket; socket.socket(17, 3)'
    tries real chrt --fifo 1 true
    tries trace python3 -c 'import ctypes; raise SystemExit(ctypes.CDLL(None).ptrace(0, 0, 0, 0))'
} >seen
"""
"""Run by systemd in the hub's own unit: what of it succeeds is written down."""


class Unit(ServerCase):
    def setUp(self) -> None:
        super().setUp()
        self.install()

    def drop_in(self, text: str) -> None:
        """What `systemctl edit parachute-hub` would write, and what it does then."""
        place = "/etc/systemd/system/parachute-hub.service.d"
        self.machine.sh(
            f"mkdir -p {place}; printf '%s\\n' '[Service]' '{text}' >{place}/override.conf\n"
            "systemctl daemon-reload; hub.pyz unit restart"
        )

    def test_its_text_is_the_readmes_and_systemd_finds_no_fault_with_it(self) -> None:
        shown = self.machine.sh(f"{INSTALL} --dry-run")
        self.assertEqual(shown.partition("\n\n$ ")[0] + "\n", said(UNIT))
        written = self.machine.sh("cat /etc/systemd/system/parachute-hub.service")
        self.assertEqual(f"{UNIT}\n{written}", said(UNIT))
        self.assertEqual("", self.machine.sh("systemd-analyze verify parachute-hub.service"))
        place = "/etc/systemd/system/parachute-hub.service"
        told = self.machine.sh(f"systemd-analyze security --offline=yes --threshold=30 {place}")
        self.assertIn("Overall exposure level for parachute-hub.service: 2.0", told)

    def test_the_same_words_change_nothing_and_others_do(self) -> None:
        before = json.loads(self.machine.sh("hub.pyz unit status --json"))
        self.assertIn("nothing was changed", self.machine.sh(INSTALL))
        self.assertEqual(before, json.loads(self.machine.sh("hub.pyz unit status --json")))
        self.machine.sh(f"{INSTALL} --port 1940")
        self.assertNotEqual(before, json.loads(self.machine.sh("hub.pyz unit status --json")))
        self.visitor.port = 1940
        self.assertTrue(self.visitor.version())

    def test_an_install_that_was_killed_after_it_wrote_is_brought_to_its_end(self) -> None:
        shown = self.machine.sh(f"{INSTALL} --port 1940 --dry-run").partition("\n\n$ ")[0]
        path, text = shown.split("\n", 1)
        self.machine.sh(f"cat >{path[2:]} <<'END'\n{text}\nEND")
        self.machine.sh(f"{INSTALL} --port 1940")
        self.visitor.port = 1940
        self.assertTrue(self.visitor.version())
        self.assertIn("nothing was changed", self.machine.sh(f"{INSTALL} --port 1940"))
        self.assertEqual(f"{text}\n", self.machine.sh(f"cat {path[2:]}"))

    def test_what_a_module_can_and_cannot_do_in_it(self) -> None:
        self.machine.sh("install -d -o parachute /srv/open")
        path = f"/home/{OWNER}/probe.sh"
        self.machine.sh(f"cat >{path} <<'END'\n{PROBE}END\n")
        self.drop_in(f"ExecStartPost=/bin/sh {path}")
        seen = f"cat /home/{OWNER}/.parachute/seen"
        can = ["home", "tmp", "jit", "init", "socket"]
        self.assertEqual(self.machine.sh(seen).split(), can)
        self.assertEqual(self.machine.run("ls /tmp/there").returncode, 2)
        self.machine.sh(f"{INSTALL} --writable /srv/open --writable /srv/none")
        self.assertEqual(self.machine.sh(seen).split(), [*can, "writable"])
        self.machine.sh("systemctl stop parachute-hub")
        plain = self.machine.sh(f"sh {path}; {seen}", OWNER)
        self.assertIn("beside", plain, "the probe itself")
        self.assertIn("namespace", plain, "the probe itself")
        self.assertIn("trace", plain, "the probe itself")

    def test_who_connects_while_nothing_runs_waits_and_is_served(self) -> None:
        self.machine.sh(f"{INSTALL} --socket --port 80")
        self.visitor.port = 80
        self.assertTrue(self.visitor.version())
        self.machine.sh("systemctl kill --signal=KILL parachute-hub")
        self.assertTrue(self.visitor.version(), "it waited")
        self.machine.sh(INSTALL)
        self.visitor.port = 1939
        self.assertTrue(self.visitor.version())
        self.assertEqual("", self.machine.run("systemctl cat parachute-hub.socket").stdout)

    def test_another_unit_beside_it_and_one_that_does_not_start(self) -> None:
        self.machine.sh(f"useradd --create-home two; {INSTALL.replace(OWNER, 'two', 1)} "
                        "--name two --port 1941")  # fmt: skip
        for port in (1939, 1941):
            self.visitor.port = port
            self.assertTrue(self.visitor.version())
        done = self.machine.run("hub.pyz unit install --as-root --name three --port 1941")
        self.assertEqual(done.returncode, 1)
        self.assertIn("port 1941 on 127.0.0.1 is taken by another program", done.stderr)
        self.assertIn("Job for three.service failed", done.stderr)
        for name in ("two", "three"):
            self.machine.sh(f"hub.pyz unit uninstall --name {name}")
        wait_for(lambda: not self.visitor.version(), "its end")
        self.visitor.port = 1939
        self.assertTrue(self.visitor.version())

    def test_who_cannot_run_the_file_or_make_a_home_is_told_before_it_is_written(self) -> None:
        self.machine.sh("install -m 700 dist/hub.pyz /root/hub.pyz; useradd --no-create-home poor")
        for program, words in (
            ("/root/hub.pyz", "Permission denied"),
            ("/usr/local/bin/hub.pyz", "mkdir: cannot create directory '/home/poor'"),
        ):
            done = self.machine.run(f"python3 {program} unit install --user poor --name poor")
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
            self.assertIn(words, done.stderr)
        self.assertEqual("", self.machine.run("ls /etc/systemd/system/poor*").stdout)


if __name__ == "__main__":
    unittest.main()
