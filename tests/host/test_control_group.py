"""Which service a process is in, as /proc says it."""

from __future__ import annotations

import os
import shutil
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from hub_upgrade.domain.restart import SYSTEM, USER
from hub_upgrade.host import control_group, hub_process

ME = "/user.slice/user-501.slice/user@501.service"
UNIT = "parachute-hub.service"


class ControlGroup(unittest.TestCase):
    def setUp(self) -> None:
        self.proc = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.proc)
        patched = mock.patch.object(hub_process, "PROC", self.proc)
        patched.start()
        self.addCleanup(patched.stop)
        self.process(1, 0, "systemd", "/init.scope", "/sbin/init")

    def process(self, pid: int, parent: int, name: str, group: str, *argv: str) -> None:
        place = Path(self.proc, str(pid))
        place.mkdir(exist_ok=True)
        lines = group if ":" in group else f"0::{group}"
        (place / "cgroup").write_text(lines + "\n")
        (place / "comm").write_text(name + "\n")
        (place / "stat").write_text(f"{pid} ({name}) S {parent} 0 0")
        (place / "cmdline").write_text("\0".join(argv) + "\0")

    def service(self, group: str) -> tuple[str, str]:
        self.process(7, 1, "bun", group)
        return control_group.service_of(7)

    def test_each_kind_of_path_names_its_service_or_none(self) -> None:
        for group, wanted in (
            (f"/system.slice/{UNIT}", (UNIT, SYSTEM)),
            (f"/system.slice/{UNIT}/workers/3", (UNIT, SYSTEM)),
            ("/system.slice/system-hub.slice/hub@blue.service", ("hub@blue.service", SYSTEM)),
            (f"{ME}/app.slice/{UNIT}", (UNIT, USER)),
            ("/system.slice/_io.parachute.hub.service", ("io.parachute.hub.service", SYSTEM)),
            (f"{ME}/app.slice", ("", "")),
            (f"{ME}/app.slice/tmux-spawn-1.scope", ("", "")),
            (f"{ME}/init.scope", ("", "")),
            ("/user.slice/user-501.slice/session-3.scope", ("", "")),
            (f"/system.slice/{UNIT}/hub-upgrade-1.scope", ("", "")),
            ("/machine.slice/libpod-1.scope/container", ("", "")),
            ("/", ("", "")), ("/docker/0123", ("", "")),
        ):  # fmt: skip
            self.assertEqual(self.service(group), wanted, group)

    def test_in_version_1_the_hierarchy_that_systemd_keeps_counts(self) -> None:
        lines = f"9:name=systemd:/system.slice/{UNIT}\n4:memory:/a.service\n0::/b.service"
        self.assertEqual(self.service(lines), (UNIT, SYSTEM))
        self.assertEqual(self.service("4:memory:/a.service\n0::/b.service"), ("b.service", SYSTEM))

    def test_a_users_manager_is_known_by_itself_where_the_path_does_not_tell(self) -> None:
        self.process(5, 1, "systemd", "/", "/lib/systemd/systemd", "--user")
        self.process(6, 5, "sh", "/")
        self.process(7, 6, "bun", f"/app.slice/{UNIT}")
        self.assertEqual(control_group.service_of(7), (UNIT, USER))
        self.process(1, 0, "systemd", "/", "/lib/systemd/systemd", "--user")
        self.process(7, 1, "bun", f"/app.slice/{UNIT}")
        self.assertEqual(control_group.service_of(7), (UNIT, USER))

    def test_a_process_that_is_gone_is_in_none(self) -> None:
        self.assertEqual(control_group.service_of(8), ("", ""))
        self.assertEqual(control_group.path_of(8), "")

    def test_ours_is_told_by_the_real_kernel(self) -> None:
        with mock.patch.object(hub_process, "PROC", "/proc"):
            self.assertTrue(control_group.path_of(os.getpid()).startswith("/"))
            self.assertEqual(hub_process.ancestors(os.getpid())[0], os.getppid())
            self.assertIn(os.getpid(), hub_process.children(os.getppid()))


if __name__ == "__main__":
    unittest.main()
