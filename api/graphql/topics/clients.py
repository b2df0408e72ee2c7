"""OAuth clients: what they may do, what was done to them, and the mutations that change them."""

from collections.abc import Awaitable
from datetime import date, datetime
from typing import Annotated, Self, TypeVar

import strawberry

from api.graphql.context import Info
from api.graphql.types.connections import After, Connection, Edge, First, check_first
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from core.contract import check_id
from core.errors import InvalidInput
from db import clients as stored
from db.client_audit import AuditAction, AuditEntry, TrailPart
from engine.clients.administering import BeyondOwnScopes, OwnClient, WantedClient
from engine.clients.changing import DEFAULT_OVERLAP, ClientTaken, NoSuchClient
from engine.cursors import read_cursor, write_cursor
from engine.viewer import check_client

Administer = requires("clients:admin")

strawberry.enum(
    AuditAction,
    name="ClientAuditAction",
    description="What happened to a client. CREATED, SECRET_ROTATED, SCOPES_CHANGED, DISABLED, ENABLED: it was changed."
    " REFUSED: requests of it were refused.",
)

ClientId = Annotated[strawberry.ID, strawberry.argument(description="The id of the client.")]
Force = Annotated[
    bool, strawberry.argument(description="True: also when it is the client of the token, which is locked out then.")
]


@strawberry.type(
    description="A change of a client, or its refused requests of one day with one reason. It holds no secrets and no"
    " addresses."
)
class ClientAuditEntry:
    """One entry of an audit trail."""

    at: datetime = strawberry.field(description="When it was changed, or refused the last time that day.")
    action: AuditAction = strawberry.field(description="What happened.")
    by: str | None = strawberry.field(
        description="Who changed it: the id of a client, or a command and its user; null for REFUSED."
    )
    scopes_before: list[str] | None = strawberry.field(
        description="For SCOPES_CHANGED: the scopes it had; null otherwise."
    )
    scopes: list[str] | None = strawberry.field(
        description="For CREATED and SCOPES_CHANGED: the scopes it has since; null otherwise."
    )
    reason: str | None = strawberry.field(
        description="For REFUSED: why, as the code of the answer, such as invalid_client, or token_expired,"
        " token_revoked or key_withdrawn; null otherwise."
    )
    day: str | None = strawberry.field(description="For REFUSED: the day in UTC, as YYYY-MM-DD; null otherwise.")
    count: int | None = strawberry.field(description="For REFUSED: how often that day; null otherwise.")

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """The public shape of an entry."""
        return cls(
            at=entry.at,
            action=entry.action,
            by=entry.done_by,
            scopes_before=None if entry.scopes_before is None else list(entry.scopes_before),
            scopes=None if entry.scopes is None else list(entry.scopes),
            reason=entry.reason,
            day=_day(entry.day),
            count=None if entry.day is None else min(entry.count, 2**31 - 1),
        )


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


@strawberry.type(description="A registered OAuth client: a program that may ask for tokens.")
class Client:
    """A client. Its secret is nowhere here."""

    id: strawberry.ID = strawberry.field(description="The id of the client.")
    name: str | None = strawberry.field(
        description="What people see when they are asked to allow it; null: they see its id."
    )
    enabled: bool = strawberry.field(description="False: it and all its tokens are refused.")
    public: bool = strawberry.field(description="True for an app or a page, which has no secret and no keys.")
    first_party: bool = strawberry.field(description="True for the shop's own: people are not asked to allow it.")
    grants: list[str] = strawberry.field(description="How it may get tokens.")
    scopes: list[str] = strawberry.field(description="The scopes it may have.")
    redirect_uris: list[str] = strawberry.field(description="Where people may be sent back.")
    post_logout_redirect_uris: list[str] = strawberry.field(description="Where people may be sent after signing out.")
    origins: list[str] = strawberry.field(description="The web origins whose pages may call.")
    token_lifetime: int | None = strawberry.field(
        description="Seconds that its access tokens are valid; null: as long as the server is set up for."
    )
    created_at: datetime | None = strawberry.field(description="When it was registered.")
    disabled_at: datetime | None = strawberry.field(description="When it was disabled; null while it is enabled.")
    old_secret_valid_until: datetime | None = strawberry.field(
        description="Until when the secret before the current one is valid; null when it is not."
    )

    @classmethod
    def of(cls, record: stored.Client) -> Self:
        """The public shape of a client."""
        return cls(
            id=strawberry.ID(record.id),
            name=record.name,
            enabled=record.disabled_at is None,
            public=record.public,
            first_party=record.first_party,
            grants=list(record.grants),
            scopes=list(record.scopes),
            redirect_uris=list(record.redirect_uris),
            post_logout_redirect_uris=list(record.post_logout_redirect_uris),
            origins=list(record.origins),
            token_lifetime=record.access_ttl,
            created_at=record.created_at,
            disabled_at=record.disabled_at,
            old_secret_valid_until=record.previous_until,
        )

    @strawberry.field(
        permission_classes=[Administer],
        description="When it last sent a valid token or credentials, to the minute; null when it never did.",
    )
    async def last_used_at(self, info: Info) -> datetime | None:
        """When it was used last."""
        return await info.context.client_uses.get(self.id)

    @strawberry.field(
        permission_classes=[Administer],
        description="What was done to it and by whom, and how often it was refused: newest first. Kept are its newest"
        " 1,000 changes, and the refusals of 90 days.",
    )
    async def audit(self, info: Info, first: First = 20, after: After = None) -> Connection[ClientAuditEntry] | None:
        """A page of the audit trail."""
        context, first = info.context, check_first(first)
        signer, purpose = context.gateway.signer, f"client audit {self.id}"
        before = None if after is None else int(read_cursor(signer, purpose, after))
        entries = await context.client_audits.get(TrailPart(self.id, first + 1, before)) or []
        edges = [
            Edge(cursor=write_cursor(signer, purpose, entry.id), node=ClientAuditEntry.of(entry))
            for entry in entries[:first]
        ]
        return Connection.of(edges, after, more=len(entries) > first)


