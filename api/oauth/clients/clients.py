"""A registered client as authlib wants to see it."""

from authlib.oauth2.rfc6749 import ClientMixin

from api.oauth.clients.credentials import METHODS
from db.clients import Client
from engine.scopes import read_scopes


class RegisteredClient(ClientMixin):  # type: ignore[misc]  # authlib ships no types
    """Answers authlib's questions from the stored record."""

    def __init__(self, record: Client) -> None:
        self.record = record

    def get_client_id(self) -> str:
        """Its id."""
        return self.record.id

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """The scopes asked for, or all it has when it names none; None when it may not have one of them."""
        asked = read_scopes(scope or "") or self.record.scopes
        return " ".join(asked) if set(asked) <= set(self.record.scopes) else None

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Whether it may authenticate like this: public clients may not at all, here."""
        return self.record.secret_hash is not None and method in METHODS

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether it was registered for this grant."""
        return grant_type in self.record.grants
