"""Whether a trial was healthy for long enough: looks and moments in, a judgement out. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hub_upgrade.shapes import Any, NamedTuple

LOOK_EVERY_S = 1.0
TRIAL_HUNG_S = 10.0
"""A trial that sends no WATCHDOG=1 for this long, while the launcher itself ran, is hung."""

HEALTHY = "healthy"
UNHEALTHY = "unhealthy"
INCONCLUSIVE = "inconclusive"


class Expected(NamedTuple):
    """What a healthy trial says of itself."""

    version: str
    digest: str


class Probation(NamedTuple):
    """One trial's time since READY; moments are monotonic seconds."""

    ready_at: float
    healthy_since: float | None = None
    instance: str | None = None


def judge(
    expected: Expected, instance: str | None, status: int, body: Mapping[str, Any], why: str
) -> tuple[str, str]:
    """One look: healthy, unhealthy or inconclusive, and why."""
    if status == 0:
        return INCONCLUSIVE, why
    if status == 503 and body.get("error") == "overloaded":
        return INCONCLUSIVE, "it is overloaded"
    if status != 200:
        return UNHEALTHY, why or f"/health answered {status}"
    if body.get("version") != expected.version:
        return UNHEALTHY, f"it says it is version {str(body.get('version'))[:100]!r}"
    if body.get("release") != expected.digest:
        return UNHEALTHY, "it says it is another release (the digest differs)"
    if not isinstance(body.get("instance"), str) or not body["instance"]:
        return UNHEALTHY, "it does not say which instance it is"
    if instance is not None and body.get("instance") != instance:
        return UNHEALTHY, "its process changed during probation"
    return HEALTHY, ""


def looked(
    probation: Probation, expected: Expected, seen: tuple[int, Mapping[str, Any], str], now: float
) -> tuple[Probation, str]:
    """Take in one look; the text says why the trial is unhealthy, and is empty otherwise."""
    status, body, why = seen
    word, reason = judge(expected, probation.instance, status, body, why)
    if word == UNHEALTHY:
        return probation, reason
    if word == INCONCLUSIVE:  # healthy *throughout*: the time starts anew, up to the maximum
        return probation._replace(healthy_since=None), ""
    since = now if probation.healthy_since is None else probation.healthy_since
    return probation._replace(healthy_since=since, instance=body["instance"]), ""


def proven(probation: Probation, now: float, probation_s: float) -> bool:
    """Whether it was healthy for the whole time, the present look included."""
    since = probation.healthy_since
    return since is not None and now - since >= probation_s


def unprovable(probation: Probation, now: float, probation_max_s: float) -> bool:
    """Whether the longest time for a proof is over."""
    return now - probation.ready_at > probation_max_s


def next_look_in(probation: Probation, now: float, probation_s: float) -> float:
    """Seconds until the next look: every second, and one at the very end of probation."""
    since = probation.healthy_since
    if since is None:
        return LOOK_EVERY_S
    return min(LOOK_EVERY_S, max(0.01, since + probation_s - now))


def slept(probation: Probation, gap: float) -> Probation:
    """Give back the time in which the launcher itself did not run."""
    since = probation.healthy_since
    return probation._replace(
        ready_at=probation.ready_at + gap,
        healthy_since=None if since is None else since + gap,
    )
