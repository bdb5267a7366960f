"""The `sharing` table of a context's configuration (spec/04 §21)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inglenook.identity.instance import Instance


def sharing_options(instance: Instance) -> Mapping[str, Any]:
    """The options of the instance's context; those of the context `default` when it has no such table at all."""
    settings = instance.context_settings
    options = settings["sharing"] if "sharing" in settings else instance.env.config.context("").get("sharing")
    return options if isinstance(options, dict) else {}
