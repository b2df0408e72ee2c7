"""Redirect URIs: compared exactly, but for the port of an app on the person's own machine (RFC 8252, section 7.3)."""

import re

_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\])):([0-9]{1,5})(?=[/?]|$)")


def is_registered(uri: str, registered: tuple[str, ...]) -> bool:
    """Whether `uri` is one of these.

    One that was registered as http on 127.0.0.1 or [::1] without a port holds for every port: the app listens where
    the system lets it.
    """
    if uri in registered:
        return True
    match = _LOOPBACK.match(uri)
    return match is not None and 0 < int(match[2]) < 65_536 and match[1] + uri[match.end() :] in registered
