"""What people read, in their language: one mechanism for pages, mails and names of folders.

Each domain keeps its texts in `locales/en.json` and `locales/fr.json` of its package, flat objects from a key to a
text with `{places}`, and announces them once with `extend`. English answers for what another language lacks.
"""

from __future__ import annotations

import json
from importlib import resources

LOCALES = ("en", "fr")

_texts: dict[str, dict[str, str]] = {locale: {} for locale in LOCALES}


def extend(package: str) -> None:
    """Take in the texts of a package. A key belongs to one package; prefix it by the name of the domain."""
    for locale in LOCALES:
        source = resources.files(package).joinpath("locales", f"{locale}.json")
        _texts[locale].update(json.loads(source.read_text("utf-8")))


def translate(locale: str, key: str, /, **values: object) -> str:
    """The text of a key in a language, its places filled; the key itself when nobody wrote the text."""
    language = locale.replace("-", "_").partition("_")[0]
    text = _texts.get(language, {}).get(key) or _texts["en"].get(key, key)
    return text.format(**values) if values else text


def keys(locale: str) -> frozenset[str]:
    """The keys that have a text in a language (for the tests that compare languages)."""
    return frozenset(_texts[locale])


extend("inglenook.identity")
