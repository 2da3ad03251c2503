"""The values of `boot.json` and `next.json`, and how they read on the wire: format 1 for ever.

Fields are added, never changed and never newly required: an old launcher reads what a new
release wrote, and the other way round. So reading forgives whatever is missing.
"""

from __future__ import annotations

from hub_upgrade.shapes import Any, NamedTuple

FORMAT = 1
KINDS = ("upgrade", "rollback", "factory")
LONGEST_NAME = 200


class Trial(NamedTuple):
    """A release that may be started `tries_left` more times until it is trusted or rejected."""

    release: str
    digest: str
    operation_id: str | None
    kind: str
    tries_left: int


class Verdict(NamedTuple):
    """What became of a trial: `verdict` is `committed` or `rejected`."""

    operation_id: str | None
    verdict: str
    release: str
    digest: str
    reason: str
    at: str
    output: tuple[str, ...]


class Next(NamedTuple):
    """What a helper hands over. `named`: the operator asked for this very version."""

    operation_id: str
    kind: str
    release: str
    digest: str
    named: bool


class Release(NamedTuple):
    """One release directory as it lies on the disk."""

    name: str
    version: str
    digest: str
    good: bool = False
    bad: bool = False
    whole: bool = True


class BootRecord(NamedTuple):
    """What the launcher knows for good. `rebuilt` is when it was last made anew from markers."""

    current: str | None = None
    previous: str | None = None
    trial: Trial | None = None
    rejected: tuple[str, ...] = ()
    factory_seen: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    rebuilt: str | None = None

    def knows(self, operation_id: str) -> bool:
        """Whether an operation has a trial or a verdict here."""
        if self.trial is not None and self.trial.operation_id == operation_id:
            return True
        return self.verdict_on(operation_id) is not None

    def verdict_on(self, operation_id: str) -> Verdict | None:
        """The verdict on an operation, if it is among those kept."""
        for verdict in reversed(self.verdicts):
            if verdict.operation_id == operation_id:
                return verdict
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and not value.strip("0123456789abcdef")


def _is_name(value: Any) -> bool:
    """Whether it can be part of a file's name, the longest mark beside it included."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or value[0] == ".":
        return False
    return value.isascii() and value.isprintable() and "/" not in value


def _name(value: Any) -> str | None:
    return value if _is_name(value) else None


def boot_to_wire(record: BootRecord) -> dict[str, Any]:
    """The content of `boot.json`."""
    wire: dict[str, Any] = {"format": FORMAT, **record._asdict()}
    wire["trial"] = record.trial._asdict() if record.trial else None
    wire["verdicts"] = [verdict._asdict() for verdict in record.verdicts]
    return wire


def boot_from_wire(raw: dict[str, Any]) -> BootRecord | None:
    """The record in a `boot.json`, or None if it is not one."""
    if raw.get("format") != FORMAT:
        return None
    rejected = raw.get("rejected")
    verdicts = raw.get("verdicts")
    read = [_verdict(item) for item in verdicts] if isinstance(verdicts, list) else []
    return BootRecord(
        current=_name(raw.get("current")),
        previous=_name(raw.get("previous")),
        trial=_trial(raw.get("trial")),
        rejected=tuple(d for d in rejected if _is_digest(d)) if isinstance(rejected, list) else (),
        factory_seen=_text(raw.get("factory_seen")),
        verdicts=tuple(verdict for verdict in read if verdict is not None),
        rebuilt=_text(raw.get("rebuilt")),
    )


def _trial(raw: Any) -> Trial | None:
    if not isinstance(raw, dict):
        return None
    if not _is_name(raw.get("release")) or not _is_digest(raw.get("digest")):
        return None
    tries = raw.get("tries_left")
    kind = raw.get("kind")
    return Trial(
        release=raw["release"],
        digest=raw["digest"],
        operation_id=_name(raw.get("operation_id")),
        kind=kind if kind in KINDS else "upgrade",
        tries_left=tries if isinstance(tries, int) and 0 <= tries <= 100 else 0,
    )


def _verdict(raw: Any) -> Verdict | None:
    if not isinstance(raw, dict) or raw.get("verdict") not in ("committed", "rejected"):
        return None
    output = raw.get("output")
    lines = output if isinstance(output, list) else []
    return Verdict(
        operation_id=_name(raw.get("operation_id")),
        verdict=raw["verdict"],
        release=_text(raw.get("release")) or "",
        digest=_text(raw.get("digest")) or "",
        reason=_text(raw.get("reason")) or "",
        at=_text(raw.get("at")) or "",
        output=tuple(line for line in lines if isinstance(line, str)),
    )


def next_to_wire(nxt: Next) -> dict[str, Any]:
    """The content of `next.json`."""
    return {"format": FORMAT, **nxt._asdict()}


def next_from_wire(raw: dict[str, Any]) -> Next | None:
    """What a `next.json` names, or None if it does not name a release."""
    operation_id = _name(raw.get("operation_id"))
    if raw.get("format") != FORMAT or operation_id is None:
        return None
    if not _is_name(raw.get("release")) or not _is_digest(raw.get("digest")):
        return None
    kind = raw.get("kind")
    return Next(
        operation_id=operation_id,
        kind=kind if kind in KINDS else "upgrade",
        release=raw["release"],
        digest=raw["digest"],
        named=raw.get("named") is True,
    )
