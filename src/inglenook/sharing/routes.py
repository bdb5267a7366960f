"""All routes of sharings."""

from __future__ import annotations

from typing import Any

from inglenook.sharing import (
    access_routes,
    authorize_routes,
    avatar_routes,
    client_routes,
    discovery_routes,
    peer_routes,
    refusal_routes,
    shortcut_routes,
)

ROUTES: list[Any] = [
    *client_routes.ROUTES,
    *peer_routes.ROUTES,
    *discovery_routes.ROUTES,
    *authorize_routes.ROUTES,
    *avatar_routes.ROUTES,
    *refusal_routes.ROUTES,
    *access_routes.ROUTES,
    *shortcut_routes.ROUTES,
]
