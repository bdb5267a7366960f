"""The effective configuration and where each value of it comes from (spec/10 §2).

Precedence: command-line flag, environment (`INGLENOOK_*`), file, default. This module imports little, because every
command passes through it.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from inglenook.environment import EXTENSIONS, Config, default_data_folder

PREFIX = "INGLENOOK_"


class SettingsError(Exception):
    """The configuration cannot be understood; the text says which key, where, and what to do."""


@dataclass(frozen=True)
class Key:
    """A key of the configuration: how its text is read, what it means, whether its value is secret."""

    read: Callable[[str], Any]
    meaning: str
    secret: bool = False


@dataclass(frozen=True)
class Value:
    """An effective value, and where it comes from."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Settings:
    """The effective configuration with the origin of each key, and the file that was read, if any."""

    config: Config
    values: Mapping[str, Value] = field(default_factory=dict[str, Value])
    file: Path | None = None


def read_boolean(text: str) -> bool:
    """`1`, `true`, `yes`, `on`, and their opposites. Raises ValueError."""
    match text.strip().lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off" | "":
            return False
        case _:
            raise ValueError("expected on or off")


def read_duration(text: str) -> float:
    """Seconds of a duration such as `15m`, `1h30m`, `500ms`; a bare number is seconds. Raises ValueError."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("expected a duration such as 15m")
    seconds = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    return sum(float(number) * seconds[unit] for number, unit in parts)


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise ValueError("expected a port between 1 and 65535")
    return port


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("expected a number from 1 on")
    return number


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected one of {', '.join(word or '(empty)' for word in words)}")
        return text

    return read


def _url(*schemes: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text and urlsplit(text).scheme not in schemes:
            raise ValueError(f"expected a URL with the scheme {' or '.join(schemes)}")
        return text

    return read


def _list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _extensions(text: str) -> tuple[str, ...]:
    names = () if text.strip() == "none" else EXTENSIONS if text.strip() == "all" else _list(text)
    if not set(names) <= set(EXTENSIONS):
        raise ValueError(f"expected all, none or some of {', '.join(EXTENSIONS)}")
    return tuple(names)


def _folder(text: str) -> Path:
    if not text:
        raise ValueError("expected a folder")
    return Path(text).expanduser().absolute()


KEYS: Mapping[str, Key] = {
    "data": Key(_folder, "folder with everything"),
    "host": Key(str, "address to listen on"),
    "port": Key(_port, "port to listen on"),
    "dev": Key(read_boolean, "development: http, loopback peers allowed"),
    "subdomains": Key(_one_of("nested", "flat"), "drive.alice.example.org or alice-drive.example.org"),
    "database_url": Key(_url("sqlite", "postgresql"), "where documents live", secret=True),
    "blobs_url": Key(_url("file", "s3"), "where contents live", secret=True),
    "bus_url": Key(_url("redis", "rediss"), "how processes wake each other", secret=True),
    "workers": Key(_count, "processes that serve HTTP"),
    "role": Key(_one_of("all", "web", "worker"), "what this process does"),
    "smtp_url": Key(_url("smtp", "smtps"), "where mails go", secret=True),
    "log_level": Key(_one_of("debug", "info", "warning", "error", "critical"), "least level that is logged"),
    "log_format": Key(_one_of("", "console", "json"), "form of the logs"),
    "metrics": Key(str, "address for Prometheus metrics"),
    "tls_cert": Key(str, "certificate of the server"),
    "tls_key": Key(str, "key of the certificate"),
    "trusted_proxies": Key(_list, "addresses of reverse proxies, separated by commas"),
    "extensions": Key(_extensions, "what is spoken with servers of the same make: all, none, or names"),
}

_TABLES = ("contexts", "files")
_VERSIONING = {"max_number_to_keep", "min_delay_between_two_versions"}


def load(
    flags: Mapping[str, str], environ: Mapping[str, str], *, file: str | None = None, may_lack: bool = False
) -> Settings:
    """The effective configuration. `flags` are texts by key, `file` the one named on the command line; with
    `may_lack` a file that is named need not be there yet.

    Raises SettingsError."""
    values: dict[str, Value] = {"data": Value(default_data_folder(environ), "default")}
    values |= {name: Value(getattr(Config, name), "default") for name in KEYS if name != "data"}
    path = _file(file, environ, may_lack=may_lack)
    document = _parse(path) if path and path.exists() else {}
    tables = {name: document.pop(name) for name in _TABLES if name in document}
    if path:
        _take(values, {name: _text(name, value, path) for name, value in document.items()}, f"file {path}")
    _take(values, _of_environment(environ), "environment")
    _take(values, flags, "flag")
    config: dict[str, Any] = {name: value.value for name, value in values.items()}
    config["contexts"] = _contexts(tables.get("contexts", {}), path)
    config |= _versioning(tables.get("files", {}), path)
    return Settings(Config(**config), values, path)


def masked(name: str, value: Any) -> str:
    """A value as it may be shown: of a secret URL all but the credentials, of another secret nothing."""
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    if isinstance(value, bool):
        return "on" if value else "off"
    if not KEYS[name].secret or not text:
        return text
    parts = urlsplit(text)
    if "@" in parts.netloc:
        parts = parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2])
    return parts._replace(query="***" if parts.query else "").geturl()


def masked_tree(value: Any, name: str = "") -> Any:
    """A table of the file with every secret in it masked."""
    if isinstance(value, Mapping):
        return {key: masked_tree(item, str(key)) for key, item in value.items()}
    if isinstance(value, str) and re.search(r"secret|password|passphrase|token|key$", name):
        return "***"
    return value


def _file(named: str | None, environ: Mapping[str, str], *, may_lack: bool) -> Path | None:
    chosen = named or environ.get(PREFIX + "CONFIG")
    if chosen:
        path = Path(chosen).expanduser().absolute()
        if not path.is_file() and not may_lack:
            raise SettingsError(f"The configuration file {path} does not exist")
        return path
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/root")) / ".config")
    usual = (home / "inglenook" / "config.toml", Path("/etc/inglenook/config.toml"))
    return next((path for path in usual if path.is_file()), None)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The configuration file {path} cannot be read: {error}") from None
    except OSError as error:
        raise SettingsError(f"The configuration file {path} cannot be read: {error.strerror}") from None


def _of_environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and name != PREFIX + "CONFIG"
    }


def _take(values: dict[str, Value], texts: Mapping[str, str], origin: str) -> None:
    for name, text in texts.items():
        plain = name.removesuffix("_file")
        if name not in KEYS and plain in KEYS:
            name, text = plain, _secret(text, name, origin)
        if name not in KEYS:
            raise SettingsError(_unknown(name, KEYS, origin))
        try:
            values[name] = Value(KEYS[name].read(text), origin)
        except ValueError as error:
            raise SettingsError(f"The value of {name} ({origin}) cannot be used: {error}") from None


def _secret(path: str, name: str, origin: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The file named by {name} ({origin}) cannot be read: {error}") from None


def _text(name: str, value: Any, path: Path) -> str:
    match value:
        case bool():
            return "on" if value else "off"
        case str() | int() | float():
            return str(value)
        case list():
            return ",".join(str(item) for item in value)  # pyright: ignore[reportUnknownVariableType]
        case _:
            raise SettingsError(_unknown(name, (*KEYS, *_TABLES), f"file {path}"))


def _unknown(name: str, known: Any, origin: str) -> str:
    shown = PREFIX + name.upper() if origin == "environment" else name
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    if not near:
        return f"Unknown key {shown} ({origin})"
    meant = PREFIX + near[0].upper() if origin == "environment" else near[0]
    return f"Unknown key {shown} ({origin}), did you mean {meant}?"


def _contexts(table: Any, path: Path | None) -> dict[str, Any]:
    if not isinstance(table, dict) or not all(isinstance(context, dict) for context in table.values()):
        raise SettingsError(f"In {path}, contexts must be tables such as [contexts.default]")
    return table  # pyright: ignore[reportUnknownVariableType]


def _versioning(table: Any, path: Path | None) -> dict[str, Any]:
    origin = f"file {path}"
    if not isinstance(table, dict):
        raise SettingsError(f"In {path}, files must be a table")
    for name in table:  # pyright: ignore[reportUnknownVariableType]
        if name != "versioning":
            raise SettingsError(_unknown(f"files.{name}", ["files.versioning"], origin))
    versioning: dict[str, Any] = table.get("versioning", {})  # pyright: ignore[reportUnknownMemberType]
    found: dict[str, Any] = {}
    for name, value in versioning.items():
        if name not in _VERSIONING:
            known = [f"files.versioning.{key}" for key in _VERSIONING]
            raise SettingsError(_unknown(f"files.versioning.{name}", known, origin))
        try:
            if name == "max_number_to_keep":
                found["versions_to_keep"] = int(value)
            else:
                found["seconds_between_versions"] = read_duration(str(value))
        except (ValueError, TypeError) as error:
            raise SettingsError(f"The value of files.versioning.{name} ({origin}) cannot be used: {error}") from None
    return found
