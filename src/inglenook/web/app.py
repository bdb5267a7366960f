"""The web application of a running server: the gate, and behind it the routes of all domains."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler

from inglenook.identity.caller import DEPENDENCIES
from inglenook.kernel.errors import DomainError
from inglenook.web import errors, parts, paths, shapes
from inglenook.web.gate import Gate
from inglenook.web.runtime import Runtime


def create_app(runtime: Runtime, routes: Sequence[ControllerRouterHandler] | None = None) -> Gate:
    """The ASGI application; `routes` replaces those of the domains (for tests)."""
    return Gate(runtime, create_routing(routes))


def create_routing(routes: Sequence[ControllerRouterHandler] | None = None) -> Litestar:
    """What is behind the gate. It belongs to no runtime, so that several in one process can share it."""
    litestar = Litestar(
        route_handlers=list(parts.routes() if routes is None else routes),
        dependencies=dict(DEPENDENCIES),
        exception_handlers={
            DomainError: errors.answer,
            HTTPException: errors.answer,
            msgspec.MsgspecError: errors.answer,
            Exception: errors.answer,
        },
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )
    paths.install_routing(litestar)
    shapes.make_ready()
    return litestar
