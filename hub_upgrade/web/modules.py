"""The modules' routes. This hub supervises none yet, and says so."""

from __future__ import annotations

from hub_upgrade.web.messages import Request, Response, error_response, json_response, shortened


def get_modules(_request: Request, _app: object) -> Response:
    """The modules of this hub: none."""
    return json_response(200, {"modules": []})


def no_module(request: Request, _app: object) -> Response:
    """Whatever was to be done with a module: there is none of that name."""
    name = shortened(request.params["name"])
    sentence = f"there is no module {name}: this hub has no modules"
    return error_response(404, "not_found", sentence)
