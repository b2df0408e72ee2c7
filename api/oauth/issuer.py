"""The issuer and the audience of our access tokens."""


def issuer_of(public_url: str) -> str:
    """The issuer: the configured base URL without a trailing slash. It never comes from a request."""
    return public_url.rstrip("/")


def audience_of(issuer: str) -> str:
    """The audience of access tokens: the GraphQL endpoint."""
    return f"{issuer}/graphql"
