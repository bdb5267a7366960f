"""All routes of moving."""

from __future__ import annotations

from typing import Any

from inglenook.moving import export_routes, import_routes, move_routes, start_routes

ROUTES: list[Any] = [*export_routes.ROUTES, *import_routes.ROUTES, *move_routes.ROUTES, *start_routes.ROUTES]
