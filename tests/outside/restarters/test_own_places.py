"""Where a unit of hub.pyz's own can lie and what it can do there: odd paths, a port that is taken,
the sandbox."""

from __future__ import annotations

import json
import shutil
import subprocess
import unittest
from pathlib import Path

from tests.e2e import bad
from tests.e2e.harness import build, command_of, wait_for
from tests.outside.readme.machine import TREE
from tests.outside.restarters.machines import BOTH
from tests.outside.restarters.own_unit import OwnCase, became, upgraded

ODD = "/srv/odd $HOME ${PATH} $$ %h 100% \"q\" 's' \\ \\n back é ;#"
BUN = TREE.parents[1] / "sources" / "node_modules" / "bun" / "bin" / "bun.exe"
MODULE = Path(__file__).with_name("own_module.py")


class Places(OwnCase):
    def test_a_home_and_a_file_with_a_space_a_percent_sign_and_a_dollar_sign(self) -> None:
        for scope in BOTH:
            with self.subTest(scope):
                unit = self.unit(place=f"{ODD} {scope}", scope=scope, port=1939 + BOTH.index(scope))
                unit.lay(build("1.0.0"))
                unit.install()
                command = command_of(unit.launcher_pid)
                self.assertIn(unit.program, command)
                self.assertEqual(command[command.index("--config-dir") + 1], unit.inside)
                upgraded(unit, "1.1.0")
                unit.systemctl("restart")
                self.assertEqual(unit.version(), "1.1.0")
                self.assertEqual(unit.finished(unit.rollback())["phase"], "succeeded")
                self.assertEqual(unit.version(), "1.0.0")
                self.assertIn("nothing was changed", unit.install())
                self.assertEqual(unit.unit("uninstall").returncode, 0)

    def test_a_hub_that_cannot_start_ends_at_the_start_limit_and_says_why(self) -> None:
        unit = self.unit()
        unit.drop_in("RestartSec=20ms")
        unit.lay(build("1.0.0"))
        self.machine.sh(f"systemd-run --unit=other python3 -m http.server {unit.port}")
        wait_for(lambda: self.machine.sh(f"ss -Htln 'sport = :{unit.port}'"), "the other")
        refused = unit.unit("install", *unit.installing())
        self.assertEqual(refused.returncode, 1, refused.stdout)
        self.assertIn(f"port {unit.port}", refused.stderr)
        became(unit, "failed")
        told = unit.output()
        self.assertIn("Start request repeated too quickly.", told)
        self.assertIn(f"port {unit.port}", told)
        self.assertIn("failed", unit.unit("status").stdout)
        self.machine.sh("systemctl stop other")
        done = unit.unit("restart")
        self.assertEqual(done.returncode, 0, done.stderr)
        unit.wait_healthy()
        self.assertEqual(unit.version(), "1.0.0")

    def test_what_a_module_can_do_in_the_sandbox_and_what_it_cannot(self) -> None:
        unit = self.unit()
        report = f"{unit.inside}/report.json"
        self.machine.sh("install -d -m 777 /srv/elsewhere /opt/engines")
        shutil.copyfile(MODULE, self.machine.on_disk("/srv/elsewhere/module.py"))
        self.engines()
        words = ["python3", "/srv/elsewhere/module.py", report]
        code = f"import subprocess\nlater(0.1, lambda hub: subprocess.Popen({words!r}))"
        name = "starts a module"
        unit.lay(bad.build("1.0.0", {bad.HUB: bad.spoilt(name, code, bad.REAL_HOME)}))
        unit.install()
        file = self.machine.on_disk(report)
        wait_for(file.exists, f"the module's report: {unit.output()}")
        found = json.loads(file.read_text())
        can = {name for name, outcome in found.items() if outcome is True}
        self.assertEqual(
            (can, set(found) - can),
            (
                {"machine code", "bun", "node", "write home", "write /tmp", "a child", "loopback"},
                {"write /etc", "write /usr", "write elsewhere", "write /home", "a user namespace",
                 "set the clock", "a device"},
            ), found,
        )  # fmt: skip

    def engines(self) -> None:
        """Two programs that compile at run time, with the libraries that the machine lacks."""
        node = shutil.which("node")
        assert node is not None
        place = self.machine.on_disk("/opt/engines")
        for source, name in ((str(BUN), "bun"), (node, "node")):
            shutil.copyfile(source, place / name)
            (place / name).chmod(0o755)
        told = subprocess.run(["ldd", node], capture_output=True, text=True, check=True).stdout
        for line in told.splitlines():
            if "=> /" in line:
                library = Path(line.split()[2])
                if not (TREE / str(library)[1:]).exists():
                    shutil.copyfile(library, place / line.split()[0])


if __name__ == "__main__":
    unittest.main()
