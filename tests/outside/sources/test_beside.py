"""`hub.pyz serve` beside a hub of somebody else's: told of, upgraded by POST, returned from."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.e2e.harness import answered, build, cli, environment, wait_for
from tests.outside.sources import programs
from tests.outside.sources.beside import NEW, NEXT, OLD, OURS, BesideCase
from tests.outside.sources.machine import Machine, Runtime, clean_environment
from tests.outside.sources.place_git import GitPlace
from tests.outside.sources.scene_git import git

AT_ONCE = 50


def setUpModule() -> None:
    clean_environment()


class BesideABunHub(BesideCase):
    def test_each_hub_is_told_of_as_itself(self) -> None:
        machine = self.beside()
        hub = self.get(machine)
        expected = {
            "version": OLD, "launcher_version": OURS, "install_source": "package",
            "source": "container", "mode": "in-place", "channel": "latest",
        }  # fmt: skip
        self.assertEqual({name: hub.get(name) for name in expected}, expected)
        self.assertNotIn("git_head", hub)
        self.assertNotIn("bun_linked_path", hub)
        health = self.hub(machine).health() or {}
        self.assertEqual((health["service"], health["version"]), ("parachute-hub", OURS))
        machine.place.publish(NEW)
        plan = self.get(machine, "/api/hub/upgrade/plan")
        told = json.loads(machine.command("plan", "--json").stdout)
        for answer in (plan, told):
            found = (answer["current"], answer["target"], answer["source"])
            self.assertEqual(found, (OLD, NEW, "container"), answer)
        self.assertEqual((machine.runs(), machine.record()), (OLD, {}))

    def test_fifty_posts_at_once_are_one_upgrade_and_the_way_back(self) -> None:
        machine = self.beside()
        before = machine.place.tree()
        machine.place.publish(NEW)
        hub = self.hub(machine)
        assert machine.runtime is not None
        old_pid, token = machine.runtime.pid, hub.token()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            asked = [
                pool.submit(hub.request, "POST", "/api/hub/upgrade", None, token)
                for _ in range(AT_ONCE)
            ]
        answers = [future.result() for future in asked]
        accepted = [answer for status, answer in answers if status == 202]
        refused = [answer["error"] for status, answer in answers if status == 409]
        self.assertEqual((len(accepted), len(refused)), (1, AT_ONCE - 1), answers)
        self.assertEqual(set(refused), {"upgrade_in_flight"})
        self.accepted_fields(accepted[0])
        record = self.end(machine, "succeeded", accepted[0]["operation_id"])
        self.assertEqual((record["current_version"], record["target_version"]), (OLD, NEW))
        self.assertEqual((machine.runs(), machine.place.installed()), (NEW, NEW))
        self.assertNotEqual(machine.runtime.pid, old_pid)
        self.told(machine, version=NEW, previous=OLD, launcher_version=OURS)
        machine.place.cut_off()
        back = self.post(machine, "/api/hub/rollback")
        record = self.end(machine, "succeeded", back["operation_id"])
        self.assertEqual((record["kind"], record["target_version"]), ("rollback", OLD))
        self.assertEqual((machine.runs(), machine.place.tree()), (OLD, before))
        self.told(machine, version=OLD, previous=None)
        again = ("POST", "/api/hub/rollback", None, token)
        status, answer = answered(lambda: hub.request(*again))
        self.assertEqual((status, answer["error"]), (409, "nothing_to_roll_back"))
        self.assertEqual(self.starts(machine), 3)
        self.assertEqual((hub.health() or {})["version"], OURS)

    def accepted_fields(self, answer: dict[str, Any]) -> None:
        expected = {"channel": "latest", "mode": "in-place", "source": "container"}
        self.assertEqual({name: answer[name] for name in expected}, expected)
        self.assertIsNone(answer["target_version"])
        self.assertTrue(answer["operation_id"] and answer["reason"])

    def test_a_hub_that_was_started_again_a_moment_ago_is_restarted_all_the_same(self) -> None:
        machine = self.beside()
        machine.place.publish(NEW)
        assert machine.runtime is not None
        os.kill(machine.runtime.pid, signal.SIGKILL)
        wait_for(lambda: self.starts(machine) == 2 and machine.runs() == OLD, "the same again")
        self.goes(machine, NEW)
        self.assertEqual(self.starts(machine), 3)

    def test_the_command_line_goes_through_the_hub(self) -> None:
        machine = self.beside()
        machine.place.publish(NEW)
        done = machine.command("upgrade")
        self.assertEqual((done.returncode, machine.runs()), (0, NEW), done.stdout + done.stderr)
        self.assertIn("local:", machine.record()["requested_by"])
        self.assertEqual(machine.command("upgrade").returncode, 0)
        done = machine.command("rollback")
        self.assertEqual((done.returncode, machine.runs()), (0, OLD), done.stdout + done.stderr)
        self.assertEqual(machine.command("rollback").returncode, 1)
        self.assertEqual(self.starts(machine), 3)

    def test_a_sick_version_is_taken_back_and_told_of(self) -> None:
        machine = self.beside(ready_timeout_s=5)
        before = machine.place.tree()
        machine.place.publish(NEW, behaviour=programs.SICK)
        record = self.end(machine, "failed", self.post(machine)["operation_id"])
        self.assertEqual(record["rolled_back_to"], OLD)
        self.assertIn("it answers 500", record["error"])
        self.assertEqual((machine.runs(), machine.place.tree()), (OLD, before))
        self.told(machine, version=OLD)

    def test_a_version_under_another_name_is_the_one_that_is_told_and_proven(self) -> None:
        machine = self.machine(start=False)
        machine.configure(hub={"version_field": "build"})
        told = programs.JAVASCRIPT.replace(
            b"version, pid", b'version: "9.9.9", build: version, pid'
        )
        hub = {"hub.js": told}
        machine.place.publish(OLD, files=hub)
        machine.place.install(OLD)
        machine.run()
        wait_for(lambda: machine.runs() == "9.9.9", machine.log())  # what is no version of it
        machine.serve()
        self.told(machine, version=OLD)
        machine.place.publish(NEW, files=hub)
        record = self.end(machine, "succeeded", self.post(machine)["operation_id"])
        self.assertEqual((record["current_version"], record["target_version"]), (OLD, NEW))
        self.told(machine, version=NEW)

    def test_our_own_upgrade_leaves_the_other_hub_alone(self) -> None:
        machine = self.beside()
        repository = str(machine.directory / "repository")
        program = build("1.1.0")
        publish = ("release", "publish", repository, "--channel", "latest", program)
        self.assertEqual(cli(machine.program, *publish).returncode, 0)
        hub = self.hub(machine)
        before, pid = machine.place.tree(), machine.runtime and machine.runtime.pid
        status, answer = hub.request("POST", "/api/hub/upgrade", {"self": True}, hub.token())
        self.assertEqual((status, answer["error"]), (409, "no_release_source"))
        machine.configure(releases=repository)
        hub.stop()
        hub.start(**machine.environment)  # type: ignore[arg-type]
        answer = self.post(machine, itself=True)
        self.assertEqual((answer["source"], answer["mode"]), ("pyz", "in-place"))
        self.end(machine, "succeeded", answer["operation_id"])
        self.ours_is(machine, "1.1.0")
        self.told(machine, version=OLD, launcher_version=OURS, install_source="package")
        done = machine.command("rollback", "--self")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.ours_is(machine, OURS)
        done = machine.command("upgrade", "--self", "--version", "1.1.0")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.ours_is(machine, "1.1.0")
        self.assertEqual((machine.runs(), machine.place.tree()), (OLD, before))
        self.assertEqual((self.starts(machine), machine.runtime and machine.runtime.pid), (1, pid))
        machine.place.publish(NEW)
        self.goes(machine, NEW)
        self.ours_is(machine, "1.1.0")

    def ours_is(self, machine: Machine, version: str) -> None:
        """The hub that looks after the other one."""
        hub = self.hub(machine)
        wait_for(lambda: (hub.health() or {}).get("version") == version, version)

    def test_a_disk_that_changed_under_the_hub_is_no_upgrade(self) -> None:
        machine = self.beside()
        machine.place.publish(NEW)
        machine.place.install(NEW)
        self.assertEqual(self.get(machine)["version"], OLD)
        self.hub(machine).stop()
        machine.serve()
        self.told(machine, version=OLD)
        plan = json.loads(machine.command("plan", "--json").stdout)
        self.assertEqual((plan["current"], plan["installed"]), (OLD, NEW))
        record = self.goes(machine, NEW)
        self.assertEqual((record["current_version"], self.starts(machine)), (OLD, 2), record)
        self.assertIn("it is only restarted", " ".join(record["log"]))

    def test_a_disk_that_changes_while_it_is_proven_is_not_what_was_proven(self) -> None:
        machine = self.beside(probation_s=5)
        machine.place.publish(NEW)
        machine.place.publish(NEXT, "next")
        assert machine.runtime is not None
        machine.runtime.on_restart = lambda: wait_for(
            lambda: machine.runs() == NEW and not machine.place.install(NEXT), "another version"
        )
        record = self.end(machine, "failed", self.post(machine)["operation_id"])
        self.assertIn(f"{NEXT} lies on the disk by now", record["error"])
        self.assertEqual((machine.runs(), machine.place.installed()), (OLD, OLD))

    def test_its_port_is_not_ours(self) -> None:
        machine = self.machine(start=False)
        for argv, env in (((f"--port={machine.port}",), {}), ((), {"PORT": str(machine.port)})):
            done = subprocess.run(
                [sys.executable, machine.program, "serve", *argv],
                env=environment(**{**machine.environment, **env}), capture_output=True, text=True,
                check=False, timeout=60, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
            self.assertIn(f"port {machine.port} is the one of the hub", done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_a_hub_that_is_run_from_elsewhere_is_to_be_deployed_anew(self) -> None:
        machine = self.machine(start=False)
        machine.place.publish(OLD)
        machine.place.install(OLD)
        image = machine.directory / "app"  # what the image holds, and bun does not know of
        shutil.copytree(machine.place.directory.parent.parent, image / "node_modules")
        code = str(image / "node_modules/@openparachute/hub/hub.js")
        env = {**machine.place.environment, "PORT": str(machine.port)}
        machine.runtime = Runtime([machine.place.program[0], code], env, image / "hub.log")
        wait_for(lambda: machine.runs() == OLD, OLD)
        machine.serve()
        machine.place.publish(NEW)
        before, asked = machine.place.tree(), list(machine.place.registry.asked)
        answer = self.post(machine)
        found = (answer["mode"], answer["source"])
        self.assertEqual(found, ("redeploy-required", "unknown"), self.get(machine)["evidence"])
        record = self.end(machine, "redeploy-required", answer["operation_id"])
        self.assertEqual((record["reason"], record["log"]), (answer["reason"], []))
        self.assertEqual(machine.place.registry.asked, asked)
        self.assertEqual((machine.runs(), machine.place.tree()), (OLD, before))
        self.assertEqual(machine.command("upgrade").returncode, 3)
        self.assertEqual(self.starts(machine), 1)


class BesideACheckout(BesideCase):
    kind = GitPlace

    def test_a_checkout_is_told_of_upgraded_and_returned_from(self) -> None:
        machine = self.machine(start=False)
        machine.start(OLD)
        linked = machine.place.home / ".bun/install/global/node_modules/@openparachute/hub"
        linked.parent.mkdir(parents=True)
        linked.symlink_to(machine.place.checkout)
        machine.serve()
        before, head = machine.place.tree(), self.head(machine)
        path = str(machine.place.checkout)
        hub = self.told(machine, version=OLD, git_head=head, bun_linked_path=path)
        self.assertEqual((hub["install_source"], hub["source"]), ("git", "container"))
        machine.place.publish(NEW)
        answer = self.post(machine)
        self.assertEqual((answer["mode"], answer["target_version"]), ("in-place", None))
        record = self.end(machine, "succeeded", answer["operation_id"])
        self.assertEqual((record["target_version"], machine.runs()), (NEW, NEW))
        self.told(machine, version=NEW, git_head=self.head(machine))
        self.assertNotEqual(self.head(machine), head)
        back = self.post(machine, "/api/hub/rollback")
        self.end(machine, "succeeded", back["operation_id"])
        self.assertEqual((machine.runs(), machine.place.tree()), (OLD, before))
        self.told(machine, version=OLD, git_head=head)

    def test_the_version_that_a_plan_tells_is_one_to_ask_for_without_any_tag(self) -> None:
        machine = self.machine(start=False)
        machine.start(OLD)
        machine.serve()
        machine.place.publish(NEW)
        git(machine.place.author, "tag", "--delete", f"v{OLD}", f"v{NEW}")
        plan = self.get(machine, "/api/hub/upgrade/plan")
        self.assertEqual((plan["target"], plan["stops"]), (NEW, []))
        answer = self.post(machine, channel=plan["channel"], version=plan["target"])  # as the page
        self.end(machine, "succeeded", answer["operation_id"])
        self.assertEqual(machine.runs(), NEW)
        machine.place.publish(NEXT)
        git(machine.place.author, "tag", "--delete", f"v{NEXT}")
        answer = self.post(machine, version=OLD, allow_downgrade=True)
        record = self.end(machine, "failed", answer["operation_id"])
        self.assertIn(f"origin has no tag v{OLD}", record["error"])
        self.assertEqual(machine.runs(), NEW)

    def test_a_hub_json_that_was_changed_under_serve_upgrades_nothing_else(self) -> None:
        machine = self.machine(start=False)
        machine.start(OLD)
        machine.serve()
        self.told(machine, version=OLD)
        machine.place.publish(NEW)
        before, path = machine.place.tree(), Path(machine.home, "hub.json")
        accepted = json.loads(path.read_text())
        other = {**accepted["hub"], "health_url": "http://127.0.0.1:9/health"}
        for hub in (None, other):
            path.write_text(json.dumps({**accepted, "hub": hub}))
            record = self.end(machine, "failed", self.post(machine)["operation_id"])
            self.assertIn("hub.json has changed since this was accepted", record["error"])
            self.assertEqual((machine.runs(), machine.place.tree()), (OLD, before))
        path.write_text(json.dumps({**accepted, "ready_timeout_s": 19}))
        self.goes(machine, NEW)
        self.assertEqual(self.starts(machine), 2)

    def test_of_two_homes_that_upgrade_it_at_once_one_is_refused(self) -> None:
        machine = self.machine(start=False)
        go_on = machine.directory / "go on"
        waits = 'until test -e "$0"; do sleep 0.05; done'
        machine.configure(before_upgrade=["sh", "-c", waits, str(go_on)])
        machine.start(OLD)
        machine.place.publish(NEW)
        other = str(machine.directory / "another home")
        shutil.copytree(machine.home, other)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(machine.command, "upgrade")
            wait_for(lambda: machine.record().get("step") == "backing-up", "it is at work")
            refused = machine.command("upgrade", "--config-dir", other)
            go_on.touch()
            done = asked.result()
        said = refused.stdout + refused.stderr
        self.assertIn("another home's upgrade is at work in", said)
        self.assertEqual((refused.returncode, done.returncode), (1, 0), done.stderr)
        self.assertEqual((machine.runs(), self.starts(machine)), (NEW, 2))
        self.assertEqual(machine.command("rollback").returncode, 0)
        self.assertEqual(machine.runs(), OLD)

    def head(self, machine: Machine) -> str:
        """The commit of the checkout."""
        return git(machine.place.checkout, "rev-parse", "HEAD")


if __name__ == "__main__":
    unittest.main()
