"""Signed texts that a client keeps and sends back: cursors, impressions. One key per purpose, all from one secret."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

from core.errors import InvalidInput

_MAC_BYTES = 16  # too long to guess, short enough for a cursor


class Signer:
    """Signs with HMAC-SHA256. Each purpose has its own key, derived from the gateway's secret (HKDF, RFC 5869)."""

    def __init__(self, secret: str) -> None:
        self._root = hmac.digest(b"penchant", secret.encode(), hashlib.sha256)
        self._keys: dict[str, bytes] = {}

    def sign(self, purpose: str, payload: bytes) -> str:
        """The payload with its signature, as URL-safe base64 without padding. It is signed, not encrypted."""
        return urlsafe_b64encode(self._mac(purpose, payload) + payload).rstrip(b"=").decode()

    def open(self, purpose: str, text: str) -> bytes:
        """The payload of a text signed for this purpose; raises InvalidInput for any other text."""
        try:
            signed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        except ValueError:  # not ASCII, or not base64
            raise InvalidInput("This text was changed, or another server signed it.") from None
        payload = signed[_MAC_BYTES:]
        # Base64 has several texts for the same bytes (stray characters, padding bits): only ours is taken.
        if not hmac.compare_digest(self.sign(purpose, payload).encode(), text.encode()):
            raise InvalidInput("This text was changed, or another server signed it.")
        return payload

    def _mac(self, purpose: str, payload: bytes) -> bytes:
        return hmac.digest(self._key(purpose), payload, hashlib.sha256)[:_MAC_BYTES]

    def _key(self, purpose: str) -> bytes:
        if purpose not in self._keys:
            self._keys[purpose] = hmac.digest(self._root, purpose.encode() + b"\x01", hashlib.sha256)
        return self._keys[purpose]
