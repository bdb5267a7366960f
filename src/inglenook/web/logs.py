"""Logs: one event per line, JSON or for a terminal (spec/10 §2, §4).

Never logged: a token, a passphrase, a state, a query string, a header, a body. A path is logged as the route's
template, because paths can carry secrets as well.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from inglenook.environment import Config

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def configure(config: Config, stream: TextIO | None = None) -> None:
    """Make every logger of the process write events of `config.log_level` and above to `stream` (standard error)."""
    output = stream or sys.stderr
    level = LEVELS[config.log_level]
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if (config.log_format or ("console" if output.isatty() else "json")) == "console":
        processors += [structlog.dev.ConsoleRenderer(colors=output.isatty(), exception_formatter=_plain_traceback)]
    else:
        processors += [_exception_text, _as_json]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(level, logging.WARNING), stream=output, format="%(levelname)s %(name)s %(message)s")


def _as_json(logger: WrappedLogger, name: str, event: EventDict) -> str:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event")}
    return msgspec.json.encode({**first, **event}, enc_hook=str).decode()


def _exception_text(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """The traceback as text: frames without their variables, which may hold secrets."""
    info: Any = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info and info[0] is not None:
        import traceback

        event["exception"] = "".join(traceback.format_exception(*info))
    return event


def _plain_traceback(stream: TextIO, info: Any) -> None:
    structlog.dev.plain_traceback(stream, info)
