"""The bounds of connections, and the answers to who goes beyond them."""

from __future__ import annotations

from hub_upgrade.shapes import NamedTuple
from hub_upgrade.web.messages import error_response

OVERLOADED = error_response(
    503,
    "overloaded",
    "the hub has too much to do at this moment; try again in a second",
    (("retry-after", "1"),),
)
TIMED_OUT = error_response(408, "request_timeout", "the request did not arrive whole in time")


class Limits(NamedTuple):
    """Every bound of the connections; times in seconds.

    A request may take `request_s` from its first byte to the end of its head, and `body_s` from
    there; `write_s` is without any progress. `grace_s` is what a stuck or idle client has before
    it can be closed for another one (`crowd.least_deserving`); a feed is looked at every `feed_s`,
    and a stream that has been silent for `comment_s` gets a comment.
    """

    connections: int = 512
    turned_away: int = 64
    streams: int = 64
    children: int = 8
    request_s: float = 15.0
    body_s: float = 30.0
    idle_s: float = 75.0
    write_s: float = 30.0
    linger_s: float = 2.0
    grace_s: float = 1.0
    comment_s: float = 15.0
    feed_s: float = 0.1
    sweep_s: float = 1.0


LIMITS = Limits()
