"""The address of a caller: the connection's own, unless a trusted proxy names another."""

from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import ValidationError

from api.http.addresses import MAX_HOPS, UNKNOWN, caller_of
from core.settings import Gateway

PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "127.0.0.1/32", "fd00::/8")))


def caller(client: str | None, *forwarded: str, trusted: Any = PROXIES) -> str:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    scope = {"client": client and (client, 4711), "headers": headers, "state": {"trusted_proxies": trusted}}
    return caller_of(scope)


def test_without_trusted_proxies_no_header_is_believed() -> None:
    assert caller("127.0.0.1", "203.0.113.9", trusted=()) == "127.0.0.1"
    assert caller_of({"client": ("192.0.2.1", 1), "headers": [(b"x-forwarded-for", b"203.0.113.9")]}) == "192.0.2.1"


def test_only_a_trusted_proxy_is_believed() -> None:
    assert caller("192.0.2.1", "203.0.113.9") == "192.0.2.1"
    assert caller("10.1.2.3", "203.0.113.9") == "203.0.113.9"
    assert caller("::ffff:10.1.2.3", "203.0.113.9") == "203.0.113.9"
    assert caller("10.1.2.3") == "10.1.2.3"


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (("1.1.1.1, 203.0.113.9",), "203.0.113.9"),
        (("203.0.113.9, 10.9.9.9, 10.8.8.8",), "203.0.113.9"),
        (("1.1.1.1", "203.0.113.9", "10.9.9.9"), "203.0.113.9"),
        (("10.7.7.7, 10.8.8.8",), "10.7.7.7"),
        (("203.0.113.9:5000",), "203.0.113.9"),
        (('"[2001:db8:1:2::9]:5000"',), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::9",), "2001:db8:1:2::/64"),
        (("203.0.113.9, unknown",), "10.1.2.3"),
        (("203.0.113.9, ",), "10.1.2.3"),
        (("203.0.113.9, nonsense, 10.9.9.9",), "10.9.9.9"),
        (("\xff\xfe",), "10.1.2.3"),
        (("203.0.113.9," + "10.9.9.9," * MAX_HOPS + "10.9.9.9",), "10.9.9.9"),
    ],
)
def test_the_caller_is_the_rightmost_address_that_is_not_trusted(forwarded: tuple[str, ...], expected: str) -> None:
    assert caller("10.1.2.3", *forwarded) == expected


def test_an_ipv6_caller_is_its_network() -> None:
    assert caller("2001:db8::1") == caller("2001:db8::ffff:1:2:3") == "2001:db8::/64"
    assert caller("fe80::1%eth0") == "fe80::/64"


def test_a_caller_without_an_address_has_one_name() -> None:
    assert caller(None, "203.0.113.9") == caller("not-an-address") == UNKNOWN


def test_the_setting_is_a_list_of_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENCHANT_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,fd00::/8")
    assert Gateway.model_validate({"secret": "s" * 32}).trusted_proxies == (
        ip_network("127.0.0.1/32"),
        ip_network("10.0.0.0/8"),
        ip_network("fd00::/8"),
    )
    monkeypatch.setenv("PENCHANT_TRUSTED_PROXIES", "everybody")
    with pytest.raises(ValidationError):
        Gateway.model_validate({"secret": "s" * 32})
