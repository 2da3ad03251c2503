"""The operator's page: three files, read once at the start, and the headers that keep them in."""

from __future__ import annotations

import os

from hub_upgrade.shapes import Any
from hub_upgrade.web.messages import Request, Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing but the hub's own files, no inline code, in nobody's frame (CSP Level 3)."""

HEADERS = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
)
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def _load(name: str) -> Response:
    """One file of the page, out of the archive that runs; raises OSError."""
    path = os.path.join(os.path.dirname(__file__), "page", name)
    loader: Any = __spec__.loader
    kind = KINDS[os.path.splitext(name)[1]]
    return Response(
        200, loader.get_data(path), (("content-type", f"{kind}; charset=utf-8"), *HEADERS)
    )


PAGE = _load("index.html")
SCRIPT = _load("app.js")
STYLE = _load("style.css")


def get_page(_request: Request, _app: object) -> Response:
    """The page; it holds no secret."""
    return PAGE


def get_script(_request: Request, _app: object) -> Response:
    """What the page does."""
    return SCRIPT


def get_style(_request: Request, _app: object) -> Response:
    """What the page looks like."""
    return STYLE