@strawberry.input(description="A client to create. Left out: it gets a secret, which is returned once.")
class CreateClientInput:
    """A client to create."""

    id: strawberry.ID = strawberry.field(description="Its id: 1 to 128 letters, digits and . _ ~ -")
    grants: list[str] = strawberry.field(
        description="How it may get tokens: client_credentials, token-exchange, authorization_code, refresh_token."
    )
    scopes: list[str] = strawberry.field(description="The scopes it may have: none that your own token does not have.")
    public: bool = strawberry.field(default=False, description="True for an app or a page: it gets no secret.")
    jwks: str | None = strawberry.field(
        default=None, description="A JWK set as JSON with its public keys, for private_key_jwt: it gets no secret."
    )
    name: str | None = strawberry.field(
        default=None, description="What people see when they are asked to allow it: 1 to 80 characters."
    )
    redirect_uris: list[str] = strawberry.field(default_factory=list, description="Where people may be sent back.")
    post_logout_redirect_uris: list[str] = strawberry.field(
        default_factory=list, description="Where people may be sent after signing out."
    )
    origins: list[str] = strawberry.field(
        default_factory=list, description="The web origins whose pages may call, such as https://shop.example"
    )
    token_lifetime: int | None = strawberry.field(
        default=None, description="Seconds that its access tokens are valid: 5 to 86,400; left out: as set up."
    )


_ERRORS = (
    "NOT_FOUND: there is no such client, or it is not in the state that this needs. BEYOND_OWN_SCOPES: it would have,"
    " or has, scopes that your token does not have. OWN_CLIENT: it is the client of the token; see `force`. CONFLICT:"
    " the id is taken. BAD_USER_INPUT: an argument is not valid."
)


@strawberry.type(description="The outcome of `createClient`.")
class CreateClientPayload:
    """The new client and its secret."""

    client: Client | None = strawberry.field(description="The new client; null when refused.")
    client_secret: str | None = strawberry.field(
        description="Its secret, which is shown this once; null when it has none, and when refused."
    )
    user_errors: list[UserError] = strawberry.field(description=f"Why it was refused; empty when it was not. {_ERRORS}")


@strawberry.type(description="The outcome of `rotateClientSecret`.")
class RotateClientSecretPayload:
    """The new secret."""

    client_secret: str | None = strawberry.field(
        description="The new secret, which is shown this once; null when refused."
    )
    old_secret_valid_until: datetime | None = strawberry.field(
        description="Until when the secret before is valid; null when refused."
    )
    user_errors: list[UserError] = strawberry.field(description=f"Why it was refused; empty when it was not. {_ERRORS}")


@strawberry.type(description="The outcome of a mutation that changes a client.")
class ChangeClientPayload:
    """The client after the change."""

    client: Client | None = strawberry.field(description="The client after the change; null when refused.")
    user_errors: list[UserError] = strawberry.field(description=f"Why it was refused; empty when it was not. {_ERRORS}")


@strawberry.type
class ClientQuery:
    """Queries of clients."""

    @strawberry.field(
        permission_classes=[Administer], description="All OAuth clients, by id. Needs a client's own token."
    )
    async def clients(self, info: Info, first: First = 20, after: After = None) -> Connection[Client] | None:
        """A page of clients."""
        check_client(info.context.viewer)
        signer, first = info.context.gateway.signer, check_first(first)
        begin = "" if after is None else str(read_cursor(signer, "clients", after))
        records = await stored.list_client_page(info.context.reads, first + 1, begin)
        edges = [
            Edge(cursor=write_cursor(signer, "clients", record.id), node=Client.of(record))
            for record in records[:first]
        ]
        return Connection.of(edges, after, more=len(records) > first)

    @strawberry.field(
        permission_classes=[Administer],
        description="An OAuth client; null when there is none with this id. Needs a client's own token.",
    )
    async def client(self, info: Info, id: ClientId) -> Client | None:
        """The client with this id."""
        check_client(info.context.viewer)
        record = await info.context.clients.get(check_id(id, "id"))
        return None if record is None else Client.of(record)


