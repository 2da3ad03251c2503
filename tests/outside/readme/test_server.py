"""The README's server, word by word: installed, upgraded, gone back, by cron, and removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import unittest

from hub_upgrade.version import VERSION
from tests.e2e.harness import WAIT_S, wait_for
from tests.outside.readme.blocks import NOT_RUN, commands, read, said
from tests.outside.readme.server import OWNER, ServerCase
from tests.outside.readme.visitor import LINK

NEXT = "0.2.0"
NEWEST = "0.3.0"
CURL = 'curl() { timeout %d /usr/bin/curl --silent --fail --write-out "\\n" "$@"; }\n'
"""curl as it is, but not for longer than so many seconds, and heard of when it fails."""
EVENTS = 'curl -N -H "Authorization: Bearer $TOKEN" http://127.0.0.1:1939/api/hub/upgrade/events'
MAKE = "make run     # builds a hub, upgrades it before your eyes, and prints a link to its page"
LEFT = (
    "/root/hub/", "/var/log/", "/var/lib/systemd/", "/var/tmp/", "/usr/lib/python3",
    "/etc/.pwd.lock",
    *(f"/etc/{name}-" for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")),
)  # fmt: skip
"""What a machine and its own tools write anyway."""


class Server(ServerCase):
    def files(self) -> set[str]:
        """Everything on its disks."""
        return set(self.machine.sh("find / /home /srv -xdev").splitlines())

    def test_from_the_clone_to_nothing_left(self) -> None:
        before = self.files()
        self.installed()
        self.upgraded()
        self.asked_with_a_token()
        self.named_in_sentences()
        self.upgraded_by_cron()
        self.restarted()
        self.gone_back()
        self.stopped()
        self.machine.sh(said("hub.pyz unit uninstall"))
        left = {one for one in self.files() - before if not one.startswith(LEFT)}
        self.assertEqual(set(), left)
        self.assertEqual("", self.machine.run("pgrep -af '[h]ub.pyz'").stdout)
        self.assertEqual("", self.machine.run(f"id {OWNER}").stdout)
        self.assertEqual("", self.machine.run("systemctl cat parachute-hub").stdout)
        self.assertEqual("", self.visitor.version())

    def installed(self) -> None:
        told = self.install()
        self.assertIn("listening on http://127.0.0.1:1939", told)
        wait_for(lambda: LINK.search(self.machine.journal()), "the link")
        self.visitor.signs_in(self.machine.journal())
        self.assertEqual(self.visitor.version(), VERSION)
        another = self.machine.sh(said("su - parachute -c 'hub.pyz token link'"))
        self.visitor.signs_in(another)
        about = self.visitor.ask("/api/hub").json()
        self.assertEqual(about["mode"], "in-place", about)
        self.assertIn("machine: no sign of a container", about["evidence"])
        doctor = self.machine.sh("hub.pyz doctor --json", OWNER)
        self.assertTrue(json.loads(doctor)["ok"], doctor)

    def upgraded(self) -> None:
        serving = self.main_process()
        told = self.machine.sh(
            said("python3 build_pyz.py --version 0.2.0 --output dist/hub-0.2.0.pyz")
        )
        self.assertIn(f"An upgrade would go to {NEXT}.", told)
        self.assertIn(f"Upgraded: {VERSION} -> {NEXT}, and proven.", told)
        self.assertEqual(self.visitor.version(), NEXT)
        self.assertEqual(self.main_process(), serving)

    def main_process(self) -> str:
        wanted = "--property=MainPID,ActiveState,NRestarts"
        shown = self.machine.sh(f"systemctl show {wanted} parachute-hub")
        self.assertIn("ActiveState=active", shown)
        self.assertIn("NRestarts=0", shown)
        return shown

    def asked_with_a_token(self) -> None:
        tokens = said("hub.pyz token create --scope hub:admin --name laptop --expires 30d")
        self.assertIn("revoked: token", self.machine.sh(tokens, OWNER))
        asks = said("TOKEN=$(hub.pyz token create --scope hub:admin --name curl)")
        told = self.machine.sh(CURL % 30 + asks, OWNER)
        about, plan, accepted, status, history = map(json.loads, told.splitlines())
        self.assertEqual(about["version"], NEXT)
        self.assertEqual(plan["current"], NEXT)
        self.assertEqual(accepted["operation_id"], status["operation_id"])
        self.assertEqual(history["operations"][-1]["phase"], "succeeded")
        self.visitor.finished(accepted["operation_id"])
        script = CURL % 5 + asks.partition("\n")[0] + "\n" + said(EVENTS)
        told = self.machine.run(script, OWNER).stdout
        data = [line[6:] for line in told.splitlines() if line.startswith("data: ")]
        self.assertEqual([json.loads(one)["phase"] for one in data], ["succeeded"], told)

    def upgraded_by_cron(self) -> None:
        """Its line is cron's, and does its work with no more than cron gives it."""
        newer = f"/home/{OWNER}/hub-{NEWEST}.pyz"
        self.machine.sh(f"python3 build_pyz.py --version {NEWEST} --output {newer}")
        self.machine.sh(f"hub.pyz release publish /srv/releases --channel latest {newer}", OWNER)
        line = said("17 4 * * * /usr/local/bin/hub.pyz upgrade")
        self.machine.sh(f"printf '%s' '{line}' >/tmp/line; crontab -n /tmp/line")
        self.machine.sh(f"crontab -u {OWNER} /tmp/line")
        command = line.split(maxsplit=5)[5]
        told = self.machine.sh(
            f"cd /home/{OWNER}; runuser -u {OWNER} -- env -i HOME=/home/{OWNER} LOGNAME={OWNER} "
            f"SHELL=/bin/sh PATH=/usr/bin:/bin sh -c '{command}'"
        )
        self.assertIn(f"Upgraded: {VERSION} -> {NEWEST}, and proven.", told)

    def named_in_sentences(self) -> None:
        """Whatever begins with hub.pyz ends well here, in the README's order; going further back
        is the only one that changes which version runs."""
        further = f"hub.pyz upgrade --version {VERSION} --allow-downgrade"
        named = [one for one in commands(read()) if one.startswith("hub.pyz ")]
        self.assertIn("hub.pyz doctor", named)
        for one in named:
            if one not in NOT_RUN:
                told = self.machine.sh(one, OWNER)
                self.assertTrue(told, one)
                if one == further:
                    self.assertIn(f"Upgraded: {NEXT} -> {VERSION}, and proven.", told)
        self.assertEqual(self.visitor.version(), VERSION)

    def gone_back(self) -> None:
        told = self.machine.sh(said("hub.pyz rollback"), OWNER)
        self.assertIn(f"Rolled back: {NEWEST} -> {VERSION}.", told)

    def restarted(self) -> None:
        """Replacing the installed file while it runs breaks nothing, and an upgrade outlives it."""
        self.machine.sh("install -m 755 dist/hub.pyz /usr/local/bin/hub.pyz")
        self.assertEqual(self.visitor.version(), NEWEST)
        self.machine.sh("systemctl restart parachute-hub")
        self.assertEqual(self.visitor.version(), NEWEST)

    def stopped(self) -> None:
        self.machine.sh("systemctl stop parachute-hub")
        shown = self.machine.sh("systemctl show --property=Result,ExecMainStatus parachute-hub")
        self.assertEqual(shown.split(), ["Result=success", "ExecMainStatus=0"])


