"""`systemctl stop` and `systemctl restart` of a managed hub's unit while it is upgraded: what
somebody orders is obeyed, and is no fault of the release's."""

from __future__ import annotations

from tests.outside.restarters.managed_case import ManagedCase
from tests.outside.restarters.managed_hub import LEAVING, ONCE
from tests.outside.restarters.managed_hub import SLOW as STARTS_SLOWLY
from tests.outside.restarters.managed_machine import NEW, OLD

STOP, RESTART = "stop", "restart"


class Ordered(ManagedCase):
    """At each moment of an upgrade that lasts: prepared, stopping, starting, on probation."""

    def while_it_is_prepared(self, order: str) -> str:
        self.hub.begin()
        waits = f"until test -e {self.hub.root}/go; do sleep 0.05; done"
        self.hub.configure(before_upgrade=["sh", "-c", waits])
        self.hub.publish(NEW)
        operation = self.hub.ask()
        self.hub.reaches("backing-up")
        self.hub.obeyed(order, self.hub.unit)
        self.hub.path(f"{self.hub.root}/go").touch()
        return operation

    def while_the_old_one_stops(self, order: str) -> str:
        self.hub.begin(Environment="STOP_S=3")
        self.hub.publish(NEW)
        operation = self.hub.ask()
        self.until_it_is("deactivating")
        self.hub.obeyed(order, self.hub.unit)
        return operation

    def while_the_new_one_starts(self, order: str) -> str:
        self.hub.begin()
        self.hub.publish(NEW, STARTS_SLOWLY)
        operation = self.hub.ask()
        self.until_it_is("activating")
        self.hub.obeyed(order, self.hub.unit)
        return operation

    def in_probation(self, order: str, status: int = 0) -> str:
        self.hub.begin(Environment=f"STOP_STATUS={status}")
        self.hub.configure(probation_s=12 if order == STOP else 4)
        self.hub.publish(NEW)
        operation = self.hub.ask()
        self.hub.reaches("proving")
        self.hub.until(NEW)
        self.hub.obeyed(order, self.hub.unit)
        return operation

    def stays_down(self, operation: str, state: str = "inactive") -> None:
        """The version before lies there again, nobody starts it but who stopped it, and then the
        new one may be tried again without being named."""
        record, before = self.hub.over(operation), self.hub.starts()
        self.assert_says(record, "the hub was stopped", f"{OLD} is put back")
        self.assertEqual(record["phase"], "failed")
        self.assertEqual(self.hub.obeyed("show", "--property=ActiveState", self.hub.unit),
                         f"ActiveState={state}", self.hub.told())  # fmt: skip
        self.assertEqual(self.hub.head(), OLD)
        self.hub.obeyed("start", self.hub.unit)
        self.hub.until(OLD)
        self.assertEqual(len(self.hub.starts()), len(before) + 1, self.hub.told())
        self.hub.configure()
        self.upgrade()
        self.hub.until(NEW)

    def succeeds(self, operation: str) -> None:
        """Whatever was started meanwhile, the new one is proven."""
        self.hub.over(operation)
        versions = tuple(one.version for one in self.hub.starts())
        self.assertEqual(versions[-1], NEW, self.hub.told())
        self.assert_ended("succeeded", NEW, versions)


class NobodysOrder(ManagedCase):
    """What looks like one, and is the release's own doing."""

    def is_taken_back(self, behaviour: str, *started: str) -> None:
        self.hub.configure(probation_s=10)
        self.hub.publish(NEW, behaviour)
        self.upgrade(code=5)
        record = self.assert_ended("failed", OLD, (OLD, *started, OLD))
        self.assertEqual(record["rolled_back_to"], OLD)
        self.assertNotIn("the hub was stopped", record["error"])
        refused = self.upgrade(code=1).stdout
        self.assertIn("failed here before", refused)

    def test_one_that_leaves_politely_is_no_stop(self) -> None:
        self.hub.begin()
        self.hub.obeyed("enable", self.hub.unit)  # or its manager would forget it
        self.is_taken_back(LEAVING, NEW)

    def test_one_that_another_unit_starts_again_is_no_restart(self) -> None:
        self.hub.begin()
        upholds = f"[Unit]\nUpholds={self.hub.unit}\n[Service]\nExecStart=/bin/sleep 999"
        self.machine.sh(f"printf '{upholds}' >/run/systemd/system/keeper.service")
        self.addCleanup(self.hub.control, "stop", "keeper.service")
        self.hub.obeyed("start", "keeper.service")
        self.is_taken_back(ONCE, NEW, NEW)


class OfTheSystem(Ordered):
    def test_a_stop_while_it_is_prepared(self) -> None:
        self.stays_down(self.while_it_is_prepared(STOP))

    def test_a_stop_while_the_old_one_stops(self) -> None:
        self.stays_down(self.while_the_old_one_stops(STOP))

    def test_a_stop_while_the_new_one_starts(self) -> None:
        self.stays_down(self.while_the_new_one_starts(STOP))

    def test_a_stop_in_probation(self) -> None:
        self.stays_down(self.in_probation(STOP))

    def test_a_stop_of_one_that_ends_with_a_status_of_its_own(self) -> None:
        """As Java and others do, and so its unit has failed."""
        operation = self.in_probation(STOP, status=143)
        self.stays_down(operation, "failed")

    def test_a_restart_while_it_is_prepared(self) -> None:
        self.succeeds(self.while_it_is_prepared(RESTART))

    def test_a_restart_while_the_old_one_stops(self) -> None:
        self.succeeds(self.while_the_old_one_stops(RESTART))

    def test_a_restart_while_the_new_one_starts(self) -> None:
        self.succeeds(self.while_the_new_one_starts(RESTART))

    def test_a_restart_in_probation(self) -> None:
        self.succeeds(self.in_probation(RESTART))


class OfAUser(Ordered):
    scope = "user"

    def test_a_stop_in_probation(self) -> None:
        self.stays_down(self.in_probation(STOP))

    def test_a_restart_in_probation(self) -> None:
        self.succeeds(self.in_probation(RESTART))
