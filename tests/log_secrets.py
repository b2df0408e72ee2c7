"""What no log line may hold: secrets, tokens, passwords, and what says who a person is."""

import re
from collections.abc import Iterable
from pathlib import Path

from tests.running import SECRET

PLANTED = (  # what tests use as secrets, passwords and names of people: none of it is a word that a log line needs
    SECRET,
    "another-secret-of-the-client",
    "only-for-this-test-0123456789abcdef",
    "correct-horse-battery-staple",
    "s" * 32,
    "k" * 32,
    "unspoken",  # the beginning of any further value that must stay out of the logs
)
PEOPLE = ("anna", "bert", "berta", "carl", "g-1")  # the users and guests of most tests
FORBIDDEN = {  # the kind: a letter or word that each find has (to be quick), and the pattern
    "a planted secret": ("", "|".join(map(re.escape, PLANTED))),
    "the id of a person": ("", rf"(?<![\w-])(?:{'|'.join(PEOPLE)})(?![\w-])"),
    "a JWT or a JWE": ("eyJ", r"eyJ[A-Za-z0-9_-]{8,}"),
    "an argon2 hash": ("$argon2", r"\$argon2"),
    "a private key": ("", r"PRIVATE KEY|\"(?:d|dp|dq|qi)\": ?\"[A-Za-z0-9_-]{16,}"),
    "an Authorization header": ("", r"(?i:\b(?:bearer|basic)\s+[A-Za-z0-9+/_.=-]{16,})"),
    "a password in a URL": ("@", r"://[^\s/:@\"']*:[^\s/@\"'*]+@"),
    "a secret parameter": (
        "",
        r"\b(?:client_secret|client_assertion|password|code_verifier|refresh_token|subject_token)"
        r"(?:=|\": ?\")(?!\*)[^\s\"&]",
    ),
    "an e-mail address": (  # and no name of a node
        "@",
        r"(?<![\w.+-])(?!(?:penchant|celery|gen\d+)@)[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    ),
}
_PATTERNS = [(kind, hint, re.compile(pattern)) for kind, (hint, pattern) in FORBIDDEN.items()]
LARGEST_LINE = 2_000  # characters of a finding


def findings(text: str) -> list[str]:
    """Each line of a log that holds what it must not, after the kind of what it holds."""
    return [f"{kind}: {line[:LARGEST_LINE]}" for line in text.splitlines() if (kind := _kind(line)) is not None]


def findings_in_files(files: Iterable[Path]) -> list[str]:
    """The findings of log files, each after the file's path."""
    texts = ((file, file.read_text(errors="replace")) for file in files)
    return [f"{file}: {found}" for file, text in texts for found in findings(text)]


def _kind(line: str) -> str | None:
    return next((kind for kind, hint, pattern in _PATTERNS if hint in line and pattern.search(line)), None)
