"""What hub.json says of how a managed hub is restarted, where systemd keeps it."""

from __future__ import annotations

from tests.outside.restarters.managed_case import ManagedCase
from tests.outside.restarters.managed_hub import DYING, ENDLESS, SICK, UNIT
from tests.outside.restarters.managed_machine import NEW, NEXT, OLD

OTHER = "other.service"


class Overrides(ManagedCase):
    def test_exit_asks_the_process_to_stop_and_its_manager_starts_it_again(self) -> None:
        self.hub.begin(hub={"restart": "exit"}, **ENDLESS)
        self.hub.publish(NEW)
        self.upgrade()
        record = self.assert_ended("succeeded", NEW, (OLD, NEW))
        self.assertEqual(record["restarter"], "exit")
        self.assertNotIn("Stopping", self.hub.journal_since_it_began())

    def test_exit_asked_for_by_a_helper_inside_the_unit(self) -> None:
        self.hub.begin(hub={"restart": "exit"}, **ENDLESS)
        self.hub.publish(NEW)
        operation = self.hub.ask()
        self.hub.over(operation)
        self.assert_ended("succeeded", NEW, (OLD, NEW))
        self.goes_on(NEXT, OLD, NEW)

    def test_none_restarts_nothing_and_is_proven_once_somebody_has(self) -> None:
        self.hub.begin(hub={"restart": "none"})
        self.hub.publish(NEW)
        operation = self.hub.ask()
        helper = self.hub.reaches("proving")["helper_pid"]
        self.hub.wait(lambda: not self.hub.lives(helper), "the helper's end")
        for _look in range(3):
            self.hub.hub_pyz("status")
        self.assertEqual([one.version for one in self.hub.starts()], [OLD])
        self.assertEqual(self.hub.record()["phase"], "restarting")
        self.assert_says(self.hub.record(), "must restart it")
        self.hub.obeyed("restart", UNIT)
        self.hub.until(NEW)
        self.hub.hub_pyz("status")
        self.hub.over(operation)
        self.assert_ended("succeeded", NEW, (OLD, NEW))

    def test_none_is_not_restarted_to_go_back_either(self) -> None:
        self.none_and_bad(SICK)

    def test_none_and_a_version_that_never_answers_ends_all_the_same(self) -> None:
        self.none_and_bad(DYING)
        self.hub.obeyed("reset-failed", UNIT)
        self.hub.obeyed("restart", UNIT)
        self.assert_ended("failed", OLD, (OLD, NEW, OLD))

    def none_and_bad(self, behaviour: str) -> None:
        self.hub.begin(hub={"restart": "none"})
        self.hub.publish(NEW, behaviour)
        operation = self.hub.ask()
        helper = self.hub.reaches("proving")["helper_pid"]
        self.hub.wait(lambda: not self.hub.lives(helper), "the helper's end")
        self.hub.control("restart", UNIT)
        self.hub.hub_pyz("status")
        record = self.hub.over(operation)
        self.assertEqual(record["phase"], "failed", self.hub.told())
        self.assertEqual([one.version for one in self.hub.starts()], [OLD, NEW])
        self.assertEqual(self.hub.head(), OLD)
        self.assert_says(record, "once the hub is restarted")

    def test_another_unit_that_is_named(self) -> None:
        self.hub.begin(hub={"unit": OTHER}, run=False)
        self.hub.write_unit(OTHER)
        self.hub.obeyed("start", OTHER)
        self.hub.until(OLD)
        self.hub.publish(NEW)
        self.upgrade()
        record = self.assert_ended("succeeded", NEW, (OLD, NEW))
        self.assertEqual(record["restarter"], f"systemd system {OTHER}")
        self.assertEqual(self.hub.control("is-active", UNIT).stdout, "inactive\n")

    def test_another_unit_that_is_seen(self) -> None:
        self.hub.begin(run=False)
        self.machine.sh(f"rm {self.hub.units}/{UNIT}")
        self.hub.write_unit(OTHER)
        self.hub.obeyed("start", OTHER)
        self.hub.until(OLD)
        self.hub.publish(NEW)
        self.upgrade()
        record = self.assert_ended("succeeded", NEW, (OLD, NEW))
        self.assertEqual(record["restarter"], f"systemd system {OTHER}")

    def test_an_instance_of_a_template_that_is_named_without_its_ending(self) -> None:
        self.hub.begin(hub={"unit": "hub@blue"}, run=False)
        self.machine.sh(f"rm {self.hub.units}/{UNIT}")
        self.hub.write_unit("hub@.service")
        self.addCleanup(self.machine.sh, f"rm -f {self.hub.units}/hub@.service")
        self.hub.unit = "hub@blue.service"
        self.hub.obeyed("start", self.hub.unit)
        self.hub.until(OLD)
        self.hub.publish(NEW)
        self.upgrade()
        record = self.assert_ended("succeeded", NEW, (OLD, NEW))
        self.assertEqual(record["restarter"], "systemd system hub@blue.service")

    def test_a_unit_whose_main_process_is_a_shell_around_the_hub(self) -> None:
        self.hub.begin(run=False)
        self.machine.sh(f"rm {self.hub.units}/{UNIT}")
        command = f"/bin/sh -c '/usr/bin/python3 {self.hub.checkout}/server.py; exit 0'"
        self.hub.write_unit(OTHER, ExecStart=command, Type="simple")
        self.hub.obeyed("start", OTHER)
        self.hub.until(OLD)
        self.hub.publish(NEW)
        self.upgrade()
        self.hub.until(NEW)
        self.assertEqual([one.version for one in self.hub.starts()], [OLD, NEW])
        record = self.hub.record()
        self.assertEqual((record["phase"], record["restarter"]),
                         ("succeeded", f"systemd system {OTHER}"))  # fmt: skip
