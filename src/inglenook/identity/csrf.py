"""Protection of the pages under /auth against forged forms (spec/03 §6.1): a cookie that the form must repeat."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING

from litestar.datastructures import Cookie

from inglenook.kernel.errors import BadCredentials, Forbidden
from inglenook.wire import Answer

if TYPE_CHECKING:
    from inglenook.identity.caller import Caller

COOKIE = "_csrf"
FIELD = "csrf_token"
_SECONDS = 3600
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LENGTH = 32


class Csrf:
    """The token of one browser: `value` goes into forms, `protect` puts its cookie on the answer."""

    def __init__(self, caller: Caller) -> None:
        sent = caller.request.cookies.get(COOKIE, "")
        self._sent = sent
        self.value = sent if 16 <= len(sent) <= 64 and sent.isalnum() and sent.isascii() else fresh(caller)
        self._secure = not caller.instance.env.config.dev

    def check(self, fields: Mapping[str, str]) -> None:
        """Before an unsafe request is obeyed. Raises BadCredentials (no token in the form), Forbidden (a wrong one)."""
        given = fields.get(FIELD, "")
        if not given:
            raise BadCredentials("missing csrf token in the form parameter")
        if not self._sent or not hmac.compare_digest(given.encode(), self._sent.encode()):
            raise Forbidden("invalid csrf token")

    def protect(self, answer: Answer) -> Answer:
        """The answer with the cookie."""
        answer.set_cookie(
            Cookie(
                key=COOKIE, value=self.value, path="/auth", max_age=_SECONDS, httponly=True, samesite="strict",
                secure=self._secure,
            )
        )  # fmt: skip
        answer.headers["vary"] = "Cookie"
        return answer


def fresh(caller: Caller) -> str:
    """A new token of 32 letters."""
    random = caller.instance.env.random
    letters: list[str] = []
    while len(letters) < _LENGTH:
        letters += [_LETTERS[byte % 52] for byte in random.bytes(_LENGTH) if byte < 208]
    return "".join(letters[:_LENGTH])
