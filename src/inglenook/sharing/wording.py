"""The words by which people are told what is shared with them (spec/04 §6.3, spec/07 §4.2)."""

from __future__ import annotations

from typing import Literal

from inglenook.files import tree
from inglenook.files.documents import NOTE_MIME
from inglenook.identity.translations import translate
from inglenook.sharing import rights
from inglenook.sharing.documents import ORGANIZATIONS, Sharing
from inglenook.storage.documents.contract import Reader

Kind = Literal["drive", "organization", "document", "directory", "file", "note"]


def kind_of_shared(view: Reader, sharing: Sharing) -> Kind:
    """What the sharing is, as its owner's server sees it."""
    if sharing.drive:
        return "drive"
    rule = sharing.files_rule()
    if rule is None:
        return "organization" if sharing.rules[0].doctype == ORGANIZATIONS else "document"
    item = tree.get(view, rule.values[0])
    if item is None or not item.is_file:
        return "directory"
    return "note" if sharing.description.endswith(".cozy-note") else "file"


def kind_of_request(sharing: Sharing) -> Kind:
    """What the sharing is, as the server of an invited person sees it: its rules tell."""
    if sharing.drive:
        return "drive"
    rule = sharing.files_rule()
    if rule is None:
        return "organization" if sharing.rules[0].doctype == ORGANIZATIONS else "document"
    if not rule.mime:
        return "directory"
    return "note" if rule.mime == NOTE_MIME else "file"


def a_thing(locale: str, kind: Kind) -> str:
    """`a directory`: the kind with its indefinite article."""
    return translate(locale, f"sharing.kind.a.{kind}")


def the_thing(locale: str, kind: Kind) -> str:
    """`the directory`: the kind with its definite article."""
    return translate(locale, f"sharing.kind.the.{kind}")


def action(locale: str, sharing: Sharing, *, read_only: bool = False) -> str:
    """`view` or `edit`: what an invited person may do."""
    only_reading = read_only or rights.rules_are_read_only(sharing)
    return translate(locale, "sharing.action.read" if only_reading else "sharing.action.write")
