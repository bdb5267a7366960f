"""The secrets in the links of thumbnails (spec/02 §8, §15.9): 16 hexadecimal digits, good for one file.

They are signatures over the file and the time, so that a list of a thousand pictures costs no memory and every
process of the server knows them. One is valid for at least 10 minutes and at most 15.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from inglenook.environment import Clock

WINDOW_SECONDS = 300
WINDOWS = 3


@dataclass(frozen=True, slots=True)
class ThumbnailSecrets:
    """Makes and checks the secrets of one instance with a key of its own."""

    key: bytes
    clock: Clock

    def issue(self, file_id: str) -> str:
        """A secret for a file."""
        return self._sign(file_id, self._window())

    def accepts(self, file_id: str, secret: str) -> bool:
        """Whether a secret was issued for this file not too long ago."""
        now, given = self._window(), secret.encode()
        return any(hmac.compare_digest(self._sign(file_id, now - age).encode(), given) for age in range(WINDOWS))

    def _window(self) -> int:
        return int(self.clock.now().timestamp()) // WINDOW_SECONDS

    def _sign(self, file_id: str, window: int) -> str:
        message = b"thumbnail\0%d\0%b" % (window, file_id.encode())
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:16]
