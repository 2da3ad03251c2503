"""What hub.json says of a checkout, to the very end: its install command, and signatures."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any

from hub_upgrade.domain.operation import LOG_CHARACTERS, LOG_LINES
from hub_upgrade.host.operation_log import LOG_BYTES
from tests.e2e.harness import wait_for
from tests.outside.sources import programs
from tests.outside.sources.beside import NEW, NEXT, OLD, BesideCase
from tests.outside.sources.machine import Machine, clean_environment
from tests.outside.sources.place_git import GitPlace
from tests.outside.sources.scene_git import CONFIG

TELLS = '{ echo "run"; pwd; printf "%s\\n" "$@"; env; } >> "$TOLD"'
MAY_FAIL = 'echo run >> "$TOLD"; test ! -e "$TOLD.fail" || { echo "no such package"; exit 3; }'
NOISE = """
for number in range(4000):
    print(number, "x" * 3000)
print("y" * (6 << 20), end="", flush=True)
"""
STATUS_WRITES = 12
"""The steps of an upgrade; a tool that prints adds one a second."""
SIGNED = """\
[gpg]
	format = ssh
[gpg "ssh"]
	allowedSignersFile = {allowed}
[user]
	signingKey = {key}
[commit]
	gpgSign = {sign}
"""


def setUpModule() -> None:
    clean_environment()


class CheckoutCase(BesideCase):
    """A checkout whose lock file is `old` to begin with."""

    kind = GitPlace

    def scene(self, *install_command: str, **config: Any) -> Machine:
        """A machine whose hub runs; `told` is where its install command writes."""
        machine = self.machine(start=False)
        self.told_file = machine.directory / "told"
        machine.told["TOLD"] = str(self.told_file)
        machine.configure(hub={"install_command": list(install_command)}, **config)
        machine.place.publish(OLD, files={"bun.lock": b"old"})
        machine.place.install(OLD)
        machine.run()
        wait_for(lambda: machine.runs() == OLD, OLD)
        return machine

    def runs(self) -> int:
        """How often the install command was run."""
        found = self.told_file.read_text().splitlines() if self.told_file.exists() else []
        return found.count("run")


class AnInstallCommand(CheckoutCase):
    def test_it_runs_where_the_lock_file_changes_with_its_own_words(self) -> None:
        words = ("sh", "-c", TELLS, "sh", "two words", "ünï")
        machine = self.scene(*words)
        machine.told["PARACHUTE_ADMIN_TOKEN_FILE"] = str(machine.directory / "secret")
        Path(machine.told["PARACHUTE_ADMIN_TOKEN_FILE"]).write_text("x" * 40)
        machine.told["MINE"] = "is kept"
        machine.place.publish(NEW)
        self.assertEqual(machine.command("upgrade").returncode, 0, machine.record())
        self.assertEqual(self.runs(), 0)
        machine.place.publish(NEXT, files={"bun.lock": b"new"})
        self.assertEqual(machine.command("upgrade").returncode, 0, machine.record())
        self.assertEqual((machine.runs(), self.runs()), (NEXT, 1))
        lines = self.told_file.read_text().splitlines()
        self.assertEqual(lines[1:4], [str(machine.place.checkout), "two words", "ünï"])
        self.assertLessEqual({"MINE=is kept", "GIT_TERMINAL_PROMPT=0"}, set(lines))
        self.assertEqual([line for line in lines if line.startswith("PARACHUTE_ADMIN")], [])
        self.assertEqual(machine.command("rollback").returncode, 0, machine.record())
        self.assertEqual((machine.runs(), self.runs()), (NEW, 2))

    def test_one_that_fails_ends_the_upgrade_and_the_next_one_runs_it_again(self) -> None:
        works = ("sh", "-c", MAY_FAIL)
        for broken, why in (
            (works, "failed: no such package"),
            (("no-such-tool", "install"), "no-such-tool cannot be run"),
        ):
            with self.subTest(broken):
                machine = self.scene(*broken)
                self.told_file.with_suffix(".fail").touch()
                before = machine.place.tree()
                machine.serve()
                machine.place.publish(NEW, files={"bun.lock": b"new"})
                for _ in range(2):
                    operation = self.post(machine)["operation_id"]
                    record = self.end(machine, "failed", operation)
                    self.assertIn(why, record["error"])
                    self.assertIn(broken[0], record["error"])
                    self.assertEqual(machine.place.tree(), before)
                    self.assertEqual((machine.runs(), self.starts(machine)), (OLD, 1))
                self.told_file.with_suffix(".fail").unlink()
                machine.configure(hub={"install_command": list(works)})
                self.hub(machine).stop()
                machine.serve()
                runs = self.runs()
                self.goes(machine, NEW)
                self.assertEqual(self.runs(), runs + 1)

    def test_one_that_fails_on_the_way_back_is_owed_and_does_not_keep_the_old_hub_down(
        self,
    ) -> None:
        machine = self.scene("sh", "-c", MAY_FAIL, ready_timeout_s=5)
        before = machine.place.tree()
        assert machine.runtime is not None
        fail = self.told_file.with_suffix(".fail")

        def network_goes() -> None:
            fail.touch()
            machine.place.cut_off()

        machine.runtime.on_restart = network_goes
        machine.place.publish(NEW, behaviour=programs.SICK, files={"bun.lock": b"new"})
        self.assertEqual(machine.command("upgrade").returncode, 5, machine.record())
        record = machine.record()
        self.assertEqual((record["phase"], record["rolled_back_to"]), ("failed", OLD), record)
        self.assertRegex(record["error"], r"it answers 500.*failed: no such package.*owed")
        self.assertEqual((machine.place.tree(), machine.runs()), (before, OLD))
        self.assertEqual((self.starts(machine), self.runs()), (3, 2))
        machine.place.mend()
        fail.unlink()
        machine.place.publish(NEXT, files={"bun.lock": b"old"})
        self.assertEqual(machine.command("upgrade").returncode, 0, machine.record())
        self.assertEqual((machine.runs(), self.runs()), (NEXT, 3))

    def test_one_that_prints_without_end_costs_a_bounded_record_log_and_few_writes(self) -> None:
        machine = self.scene(sys.executable, "-c", NOISE)
        machine.place.publish(NEW, files={"bun.lock": b"new"})
        told = machine.directory / "strace"
        words = ("strace", "-f", "-q", "--seccomp-bpf", "-o", str(told), "-e", "signal=none")
        renames = ("-e", "trace=rename,renameat,renameat2")
        begun = time.monotonic()
        done = machine.command("upgrade", under=(*words, *renames))
        took_s = time.monotonic() - begun
        self.assertEqual((done.returncode, machine.runs()), (0, NEW), done.stdout + done.stderr)
        writes = re.findall(r'/hub-upgrade-status\.json"', told.read_text(errors="replace"))
        self.assertLess(len(writes), STATUS_WRITES + took_s)
        record = machine.record()
        self.assertEqual(record["phase"], "succeeded")
        log = record["log"]
        self.assertEqual(len(log), LOG_LINES)
        self.assertEqual(max(map(len, log)), LOG_CHARACTERS)
        shown = "\n".join(log)
        self.assertTrue(log[0].startswith("channel latest is "), log[0])
        self.assertIn("| 3999 xxx", shown)
        self.assertNotIn("| 1000 xxx", shown)
        path = Path(machine.home, "logs", f"upgrade-{record['operation_id']}.log")
        self.assertLessEqual(path.stat().st_size, LOG_BYTES + 10_000)  # what the helper says itself
        self.assertGreater(path.stat().st_size, LOG_BYTES // 2)


class Signatures(CheckoutCase):
    def sign(self, machine: Machine, name: str) -> None:
        """The author signs with this key from now on, with none for ""."""
        home = machine.place.home
        words = {"allowed": home / "allowed", "key": home / name, "sign": str(bool(name)).lower()}
        (home / ".gitconfig").write_text(CONFIG + SIGNED.format(**words))

    def test_what_git_does_not_trust_is_refused_where_that_is_asked_for(self) -> None:
        machine = self.scene("true")
        machine.configure(hub={"verify_signature": True, "install_command": ["true"]})
        home = machine.place.home
        for name in ("trusted", "stranger"):
            words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name))
            subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
        key = (home / "trusted.pub").read_text()
        (home / "allowed").write_text(f"somebody@localhost {key}")
        before = machine.place.tree()
        for version, name, why in (
            ("2.1.0", "", "it is not signed"), ("2.2.0", "stranger", "(?i)no principal matched"),
        ):  # fmt: skip
            self.sign(machine, name)
            machine.place.publish(version)
            done = machine.command("upgrade")
            record = machine.record()
            self.assertEqual((done.returncode, record["phase"]), (1, "failed"), done.stderr)
            self.assertRegex(record["error"], why)
            self.assertEqual((machine.place.tree(), machine.runs()), (before, OLD))
        self.sign(machine, "trusted")
        machine.place.publish("2.3.0")
        done = machine.command("upgrade")
        self.assertEqual((done.returncode, machine.runs()), (0, "2.3.0"), done.stdout)


if __name__ == "__main__":
    unittest.main()
