"""What one process needs to sign people in."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from api.oauth.authority import Authority
from api.oauth.lanes import Lane
from api.oauth.people.authorizing import Authorizing
from api.oauth.people.forms import Forms
from api.oauth.people.guesses import PasswordGuesses
from api.oauth.people.languages import choose_language
from api.oauth.people.pages import Pages
from api.oauth.people.sessions import Sessions
from api.oauth.people.signing_in import Passwords
from api.oauth.people.signing_out import SigningOut
from api.oauth.tokens.id_tokens import IdTokens
from core.bulkhead import Bulkhead
from core.settings import Settings
from db.postgres import Pool
from db.shares import Share, ShareFull
from engine.signing import Signer

THREADS: Final = 2  # that read and approve authorization requests
MAX_WAITING: Final = 64  # authorization requests of a process, running ones included
CONNECTIONS: Final = 2  # to Postgres, beside those of the threads
STATEMENTS_WAITING: Final = 128


@dataclass(slots=True)
class People:
    """The accounts, sessions and pages of one process. `base` is the path before the paths of our pages."""

    issuer: str
    shop: str
    base: str
    forms: Forms
    sessions: Sessions
    passwords: Passwords
    authorizing: Authorizing
    signing_out: SigningOut

    def pages(self, request: Request, ui_locales: Iterable[str] = ()) -> Pages:
        """The pages in the language that the client asked for, in these tags or in the query, else in the browser's."""
        asked = [*ui_locales, *request.query_params.get("ui_locales", "").split()]
        language = choose_language(asked, request.headers.get("accept-language"))
        return Pages(self.shop, self.base, language)


@contextmanager
def open_people(settings: Settings, pool: Pool, authority: Authority) -> Iterator[People]:
    """Open the pages of this authorization server; closed after the block."""
    parts = urlsplit(authority.issuer)
    secrets, timeout = settings.gateway.secrets, settings.stores.postgres_timeout
    waiting = Bulkhead(CONNECTIONS, waiting=STATEMENTS_WAITING, patience=0.5 * timeout, refuse=ShareFull)
    share = Share(pool, waiting)
    lane = Lane("people-authorizing", THREADS, MAX_WAITING)
    forms = Forms(Signer(*secrets))
    passwords = Passwords(share, PasswordGuesses(share, secrets[0]))
    people = People(
        issuer=authority.issuer,
        shop=settings.sign_in.shop_name or parts.netloc,
        base=parts.path,
        forms=forms,
        sessions=Sessions(share, authority.issuer, settings.sign_in),
        passwords=passwords,
        authorizing=Authorizing(authority.server, lane, share, forms, parts.path),
        signing_out=SigningOut(authority.server, IdTokens(authority.issuer, authority.keys), lane, share),
    )
    try:
        yield people
    finally:
        passwords.close()
        lane.close()
