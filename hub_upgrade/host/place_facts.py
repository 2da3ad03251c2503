"""What the machine says about how a managed hub is installed: probe_managed() -> ManagedFacts.

For a helper, a one-shot child or the command line: it reads disks and runs git.
"""

from __future__ import annotations

from collections.abc import Mapping

from hub_upgrade.domain.managed import Managed
from hub_upgrade.domain.place import ManagedFacts
from hub_upgrade.host.files import Home
from hub_upgrade.host.executed import HubProcess


def probe_managed(
    home: Home,
    managed: Managed,
    process: HubProcess | None,
    environ: Mapping[str, str],
    persists: bool | None,
) -> ManagedFacts:
    """Facts for the managed hub; `process` is the one that answers for it, or None. Never raises.

    `persists` is the operator's word on home, and weighs for what lies in home alone.
    """
    raise NotImplementedError
