"""A helper that is killed around the restart of a unit: whoever starts next brings it to its end,
and the unit is restarted once for each way that the operation goes, never twice."""

from __future__ import annotations

from typing import Any

from tests.e2e.harness import FINISHED
from tests.outside.restarters.managed_boot import SLOW, SLOWLY
from tests.outside.restarters.managed_case import ManagedCase
from tests.outside.restarters.managed_hub import DYING, LAST_WORDS, SICK
from tests.outside.restarters.managed_hub import SLOW as STARTS_SLOWLY
from tests.outside.restarters.managed_machine import NEW, NEXT, OLD, SERVE

LEAVES_S = 5
"""How long a hub takes to stop, or to be proven: to be seen then, and to kill the helper."""
HELPER, STATUS, SERVING = "helper", "status", "serve"
BUSY = 4


class Killed(ManagedCase):
    """`ask` has the hub start a helper inside its unit; that leaves by a scope of its own."""

    def kill_the_helper(self) -> None:
        pid = self.hub.record()["helper_pid"]
        self.machine.sh(f"kill -KILL {pid}")
        self.hub.wait(lambda: not self.hub.lives(pid), "its end")

    def goes_on_by(self, who: str, operation: str) -> dict[str, Any]:
        """Somebody starts, and the operation comes to its end."""
        if who == HELPER:
            self.hub.wait(lambda: self.ended_by_another(operation), "an end by another helper")
        elif who == STATUS:
            self.hub.wait(lambda: self.looked_at() in FINISHED, "an end by who looks")
        else:
            self.hub.serve()
        return self.hub.over(operation)

    def ended_by_another(self, operation: str) -> bool:
        """False as long as the dead one's tool is at work still, which holds its lock."""
        done = self.hub.hub_pyz("helper", "--op", operation, "--channel", "latest")
        self.assertIn(done.returncode, (0, BUSY, 5), f"{done}\n{self.hub.told()}")
        return done.returncode != BUSY

    def looked_at(self) -> str:
        """The phase, as it is after somebody has looked."""
        done = self.hub.hub_pyz("status")
        self.assertEqual(done.returncode, 0, f"{done}\n{self.hub.told()}")
        return str(self.hub.record()["phase"])

    def at_the_order(self, who: str, **settings: Any) -> None:
        """Killed when everything is rewritten, and nobody has been asked to restart yet."""
        for name in ("asked", "go"):
            self.hub.path(f"{SLOW}/{name}").unlink(missing_ok=True)
        self.hub.begin(**settings)
        self.hub.publish(NEW)
        operation = self.hub.ask(PATH=SLOWLY)
        asked = self.hub.path(f"{SLOW}/asked")
        self.hub.wait(lambda: asked.exists() and asked.read_text().endswith("\n"), "the order")
        self.assertEqual(self.hub.record()["step"], "handing-over")
        self.kill_the_helper()
        self.machine.run(f"kill -KILL {asked.read_text()}")  # where it did not end with its parent
        self.hub.path(f"{SLOW}/go").touch()
        self.assertEqual([one.version for one in self.hub.starts()], [OLD])
        self.goes_on_by(who, operation)
        self.assert_ended("succeeded", NEW, (OLD, NEW))

    def while_it_stops(self, who: str) -> None:
        """Killed while the manager waits for the old hub to end."""
        self.hub.begin(Environment=f"STOP_S={LEAVES_S}")
        self.hub.publish(NEW)
        operation = self.hub.ask()
        self.until_it_is("deactivating")
        self.kill_the_helper()
        self.assertEqual([one.version for one in self.hub.starts()], [OLD])
        self.goes_on_by(who, operation)
        self.assert_ended("succeeded", NEW, (OLD, NEW))

    def while_it_stops_for_a_bad_one(self, who: str) -> None:
        """Killed while the manager waits for the old hub to end; then the new one does not come
        up, with nobody there to see it."""
        self.hub.begin(Environment=f"STOP_S={LEAVES_S}")
        self.hub.publish(NEW, DYING)
        operation = self.hub.ask()
        self.until_it_is("deactivating")
        self.kill_the_helper()
        self.until_it_is("failed")
        record = self.goes_on_by(who, operation)
        self.assert_ended("failed", OLD, (OLD, NEW, OLD))
        self.assert_says(record, LAST_WORDS)
        self.goes_on(NEXT, OLD, NEW, OLD)

    def while_it_starts(self, who: str) -> None:
        """Killed while the manager waits for the new hub to be ready."""
        self.hub.begin()
        self.hub.publish(NEW, STARTS_SLOWLY)
        operation = self.hub.ask()
        self.until_it_is("activating")
        self.kill_the_helper()
        self.goes_on_by(who, operation)
        self.assert_ended("succeeded", NEW, (OLD, NEW))

    def in_probation(self, who: str) -> None:
        """Killed when the new hub serves, and is not proven yet."""
        self.hub.begin()
        self.hub.configure(probation_s=LEAVES_S)
        self.hub.publish(NEW)
        operation = self.hub.ask()
        self.hub.reaches("proving")
        self.kill_the_helper()
        self.goes_on_by(who, operation)
        self.assert_ended("succeeded", NEW, (OLD, NEW))

    def on_the_way_back(self, who: str) -> None:
        """Killed while the manager waits for the bad one to end."""
        self.hub.begin(Environment=f"STOP_S={LEAVES_S}")
        self.hub.publish(NEW, SICK)
        operation = self.hub.ask()
        self.hub.reaches("reverting")
        self.until_it_is("deactivating")
        self.kill_the_helper()
        record = self.goes_on_by(who, operation)
        self.assert_ended("failed", OLD, (OLD, NEW, OLD))
        self.assertEqual(record["rolled_back_to"], OLD)
        self.goes_on(NEXT, OLD, NEW, OLD)


