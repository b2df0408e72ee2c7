"""The settings, the disk and the collector: complete, safe and reachable."""

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
from core.setting_faults import faults_in
from core.setting_names import unknown_names, warning_of
from core.settings import Gateway, Stores
from core.telemetry import ENDPOINTS

Concern = TypeVar("Concern", bound=BaseSettings)

LEAST_SPACE, LITTLE_SPACE = 200 * 2**20, 2 * 2**30  # bytes
LEAST_CHARACTERS = 10  # different ones; a random secret of 32 has more, a phrase typed in a hurry has fewer


def check_versions() -> list[Finding]:
    """The versions of Penchant and Python."""
    return [ok("penchant", f"version {version('penchant')} on Python {python_version()}")]


def read_concern(kind: type[Concern]) -> tuple[Concern | None, list[Finding]]:
    """The settings of one concern, or findings that name the missing and wrong ones, never their values."""
    try:
        return kind(), []
    except ValidationError as error:
        advice = "Set it in the environment; core/settings.py explains it."
        return None, [fail("settings", str(fault), advice) for fault in faults_in(error)]


def check_names() -> list[Finding]:
    """Environment variables that look like settings and are none."""
    unknown = unknown_names()
    advice = "Correct its name, or remove it; core/settings.py has all names."
    return [warn("settings", warning_of(name, nearest), advice) for name, nearest in unknown.items()]


def check_gateway_settings(gateway: Gateway) -> list[Finding]:
    """The gateway's secret, and whether its public address encrypts tokens."""
    found = [ok("secret", "PENCHANT_SECRET is set")]
    if len(set(gateway.secret.get_secret_value())) < LEAST_CHARACTERS:
        advice = "Make a random one: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
        found = [warn("secret", "PENCHANT_SECRET is easy to guess", advice)]
    public = urlsplit(gateway.public_url)
    if public.scheme != "https" and public.hostname not in ("127.0.0.1", "localhost", "::1"):
        advice = "Put a proxy with TLS in front and set PENCHANT_PUBLIC_URL to its https:// address."
        found.append(warn("public url", f"{address(gateway.public_url)} sends access tokens unencrypted", advice))
    return found


def check_disk(stores: Stores) -> list[Finding]:
    """Free space for bundles: a new one is written whole before it replaces the old one."""
    folder = stores.bundles.resolve()
    if not folder.is_dir():
        advice = "Create it, or correct PENCHANT_BUNDLES: trainer and gateway share this folder."
        return [warn("disk", f"{folder} does not exist", advice)]
    usage = shutil.disk_usage(folder)
    says = f"{usage.free / 2**30:.1f} GiB free of {usage.total / 2**30:.1f} at {folder}"
    if not os.access(folder, os.R_OK | os.X_OK):
        return [fail("disk", f"{folder} cannot be read by this user", "Give this user the right to read it.")]
    if usage.free < LEAST_SPACE:
        return [fail("disk", says, "Free some space: the next training could not write its bundle.")]
    return [warn("disk", says, "Free some space soon.") if usage.free < LITTLE_SPACE else ok("disk", says)]


def check_collector() -> list[Finding]:
    """Where traces are sent, and whether the collector answers."""
    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), None)
    if endpoint is None:
        return [ok("traces", f"off; {ENDPOINTS[0]} turns them on")]
    parts = urlsplit(endpoint)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=2).close()
    except (OSError, ValueError) as error:
        says = f"{address(endpoint)} does not answer: {getattr(error, 'strerror', None) or error}"
        return [warn("traces", says, f"Start the collector, or correct {ENDPOINTS[0]}.")]
    return [ok("traces", f"sent to {address(endpoint)}")]
