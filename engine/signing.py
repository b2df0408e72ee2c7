"""Signed and sealed texts that a client keeps and sends back: cursors, impressions. One key per purpose and secret."""

import hashlib
import hmac
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from core.errors import InvalidInput

_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_MAC_BYTES = 16  # too long to guess, short enough for a cursor
_CHANGED = "This text was changed, or another server signed it."


class Signer:
    """Signs and seals with the first of its secrets. It opens what was signed or sealed with any of them."""

    def __init__(self, secret: str, *accepted: str) -> None:
        self._key = _Key(secret)
        self._keys = (self._key, *map(_Key, accepted))

    def sign(self, purpose: str, payload: bytes) -> str:
        """The payload with its signature, as URL-safe base64 without padding. It is signed, not encrypted."""
        return self._key.sign(purpose, payload)

    def open(self, purpose: str, text: str) -> bytes:
        """The payload of a text signed for this purpose; raises InvalidInput for any other text."""
        for key in self._keys:
            if (payload := key.open(purpose, text)) is not None:
                return payload
        raise InvalidInput(_CHANGED)

    def seal(self, purpose: str, payload: bytes) -> str:
        """The payload encrypted and authenticated, as URL-safe base64 without padding. Only its length shows."""
        return self._key.seal(purpose, payload)

    def unseal(self, purpose: str, text: str) -> bytes:
        """The payload of a text sealed for this purpose; raises InvalidInput for any other text."""
        for key in self._keys:
            if (payload := key.unseal(purpose, text)) is not None:
                return payload
        raise InvalidInput(_CHANGED)


class _Key:
    """Signs with HMAC-SHA256, seals with AES-SIV (RFC 5297), which needs no nonce: equal payloads have equal texts.

    Each purpose has its own key, derived from the secret (HKDF, RFC 5869).
    """

    def __init__(self, secret: str) -> None:
        self._root = hmac.digest(b"penchant", secret.encode(), hashlib.sha256)
        self._keys: dict[str, bytes] = {}
        self._macs: dict[str, Callable[[bytes], bytes]] = {}

    def sign(self, purpose: str, payload: bytes) -> str:
        mac = self._macs.get(purpose)
        if mac is None:
            mac = self._macs[purpose] = _hmac_sha256(self._of(purpose))
        signed = b2a_base64(mac(payload)[:_MAC_BYTES] + payload, newline=False)
        return signed.translate(_URL_SAFE, b"=").decode("ascii")  # as `_encode`: lists call this often

    def open(self, purpose: str, text: str) -> bytes | None:
        payload = _decode(text)[_MAC_BYTES:]
        # Base64 has several texts for the same bytes (stray characters, padding bits): only ours is taken.
        return payload if hmac.compare_digest(self.sign(purpose, payload).encode(), text.encode()) else None

    def seal(self, purpose: str, payload: bytes) -> str:
        return _encode(AESSIV(self._of(f"sealed {purpose}")).encrypt(payload, None))

    def unseal(self, purpose: str, text: str) -> bytes | None:
        sealed = _decode(text)
        try:
            payload = AESSIV(self._of(f"sealed {purpose}")).decrypt(sealed, None)
        except InvalidTag:
            return None
        return payload if _encode(sealed) == text else None  # another base64 text of the same bytes, as in `open`

    def _of(self, purpose: str) -> bytes:
        if purpose not in self._keys:
            self._keys[purpose] = hmac.digest(self._root, purpose.encode() + b"\x01", hashlib.sha256)
        return self._keys[purpose]


def _hmac_sha256(key: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SHA256 (RFC 2104) with this key of 32 bytes. `hmac.digest` would look SHA-256 up in OpenSSL at each call."""
    inner, outer = (hashlib.sha256(bytes(byte ^ pad for byte in key.ljust(64, b"\0"))) for pad in (0x36, 0x5C))

    def mac(payload: bytes) -> bytes:
        inside, outside = inner.copy(), outer.copy()
        inside.update(payload)
        outside.update(inside.digest())
        return outside.digest()

    return mac


def _encode(data: bytes) -> str:
    return b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError:  # not ASCII, or not base64
        raise InvalidInput(_CHANGED) from None
