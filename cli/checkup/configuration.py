"""The settings: are they all there, and do they hold water?"""

import os
import shutil
import socket
from importlib.metadata import version
from platform import python_version
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from cli.checkup.findings import Finding, address, fail, ok, warn
from core.errors import PenchantError
from core.settings import Gateway, Stores
from core.telemetry import ENDPOINTS

Concern = TypeVar("Concern", bound=BaseSettings)

LEAST_SPACE, LITTLE_SPACE = 200 * 2**20, 2 * 2**30  # bytes
VARIED = 10  # different characters that a random secret of 32 has, and a phrase typed in haste has not


def check_versions() -> list[Finding]:
    """What runs here."""
    return [ok("penchant", f"version {version('penchant')} on Python {python_version()}")]


def read(kind: type[Concern]) -> tuple[Concern | None, list[Finding]]:
    """The settings of one concern, or what is missing or wrong in them, never their values."""
    try:
        return kind(), []
    except ValidationError as error:
        advice = "Set it in the environment; core/settings.py explains it."
        faults = [(f"PENCHANT_{str(fault['loc'][0]).upper()}", fault["msg"]) for fault in error.errors()]
        return None, [fail("settings", f"{name}: {message}", advice) for name, message in faults]
    except PenchantError as error:
        return None, [fail("settings", str(error), "Put the file right, or name another one.")]


def check_gateway_settings(gateway: Gateway) -> list[Finding]:
    """The secret, and whether tokens travel in the clear."""
    found = [ok("secret", "PENCHANT_SECRET is there")]
    if len(set(gateway.secret.get_secret_value())) < VARIED:
        advice = "Make a random one: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
        found = [warn("secret", "PENCHANT_SECRET is easy to guess", advice)]
    public = urlsplit(gateway.public_url)
    if public.scheme != "https" and public.hostname not in ("127.0.0.1", "localhost", "::1"):
        advice = "Put a proxy with TLS in front and name its https:// address in PENCHANT_PUBLIC_URL."
        found.append(warn("public url", f"{address(gateway.public_url)} sends access tokens in the clear", advice))
    return found


def check_disk(stores: Stores) -> list[Finding]:
    """Room for bundles, which are written whole before they replace one another."""
    folder = stores.bundles.resolve()
    if not folder.is_dir():
        advice = "Make it, or name the right one in PENCHANT_BUNDLES: trainer and gateway share it."
        return [warn("disk", f"{folder} is not there", advice)]
    usage = shutil.disk_usage(folder)
    says = f"{usage.free / 2**30:.1f} GiB free of {usage.total / 2**30:.1f} at {folder}"
    if not os.access(folder, os.R_OK | os.X_OK):
        return [fail("disk", f"{folder} cannot be read by this user", "Give this user the right to read it.")]
    if usage.free < LEAST_SPACE:
        return [fail("disk", says, "Make room: the next training could not write its bundle.")]
    return [warn("disk", says, "Make room soon.") if usage.free < LITTLE_SPACE else ok("disk", says)]


def check_collector() -> list[Finding]:
    """Where traces go."""
    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
    if endpoint is None:
        return [ok("traces", f"off; {ENDPOINTS[0]} turns them on")]
    parts = urlsplit(endpoint)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=2).close()
    except (OSError, ValueError) as error:
        says = f"{address(endpoint)} does not answer: {getattr(error, 'strerror', None) or error}"
        return [warn("traces", says, f"Start the collector, or put {ENDPOINTS[0]} right.")]
    return [ok("traces", f"sent to {address(endpoint)}")]
