"""A hub without a manager, in a container or kept alive by something else: it is asked to stop,
and the runtime runs its command again."""

from __future__ import annotations

import os
import signal
import time

from hub_upgrade.errors import HostError
from hub_upgrade.host import hub_process

LEAVE_S = 60.0
"""How long a hub may take to stop."""
LEFT_BY_ITSELF_S = 10.0
"""How long a hub is given that another helper may have asked to stop already."""
POLL_S = 0.05


class ContainerRestarter:
    """Section 7 of the contract, its last row."""

    def restart(self, process: str, again: bool) -> str:
        """Have the process end that has this identity ("" where nobody knows one); a line for the
        log. `again`: it may have been asked to already, and is given time first.

        On return it is gone, if it was known. Raises HostError when it stays: NOT restarted.
        """
        if not process:
            return "no process to restart is known: whatever runs the hub must restart it"
        pid = int(process.partition(":")[0])
        if again and _gone(process, LEFT_BY_ITSELF_S):
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
        if not _gone(process, LEAVE_S):
            raise HostError(
                f"NOT restarted: process {pid} did not end within {LEAVE_S:g} s of a SIGTERM; "
                f"restart the hub by hand: kill {pid}"
            )
        return f"process {pid} was asked to stop, and is gone: whatever runs it starts it again"


def _gone(process: str, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while hub_process.lives(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
