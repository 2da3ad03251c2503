"""`hub.pyz serve` beside somebody else's hub: 1.0.0 looks after a hub that begins with 2.0.0."""

from __future__ import annotations

import os
from typing import Any

from tests.e2e.harness import FINISHED, Hub, accepted, wait_for
from tests.outside.sources.machine import Machine, MachineCase
from tests.outside.sources.places import BunPlace

OLD, NEW, NEXT = "2.0.0", "2.1.0", "2.2.0"
OURS = "1.0.0"


class BesideCase(MachineCase):
    """A test with both of them."""

    kind: Any = BunPlace

    def beside(self, **config: Any) -> Machine:
        """A machine where both run."""
        machine = self.machine(start=False, **config)
        machine.start(OLD)
        machine.serve()
        self.told(machine, version=OLD)
        return machine

    def hub(self, machine: Machine) -> Hub:
        """The one that looks after the other."""
        assert machine.hub is not None
        return machine.hub

    def get(self, machine: Machine, path: str = "/api/hub") -> Any:
        """What it answers, as soon as it has looked at the other hub."""
        hub = self.hub(machine)

        def answered() -> Any:
            status, answer = hub.request("GET", path, None, hub.token())
            return None if status == 503 else (status, answer)

        status, answer = wait_for(answered, path)
        self.assertEqual(status, 200, answer)
        return answer

    def told(self, machine: Machine, **expected: Any) -> dict[str, Any]:
        """`/api/hub`, waited for until it tells these."""
        found: dict[str, Any] = {}

        def tells() -> bool:
            found.update(self.get(machine))
            return {name: found.get(name) for name in expected} == expected

        try:
            wait_for(tells, "")
        except AssertionError:
            raise AssertionError(f"{expected} is not told: {found}") from None
        return found

    def post(
        self, machine: Machine, path: str = "/api/hub/upgrade", itself: bool = False, **body: Any
    ) -> Any:
        """The answer to a POST that is accepted."""
        hub = self.hub(machine)
        if itself:
            body["self"] = True
        self.get(machine)

        def asked() -> tuple[int, Any]:
            return wait_for(looked, path)  # type: ignore[no-any-return]

        def looked() -> tuple[int, Any] | None:
            status, answer = hub.request("POST", path, body or None, hub.token())
            return None if status == 503 else (status, answer)

        return accepted(asked)

    def end(self, machine: Machine, phase: str, operation_id: str) -> dict[str, Any]:
        """The terminal record of this operation, with this phase."""
        record = self.hub(machine).finished(operation_id)
        log = os.path.join(machine.home, "logs", f"upgrade-{operation_id}.log")
        with open(log, encoding="utf-8", errors="replace") if os.path.exists(log) else open(
            os.devnull, encoding="utf-8"
        ) as file:
            self.assertEqual(record["phase"], phase, f"{record}\n{file.read()[-3000:]}")
        return record

    def goes(self, machine: Machine, version: str, **body: Any) -> dict[str, Any]:
        """An upgrade by POST that must succeed."""
        record = self.end(machine, "succeeded", self.post(machine, **body)["operation_id"])
        self.assertEqual((record["target_version"], machine.runs()), (version, version), record)
        return record

    def starts(self, machine: Machine) -> int:
        """How often the managed hub was started."""
        assert machine.runtime is not None
        return machine.runtime.starts


def is_open(machine: Machine) -> bool:
    """Whether an operation is under way."""
    return machine.record().get("phase", FINISHED[0]) not in FINISHED
