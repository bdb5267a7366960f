"""The file of a store by itself, as a backup has it: looked at, read and put in place without a store being open."""

from __future__ import annotations

import os
import shutil
from typing import Any

import apsw

from inglenook.storage.documents.contract import Content

PAGE = 500  # contents read at a time


def is_whole(path: str) -> bool:
    """Whether a file is a database that SQLite finds nothing wrong with."""
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return connection.pragma("quick_check") == "ok"
        finally:
            connection.close()
    except apsw.Error:
        return False


def large_contents(path: str, after: str = "") -> list[Content]:
    """Contents that a file names and does not hold itself, by their SHA-256, `after` one of them: a page."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows: list[Any] = connection.execute(
            "SELECT sha256, md5, size FROM contents WHERE bytes IS NULL AND sha256 > ? ORDER BY sha256 LIMIT ?",
            (after, PAGE),
        ).fetchall()
        return [Content(*row) for row in rows]
    finally:
        connection.close()


def put_in_place(source: str, target: str) -> None:
    """Copy a file to where a store opens it, durable before it can be seen there. Raises OSError."""
    part = f"{target}.part"
    try:
        shutil.copyfile(source, part)
        sync(part)
        os.replace(part, target)
        sync(os.path.dirname(target))
    finally:
        if os.path.exists(part):
            os.unlink(part)


def sync(path: str) -> None:
    """Make a file or a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
