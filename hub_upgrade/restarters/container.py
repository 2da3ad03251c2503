"""A hub without a manager, in a container or kept alive by something else: it is asked to stop,
and the runtime runs its command again. And one that nobody is to restart."""

from __future__ import annotations

import os
import signal

from hub_upgrade.domain.restart import Choice, evidence_of
from hub_upgrade.errors import HostError, RefusedError
from hub_upgrade.host import hub_process

LEAVE_S = 60.0
"""How long a hub may take to stop."""
LEFT_BY_ITSELF_S = 10.0
"""How long a hub is given that another helper may have asked to stop already."""


class WithoutManager:
    """What nobody can be asked about; see upgrade.ports.Restarter."""

    by_manager = False

    def mark(self) -> None:
        """Nothing."""

    def ordered(self) -> str:
        """Not to be known."""
        return ""

    def tell(self) -> list[str]:
        """Nothing."""
        return []


class ContainerRestarter(WithoutManager):
    """Section 7 of the contract, its last row."""

    limit_s = int(LEAVE_S + LEFT_BY_ITSELF_S)

    def __init__(self, choice: Choice) -> None:
        self._choice = choice

    def check(self) -> str:
        """How it is restarted; raises RefusedError where its end would be ours."""
        if self._choice.refused:
            raise RefusedError("cannot_restart", f"{self._choice.refused}; nothing was changed")
        return evidence_of(self._choice)

    def restart(self, process: str, again: bool, back: bool = False) -> str:  # noqa: ARG002
        """Have the process end that has this identity ("" where nobody knows one); a line for the
        log. `again`: it may have been asked to already, and is given time first.

        On return it is gone, if it was known. Raises HostError when it stays: NOT restarted.
        """
        if not process:
            return "no process to restart is known: whatever runs the hub must restart it"
        pid = int(process.partition(":")[0])
        if again and hub_process.ends(process, LEFT_BY_ITSELF_S):
            return f"process {pid} is gone already"
        if not hub_process.lives(process):
            return f"process {pid} is gone already: nothing was signalled"
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return f"process {pid} is gone already: nothing was signalled"
        except OSError as error:
            raise HostError(
                f"NOT restarted: process {pid} cannot be signalled ({error.strerror}); restart "
                "the hub by hand, as the user whose it is"
            ) from error
        if not hub_process.ends(process, LEAVE_S):
            raise HostError(
                f"NOT restarted: process {pid} did not end within {LEAVE_S:g} s of a SIGTERM; "
                f"restart the hub by hand: kill {pid}"
            )
        return f"process {pid} was asked to stop, and is gone: whatever runs it starts it again"


class NobodyRestarter(WithoutManager):
    """Nobody is asked, ever: whoever runs the hub restarts it."""

    limit_s = 0

    def __init__(self, choice: Choice) -> None:
        self._choice = choice

    def check(self) -> str:
        """That it is to be restarted by somebody else."""
        return evidence_of(self._choice)

    def restart(self, process: str, again: bool, back: bool = False) -> str:  # noqa: ARG002
        """Say so."""
        return f"{self._choice.why}: whoever runs the hub must restart it now"