class AtOnce(ServerCase):
    """Without installing anything, by somebody who is no root."""

    def setUp(self) -> None:
        super().setUp()
        self.machine.sh("useradd --create-home --shell /bin/sh you; cp -r /root/hub /home/you/hub; "
                        "rm -rf /home/you/.parachute; chown -R you: /home/you/hub")  # fmt: skip

    def start(self, script: str, until: str) -> tuple[subprocess.Popen[str], str]:
        """Run it as on a terminal, until a line begins like that; what was printed."""
        running = subprocess.Popen(
            [*self.machine.inside(), "runuser", "-u", "you", "--", "env", "-i", "HOME=/home/you",
             "PATH=/usr/local/bin:/usr/bin:/bin", "sh", "-c", f"cd /home/you/hub; {script}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert running.stdout is not None
        self.addCleanup(running.stdout.close)
        self.addCleanup(running.wait)
        self.addCleanup(running.kill)
        told = ""
        for line in running.stdout:
            told += line
            if until in line:
                return running, told
        raise AssertionError(f"{script} ended: {told}")

    def interrupted(self, running: subprocess.Popen[str]) -> str:
        """Ctrl-C: the signal goes to all of the terminal's foreground."""
        os.killpg(running.pid, signal.SIGINT)
        rest, _ = running.communicate(timeout=WAIT_S)
        wait_for(lambda: not self.machine.run("pgrep -u you").stdout, "the end of all of it")
        return rest

    def test_look_at_it_without_installing_anything(self) -> None:
        self.machine.sh(f"cd hub; {said('python3 build_pyz.py')}", "you")
        running, told = self.start(said("python3 dist/hub.pyz serve"), "sign in")
        self.assertIn("listening on http://127.0.0.1:1939", told)
        self.visitor.signs_in(told)
        self.interrupted(running)
        self.assertEqual("hub\n.parachute\n", self.machine.sh("ls; ls -d .parachute", "you"))
        self.machine.sh("rm -rf ~/.parachute", "you")
        elsewhere = "find / /home /srv -xdev -user you -not -path '/home/you*'"
        self.assertEqual("", self.machine.sh(elsewhere))

    def test_make_run_needs_python_and_make_and_leaves_nothing(self) -> None:
        running, told = self.start(said(MAKE).splitlines()[0], "Ctrl-C stops it")
        found = LINK.search(told)
        assert found is not None, told
        self.visitor.port = int(found.group(1).rpartition(":")[2])
        self.visitor.signs_in(told)
        self.interrupted(running)
        self.assertEqual("", self.machine.sh("find /tmp -user you"))


if __name__ == "__main__":
    unittest.main()