@strawberry.type
class ClientMutation:
    """Mutations of clients."""

    @strawberry.mutation(
        permission_classes=[Administer],
        description="Register an OAuth client. Its secret is in the answer, this once. Needs a client's own token.",
    )
    async def create_client(
        self, info: Info, input: Annotated[CreateClientInput, strawberry.argument(description="The client.")]
    ) -> CreateClientPayload | None:
        """Register a client."""
        gateway, viewer = info.context.gateway, info.context.viewer
        wanted = WantedClient(
            id=input.id,
            grants=input.grants,
            scopes=input.scopes,
            public=input.public,
            jwks=input.jwks,
            name=input.name,
            redirect_uris=input.redirect_uris,
            post_logout_redirect_uris=input.post_logout_redirect_uris,
            origins=input.origins,
            ttl=input.token_lifetime,
        )
        made, errors = await _outcome(gateway.clients.create(gateway.shares.bulk, viewer, wanted))
        if made is None:
            return CreateClientPayload(client=None, client_secret=None, user_errors=errors)
        return CreateClientPayload(client=await _found(info, made[0].id), client_secret=made[1], user_errors=[])

    @strawberry.mutation(
        permission_classes=[Administer],
        description="Give an OAuth client a new secret. It is in the answer, this once. Needs a client's own token with"
        " all scopes of that client.",
    )
    async def rotate_client_secret(
        self,
        info: Info,
        id: ClientId,
        overlap: Annotated[
            int, strawberry.argument(description="Seconds that the secret it has now stays valid: 0 to 2,592,000.")
        ] = DEFAULT_OVERLAP,
    ) -> RotateClientSecretPayload | None:
        """Give a client a new secret."""
        gateway, viewer = info.context.gateway, info.context.viewer
        made, errors = await _outcome(gateway.clients.give_new_secret(gateway.shares.bulk, viewer, id, overlap))
        until, secret = made or (None, None)
        return RotateClientSecretPayload(client_secret=secret, old_secret_valid_until=until, user_errors=errors)

    @strawberry.mutation(
        permission_classes=[Administer],
        description="Refuse an OAuth client and all its tokens, in every process within 3 seconds. Needs a client's own"
        " token.",
    )
    async def disable_client(self, info: Info, id: ClientId, force: Force = False) -> ChangeClientPayload | None:
        """Disable a client."""
        gateway, viewer = info.context.gateway, info.context.viewer
        return await _changed(info, id, gateway.clients.disable(gateway.shares.bulk, viewer, id, force=force))

    @strawberry.mutation(
        permission_classes=[Administer],
        description="Accept a disabled OAuth client again. The access tokens it had before stay refused. Needs a"
        " client's own token with all scopes of that client.",
    )
    async def enable_client(self, info: Info, id: ClientId) -> ChangeClientPayload | None:
        """Enable a client."""
        gateway, viewer = info.context.gateway, info.context.viewer
        return await _changed(info, id, gateway.clients.enable(gateway.shares.bulk, viewer, id))

    @strawberry.mutation(
        permission_classes=[Administer],
        description="Change the scopes of an OAuth client. Tokens that it has already lose, within 3 seconds, what it"
        " loses. It may keep scopes that your token does not have, but get none of them. Needs a client's own token.",
    )
    async def set_client_scopes(
        self,
        info: Info,
        id: ClientId,
        scopes: Annotated[list[str], strawberry.argument(description="All scopes it may have from now on.")],
        force: Force = False,
    ) -> ChangeClientPayload | None:
        """Change the scopes of a client."""
        gateway, viewer = info.context.gateway, info.context.viewer
        change = gateway.clients.set_scopes(gateway.shares.bulk, viewer, id, scopes, force=force)
        return await _changed(info, id, change)


ResultT = TypeVar("ResultT")


async def _outcome(change: Awaitable[ResultT]) -> tuple[ResultT | None, list[UserError]]:
    try:
        return await change, []
    except InvalidInput as error:
        named = UserError.of(error, _CODES.get(type(error), "BAD_USER_INPUT"))
        named.field = named.field and [_FIELDS.get(name, name) for name in named.field]
        return None, [named]


async def _changed(info: Info, id: str, change: Awaitable[object]) -> ChangeClientPayload:
    _, errors = await _outcome(change)
    return ChangeClientPayload(client=None if errors else await _found(info, id), user_errors=errors)


async def _found(info: Info, id: str) -> Client | None:
    record = await stored.client_by_id(info.context.gateway.shares.bulk, id)
    return None if record is None else Client.of(record)


_CODES = {
    NoSuchClient: "NOT_FOUND",
    ClientTaken: "CONFLICT",
    BeyondOwnScopes: "BEYOND_OWN_SCOPES",
    OwnClient: "OWN_CLIENT",
}
_FIELDS = {  # what registration calls the fields of `CreateClientInput`
    "grant": "grants",
    "scope": "scopes",
    "ttl": "tokenLifetime",
    "origin": "origins",
    "redirect-uri": "redirectUris",
    "post-logout-uri": "postLogoutRedirectUris",
}
