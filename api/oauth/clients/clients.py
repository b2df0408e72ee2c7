"""A registered client as authlib expects it."""

from authlib.oauth2.rfc6749 import ClientMixin

from api.oauth.clients.redirects import is_registered
from api.oauth.grant_types import OF_CONFIDENTIAL_CLIENTS
from api.oauth.parsed_request import check_scope
from db.clients import Client


class RegisteredClient(ClientMixin):  # type: ignore[misc]  # authlib ships no types
    """What authlib asks about a client, from the stored record."""

    def __init__(self, record: Client) -> None:
        self.record = record

    def get_allowed_scope(self, scope: str | None) -> str:
        """The requested scopes, or all of the client's when none is requested. Raises InvalidScopeError."""
        if scope is None:
            return " ".join(self.record.scopes)
        check_scope(scope, self.record.scopes)
        return scope

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether the client is registered for this grant. A public client cannot have some, whatever is stored."""
        return grant_type in self.record.grants and not (self.record.public and grant_type in OF_CONFIDENTIAL_CLIENTS)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Whether the client registered this URI."""
        return is_registered(redirect_uri, self.record.redirect_uris)

    def check_response_type(self, response_type: str) -> bool:
        """True: the rules for authorization requests check it, and the grant, without repeating what was sent."""
        return True