class UnderTheSystem(Killed):
    def test_at_the_order_and_a_helper_by_hand(self) -> None:
        self.at_the_order(HELPER)

    def test_at_the_order_and_somebody_looks(self) -> None:
        self.at_the_order(STATUS)

    def test_at_the_order_and_serve_starts(self) -> None:
        self.at_the_order(SERVING)

    def test_while_the_old_one_stops_and_a_helper_by_hand(self) -> None:
        self.while_it_stops(HELPER)

    def test_while_the_old_one_stops_and_serve_starts(self) -> None:
        self.while_it_stops(SERVING)

    def test_while_the_new_one_starts_and_somebody_looks(self) -> None:
        self.while_it_starts(STATUS)

    def test_while_the_old_one_stops_for_a_bad_one_and_a_helper_by_hand(self) -> None:
        self.while_it_stops_for_a_bad_one(HELPER)

    def test_in_probation_and_serve_starts(self) -> None:
        self.in_probation(SERVING)

    def test_in_probation_and_a_helper_by_hand(self) -> None:
        self.in_probation(HELPER)

    def test_on_the_way_back_and_somebody_looks(self) -> None:
        self.on_the_way_back(STATUS)

    def test_beside_serve_which_starts_another_by_itself(self) -> None:
        self.hub.begin(Environment=f"STOP_S={LEAVES_S}")
        self.hub.serve()
        self.hub.publish(NEW)
        operation = self.hub.post()
        self.until_it_is("deactivating")
        self.kill_the_helper()
        self.hub.over(operation)
        self.assert_ended("succeeded", NEW, (OLD, NEW))

    def test_with_serve_itself_and_its_whole_unit(self) -> None:
        self.hub.begin(Environment=f"STOP_S={LEAVES_S}")
        self.hub.serve()
        self.hub.publish(NEW)
        operation = self.hub.post()
        self.until_it_is("deactivating")
        self.hub.obeyed("kill", "--signal=KILL", SERVE)
        self.goes_on_by(SERVING, operation)
        self.assert_ended("succeeded", NEW, (OLD, NEW))


class UnderAUser(Killed):
    scope = "user"

    def test_at_the_order_and_somebody_looks(self) -> None:
        self.at_the_order(STATUS)

    def test_while_the_old_one_stops_and_serve_starts(self) -> None:
        self.while_it_stops(SERVING)

    def test_on_the_way_back_and_a_helper_by_hand(self) -> None:
        self.on_the_way_back(HELPER)
