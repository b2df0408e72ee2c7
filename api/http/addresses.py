"""The address of a caller: the other end of the connection, or what a trusted proxy says about it."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"  # the callers of a Unix socket, and those whose address the server does not know
MAX_HOPS = 32  # addresses read of X-Forwarded-For, from the right


def caller_of(scope: Scope) -> str:
    """The caller's address as limits count it: an IPv4 address, or the /64 network of an IPv6 address.

    `trusted_proxies` in the scope's state are the networks whose X-Forwarded-For is believed.
    """
    address = caller_address(scope, scope.get("state", {}).get("trusted_proxies", ()))
    if address is None:
        return UNKNOWN
    return str(IPv6Network((int(address), 64), strict=False) if isinstance(address, IPv6Address) else address)


def caller_address(scope: Scope, trusted: Sequence[Network]) -> Address | None:
    """The connection's other end; behind trusted proxies, the rightmost address that is not one of them.

    Text that is no address ends the search: nobody trusted wrote what stands left of it.
    """
    client = scope.get("client")
    address = _read(client[0]) if client else None
    for hop in _hops(scope) if trusted else ():
        if address is None or not _is_in(address, trusted):
            break
        if (before := _read(hop)) is None:
            break
        address = before
    return address


def _hops(scope: Scope) -> list[str]:
    """The last entries of X-Forwarded-For, from right to left; repeated headers are one list."""
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return [part.decode("latin-1") for part in b",".join(values).rsplit(b",", MAX_HOPS)[::-1][:MAX_HOPS]]


def _read(text: str) -> Address | None:
    """The address in `text`, which may have a port or a zone; None when there is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
