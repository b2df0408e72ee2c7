"""Signed texts that leave and come back unchanged: cursors, impressions. One key per purpose, all from one secret."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

from core.errors import InvalidInput

_MAC = 16  # bytes: 128 bits are out of reach of guessing and keep cursors short


class Signer:
    """Signs with HMAC-SHA256 under a key derived (HKDF, RFC 5869, one block) from the gateway's secret."""

    def __init__(self, secret: str) -> None:
        self._root = hmac.digest(b"penchant", secret.encode(), hashlib.sha256)
        self._keys: dict[str, bytes] = {}

    def sign(self, purpose: str, payload: bytes) -> str:
        """`payload` readable but not forgeable, as URL-safe base64 without padding."""
        return urlsafe_b64encode(self._mac(purpose, payload) + payload).rstrip(b"=").decode()

    def open(self, purpose: str, text: str) -> bytes:
        """The payload of a text signed for this purpose; raises InvalidInput for any other text."""
        try:
            signed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        except ValueError:  # not ASCII, not base64
            raise InvalidInput("This text was not signed by us.") from None
        payload = signed[_MAC:]
        # Comparing the text again refuses a second spelling of the same bytes (stray characters, padding bits).
        if not hmac.compare_digest(self.sign(purpose, payload).encode(), text.encode()):
            raise InvalidInput("This text was not signed by us.")
        return payload

    def _mac(self, purpose: str, payload: bytes) -> bytes:
        return hmac.digest(self._key(purpose), payload, hashlib.sha256)[:_MAC]

    def _key(self, purpose: str) -> bytes:
        if purpose not in self._keys:
            self._keys[purpose] = hmac.digest(self._root, purpose.encode() + b"\x01", hashlib.sha256)
        return self._keys[purpose]
