"""What another home's operation has left half-way in the same place: it alone can take it back."""

from __future__ import annotations

from hub_upgrade.errors import RefusedError
from hub_upgrade.host.files import Home
from hub_upgrade.host.status_store import StatusStore


def refuse_left(home: str, operation_id: str, ours: str) -> None:
    """Raise RefusedError where `home` is not `ours`, and this operation of it has not ended."""
    record = StatusStore(Home(home)).read() if home and home != ours else None
    if record is not None and record.operation_id == operation_id and not record.finished:
        raise RefusedError(
            "upgrade_in_flight",
            f"what the home {home} began to rewrite here has not ended: hub.pyz status "
            f"--config-dir {home} goes on with it; nothing was changed",
        )
