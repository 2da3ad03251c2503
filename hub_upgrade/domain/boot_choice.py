"""Which release to run, to fall back to, or to keep: pure choices over the record and the disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hub_upgrade.domain.boot_record import BootRecord, Next, Release, Trial
from hub_upgrade.domain.versions import sort_key
from hub_upgrade.shapes import NamedTuple

MOST_REJECTED = 50
DIGEST_DIGITS = 16
"""So much of its digest is in the name of a release's directory."""


class World(NamedTuple):
    """What the disk holds, as the driver last saw it."""

    releases: Mapping[str, Release]
    factory: Release
    tries: int = 3
    now: str = ""


def version_of(name: str) -> str:
    """The version in a release's directory name."""
    return name.rpartition("-")[0]


def is_rejected(name: str, rejected: Iterable[str]) -> bool:
    """Whether the release of this name is among the digests; its directory may be gone."""
    digits = name.rpartition("-")[2]
    return any(digest[:DIGEST_DIGITS] == digits for digest in rejected)


def look_up(name: str | None, world: World) -> Release | None:
    """A release that is whole, or None; the factory's own code is always there."""
    release = world.releases.get(name) if name else None
    if release is not None and release.whole:
        return release
    return world.factory if name == world.factory.name else None


def digest_of(name: str, record: BootRecord, world: World) -> str:
    """The true digest of a release, or nothing: that of a damaged file is not the release's."""
    release = look_up(name, world)
    if release is not None:
        return release.digest
    known = (v.digest for v in reversed(record.verdicts) if v.release == name)
    return next(known, "")


def best(
    record: BootRecord, world: World, passed_over: tuple[str, ...]
) -> tuple[str, list[str]]:
    """The release to run when there is nothing to try, and a line for each one passed over.

    The factory is the last resort, whatever is known about it: some hub always serves.
    """
    notes = []
    for name in _in_order((record.current, record.previous), record, world):
        if look_up(name, world) is None:
            notes.append(f"passed over {name}: it is missing or damaged")
        elif name in passed_over:
            notes.append(f"passed over {name}: it does not become ready")
        elif not is_rejected(name, record.rejected):
            return name, notes
    return world.factory.name, notes


def heir(record: BootRecord, world: World) -> str | None:
    """Who is current when nobody is: what was proven before, else the factory, else nobody."""
    for name in (*_in_order((record.previous,), record, world), world.factory.name):
        if look_up(name, world) is not None and not is_rejected(name, record.rejected):
            return name
    return None


def _in_order(
    first: Iterable[str | None], record: BootRecord, world: World
) -> list[str]:
    """`first`, then every other release marked `good`, the highest first."""
    good = [release for release in world.releases.values() if release.good and release.whole]
    names = [r.name for r in sorted(good, key=lambda r: sort_key(r.version), reverse=True)]
    fit = [name for name in names if not is_rejected(name, record.rejected)]
    return list(dict.fromkeys([name for name in first if name] + fit))


def lower_good(
    target: str, left: str | None, rejected: tuple[str, ...], world: World
) -> str | None:
    """The next release below `target` that is marked `good`, or None."""
    below = sort_key(version_of(target))
    fit = [
        release
        for release in world.releases.values()
        if release.good and release.whole and release.name not in (target, left)
        and not is_rejected(release.name, rejected) and sort_key(release.version) < below
    ]  # fmt: skip
    return max(fit, key=lambda release: sort_key(release.version)).name if fit else None


def factory_is_news(record: BootRecord, world: World) -> bool:
    """Whether the installed file is newer than what is current, and was never tried."""
    factory = world.factory
    if factory.name == record.current or factory.digest == record.factory_seen:
        return False
    if factory.digest in record.rejected:
        return False
    return sort_key(factory.version) > sort_key(version_of(record.current or ""))


def factory_trial(record: BootRecord, world: World) -> BootRecord:
    """The record with the factory on trial, seen from now on whatever the verdict."""
    factory = world.factory
    return record._replace(
        trial=Trial(factory.name, factory.digest, None, "factory", world.tries),
        factory_seen=factory.digest,
        rejected=without(record.rejected, factory.digest),
    )


def trial_of(nxt: Next, world: World) -> Trial:
    """What a helper handed over, as a trial with all its tries."""
    return Trial(nxt.release, nxt.digest, nxt.operation_id, nxt.kind, world.tries)


def cannot_try(trial: Trial, world: World, charged: bool) -> str:
    """Why a trial cannot be started, or nothing."""
    release = look_up(trial.release, world)
    if release is None or release.digest != trial.digest:
        return "the release is missing or damaged"
    if trial.tries_left <= 0 and not charged:
        return "it was started as often as allowed, and every time ended without anyone seeing why"
    return ""


def kept(record: BootRecord, running: Iterable[str], world: World) -> set[str]:
    """What pruning must leave: current, previous, trial, what runs, the factory's copy, and at
    least one release that was proven."""
    trial = record.trial.release if record.trial is not None else None
    names = {record.current, record.previous, trial, world.factory.name, *running}
    keep = {name for name in names if name}
    if not any(look_up(name, world) and world.releases[name].good for name in keep
               if name in world.releases):  # fmt: skip
        proven = _in_order((), record, world)
        keep.update(proven[:1])
    return keep


def rebuilt(
    releases: Mapping[str, Release], bad_digests: tuple[str, ...], now: str
) -> BootRecord:
    """A record made anew from the markers, when `boot.json` is not there or cannot be read."""
    good = [
        r for r in releases.values() if r.good and r.whole and r.digest not in bad_digests
    ]
    good.sort(key=lambda r: sort_key(r.version), reverse=True)
    names = [r.name for r in good]
    return BootRecord(
        current=names[0] if names else None,
        previous=names[1] if len(names) > 1 else None,
        rejected=bad_digests[-MOST_REJECTED:],
        rebuilt=now,
    )


def plus(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    """The bounded list with `item` as its newest."""
    return (*without(items, item), item)[-MOST_REJECTED:]


def without(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    """The list without `item`."""
    return tuple(other for other in items if other != item)
