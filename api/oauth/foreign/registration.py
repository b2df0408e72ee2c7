"""Registration of a foreign issuer. Rejects what would be unsafe or could never work."""

import re
from collections.abc import Sequence

from api.oauth.foreign.addresses import check_issuer_url, check_keys_address
from api.oauth.jose.public_keys import ALGORITHMS
from core.errors import InvalidInput
from core.texts import LONGEST_ID
from db.clients import Client
from db.issuers import Issuer
from engine.scopes import PEOPLE, read_scopes

MOST_ISSUERS = 20
LONGEST_AUDIENCE = 512  # characters
_AUDIENCE = re.compile(rf"[!-~]{{1,{LONGEST_AUDIENCE}}}")
_CLAIM = re.compile(rf"[!-~]{{1,{LONGEST_ID}}}")
_NO_PERSON = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti", "azp", "client_id", "scope", "scp", "nonce"})


def register_issuer(
    url: str,
    *,
    audience: str,
    scope: str,
    subject_claim: str = "sub",
    scope_claim: str | None = None,
    algorithms: Sequence[str] = (),
    jwks_url: str | None = None,
    client: Client | None = None,
) -> Issuer:
    """Build the issuer to store; RS256 is its algorithm when none is named. Raises InvalidInput naming the field."""
    if not _AUDIENCE.fullmatch(audience):
        raise InvalidInput(f"An audience has 1 to {LONGEST_AUDIENCE} printable ASCII characters, no spaces", "audience")
    if client is None and len(check_issuer_url(url)) > LONGEST_ID:
        raise InvalidInput(f"An issuer whose URL has more than {LONGEST_ID} characters needs --client", "client")
    return Issuer(
        url=check_issuer_url(url),
        audience=audience,
        subject_claim=_check_claim(subject_claim, "subject-claim", refused=_NO_PERSON),
        scopes=_check_scopes(scope, client),
        algorithms=tuple(dict.fromkeys(map(_check_algorithm, algorithms))) or ("RS256",),
        scope_claim=None if scope_claim is None else _check_claim(scope_claim, "scope-claim"),
        jwks_url=None if jwks_url is None else check_keys_address(jwks_url, url),
        client_id=None if client is None else client.id,
    )


def _check_claim(name: str, field: str, refused: frozenset[str] = frozenset()) -> str:
    if not _CLAIM.fullmatch(name):
        raise InvalidInput(f"The name of a claim has 1 to {LONGEST_ID} printable ASCII characters, no spaces", field)
    if name in refused:
        raise InvalidInput(f"The claim {name} names no person", field)
    return name


def _check_algorithm(name: str) -> str:
    if name not in ALGORITHMS:
        raise InvalidInput(f"Unknown algorithm. Use one of: {', '.join(ALGORITHMS)}", "algorithm")
    return name


def _check_scopes(scope: str, client: Client | None) -> tuple[str, ...]:
    """The scopes that the issuer's tokens give: only what people may have, and only what the client has."""
    names = read_scopes(scope)
    if not names:
        raise InvalidInput(f"Name at least one scope of: {' '.join(sorted(PEOPLE))}", "scope")
    if refused := [name for name in names if name not in PEOPLE]:
        raise InvalidInput(
            f"Not for people: {' '.join(refused)}. A person's token may have: {' '.join(sorted(PEOPLE))}", "scope"
        )
    if client is not None and (lacks := [name for name in names if name not in client.scopes]):
        raise InvalidInput(f"The client {client.id} does not have: {' '.join(lacks)}", "scope")
    return names
