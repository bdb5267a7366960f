"""All routes of moving."""

from __future__ import annotations

from typing import Any

from inglenook.moving import export_routes

ROUTES: list[Any] = [*export_routes.ROUTES]
