"""Login names and passwords: what may be one, and how a login name is compared."""

import re
import unicodedata
from typing import Final

from core.errors import InvalidInput

LONGEST_LOGIN: Final = 256  # characters
SHORTEST_PASSWORD: Final = 8
LONGEST_PASSWORD: Final = 256
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def login_key(login: str) -> str:
    """The login name as it is compared: NFKC, without case (Unicode's toNFKC_Casefold but for ignorable characters)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", login).casefold())


def check_login(login: str) -> str:
    """The login name without blanks around it. Raises InvalidInput for one that is empty, too long or unprintable."""
    stripped = login.strip()
    if (
        not stripped
        or max(len(login), len(login_key(stripped[:LONGEST_LOGIN]))) > LONGEST_LOGIN
        or _CONTROL.search(login)
    ):
        raise InvalidInput(f"A login name has 1 to {LONGEST_LOGIN} characters, no control characters", "login")
    return stripped


def normal_password(password: str) -> str:
    """The password as it is hashed: NFKC, so that every keyboard and system writes the same one (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, login: str, user_id: str) -> str:
    """The password as it is hashed. Raises InvalidInput for one that is too short, too long or easily guessed.

    There are no rules about kinds of characters (NIST SP 800-63B, section 3.1.1).
    """
    if len(password) > LONGEST_PASSWORD or not len(normal := normal_password(password)) >= SHORTEST_PASSWORD:
        raise InvalidInput(f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters", "password")
    if _CONTROL.search(password):
        raise InvalidInput("A password cannot have control characters: no form could send them", "password")
    if login_key(password) in {login_key(login), login_key(user_id)}:
        raise InvalidInput("A password cannot be the login name or the user's id", "password")
    return normal
