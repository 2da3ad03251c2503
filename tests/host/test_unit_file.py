"""What a systemd unit would start."""

from __future__ import annotations

import unittest

from hub_upgrade.host import unit_file
from hub_upgrade.host.executed import HubProcess
from tests.host.test_executed import Tree

UNIT = "parachute-hub.service"


class Units(Tree):
    def started(self, *lines: str, where: str = "etc") -> HubProcess | None:
        self.make(f"{where}/{UNIT}", "\n".join(("[Unit]", "ExecStart=/no", "[Service]", *lines)))
        return self.read()

    def read(self, unit: str = UNIT) -> HubProcess | None:
        directories = (self.at("user"), self.at("etc"), self.at("lib"))
        return unit_file.started_by(unit, directories, "/home/me")

    def assert_argv(self, found: HubProcess | None, *argv: str) -> None:
        assert found is not None
        self.assertEqual(found.argv, argv)

    def test_the_command_its_directory_and_its_environment_are_read(self) -> None:
        found = self.started(
            "# ExecStart=/usr/bin/other", "WorkingDirectory=-%h/hub",
            'Environment=A=1 "BUN_INSTALL=/srv/my bun"', "Environment=B=2",
            'ExecStart=-/nonexistent/bun "src/my cli.ts" \\', "  --rate 5%%",
        )  # fmt: skip
        wanted = ("/nonexistent/bun", "src/my cli.ts", "--rate", "5%")
        self.assertEqual(
            found, HubProcess(0, "", wanted, "/home/me/hub", "/nonexistent/bun", "/srv/my bun")
        )

    def test_the_last_word_counts_and_what_was_edited_comes_last(self) -> None:
        self.started("ExecStart=/opt/one", "ExecStart=", "ExecStart=/opt/two", where="lib")
        self.assert_argv(self.read(), "/opt/two")
        self.assert_argv(self.started("ExecStart=/opt/three"), "/opt/three")
        self.make(f"lib/{UNIT}.d/b.conf", "[Service]\nExecStart=\nExecStart=/opt/four\n")
        self.make(f"etc/{UNIT}.d/a.conf", "[Service]\nExecStart=/opt/five\n")
        self.make(f"user/{UNIT}.d", "no directory")
        self.make(f"etc/{UNIT}.d/z.txt", "[Service]\nExecStart=/opt/six\n")
        self.assert_argv(self.read(), "/opt/four")

    def test_env_before_the_program_is_none_and_a_link_is_kept(self) -> None:
        program = self.make("bin/hub")
        found = self.started(f"ExecStart=/usr/bin/env BUN_INSTALL=/b {program} serve")
        self.assert_argv(found, program, "serve")
        assert found is not None
        self.assertEqual(found.bun_install, "/b")
        link = self.link("bin/linked", program)
        found = self.started(f"ExecStart={link}", "WorkingDirectory=~")
        assert found is not None
        self.assertEqual((found.argv, found.exe, found.cwd), ((link,), program, "/home/me"))

    def test_an_instance_is_started_as_its_template_says_unless_it_has_its_own_file(self) -> None:
        self.make("lib/hub@.service", "[Service]\nExecStart=/opt/hub --name %i\n")
        self.assert_argv(self.read("hub@blue.service"), "/opt/hub", "--name", "blue")
        self.assertIsNone(self.read("hub.service"))
        self.make("etc/hub@blue.service", "[Service]\nExecStart=/opt/blue\n")
        self.assert_argv(self.read("hub@blue.service"), "/opt/blue")

    def test_no_unit_and_a_unit_of_our_own_tell_nothing(self) -> None:
        self.assertIsNone(self.read())
        for line in ("ExecStart=/usr/bin/python3 /opt/hub.pyz serve", "ExecStart=/opt/hub.pyz",
                     "ExecStart=", "ExecStart=/opt/'x", "Type=simple"):  # fmt: skip
            self.assertIsNone(self.started(line), line)


if __name__ == "__main__":
    unittest.main()
