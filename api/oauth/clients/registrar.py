"""Registration as the engine calls it, for clients that administer others."""

from collections.abc import Sequence

from api.oauth.clients.registration import check_fit, check_scopes, new_secret, register
from api.oauth.clients.secrets import hash_secret
from db.clients import Client
from engine.clients.administering import WantedClient


class OwnRegistrar:
    """The `Registrar` of this authorization server."""

    def new_client(self, wanted: WantedClient) -> tuple[Client, str | None]:
        """The client to store, and its secret if it has one. Blocks. Raises InvalidInput."""
        secret = None if wanted.public or wanted.jwks is not None else new_secret()
        client = register(
            wanted.id,
            secret,
            grants=wanted.grants,
            scope=" ".join(wanted.scopes),
            redirect_uris=wanted.redirect_uris,
            origins=wanted.origins,
            ttl=wanted.ttl,
            name=wanted.name,
            post_logout_redirect_uris=wanted.post_logout_redirect_uris,
            jwks=wanted.jwks,
        )
        return client, secret

    def new_secret(self) -> tuple[str, str]:
        """A new secret and its hash. Blocks."""
        secret = new_secret()
        return secret, hash_secret(secret)

    def check_scopes(self, scopes: Sequence[str]) -> tuple[str, ...]:
        """The scopes. Raises InvalidInput for one that does not exist."""
        return check_scopes(" ".join(scopes))

    def check_fit(self, client: Client) -> None:
        """Raise InvalidInput when scopes and grants do not fit each other or the kind of client."""
        check_fit(client)
