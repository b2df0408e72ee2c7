"""What serves: the bundle of the serving row, file by file, and the gateway that answers with it."""

import asyncio
import json
import urllib.error
import urllib.request
from datetime import timedelta
from typing import Any

from cli.checkup.findings import Finding, fail, ok, warn
from core import clock
from core.errors import StoreUnavailable
from core.settings import Gateway, Stores
from db.postgres import connect_pool
from db.serving import Model, current_serving, model_by_id
from ml.bundle import Bundle, BundleRefused

OLD = timedelta(days=14)
PATIENCE = 3.0  # seconds
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- where such a gateway is asked from here
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


async def check_bundle(stores: Stores) -> list[Finding]:
    """The bundle that should serve, checked against its manifest and against the digest it was registered with."""
    try:
        pool = await connect_pool(stores.postgres_url.get_secret_value(), size=1, timeout=stores.postgres_timeout)
    except StoreUnavailable:
        return []  # Postgres has its own line
    async with pool:
        row = await current_serving(pool)
        model = await model_by_id(pool, row.bundle) if row else None
    if row is None or model is None:
        return [
            warn("bundle", "none serves: everybody gets what is popular", "Load your data and run `penchant train`.")
        ]
    return [await asyncio.to_thread(_check_files, stores, model)]


def _check_files(stores: Stores, model: Model) -> Finding:
    folder = stores.bundles.resolve()
    try:
        bundle = Bundle.open(folder / model.id)
    except BundleRefused as error:
        advice = f"Bring it back to {folder}, or train anew with `penchant train`; the gateways go on with the old one."
        return fail("bundle", f"{error}", advice)
    if bundle.digest != model.digest:
        return fail("bundle", f"{model.id} is not the one that was registered", "Train anew with `penchant train`.")
    age = clock.now() - bundle.created_at
    says = f"{model.id}, whole, {age.total_seconds() / 86_400:.1f} days old"
    return warn("bundle", says, "Train anew with `penchant train`.") if age > OLD else ok("bundle", says)


async def check_gateway(gateway: Gateway) -> list[Finding]:
    """Whether one answers on this machine, and what it says of itself."""
    host = EVERYWHERE.get(gateway.host, gateway.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{gateway.port}"
    try:
        said: dict[str, Any] = await asyncio.to_thread(_ready, f"{url}/readyz")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return [warn("gateway", f"{url} does not answer: {reason}", "Start `penchant gateway`, if it is to run here.")]
    down = [store for store in ("postgres", "redis", "broker") if said.get(store) != "ok"]
    if down:
        return [warn("gateway", f"{url} does not reach {', '.join(down)}", "Compare its settings with these.")]
    if said.get("bundleRefused"):
        return [warn("gateway", f"{url} refuses the bundle that should serve", "See the bundle's line, and its log.")]
    return [ok("gateway", f"{url} is ready, with {said.get('bundle') or 'no bundle'}")]


def _ready(url: str) -> dict[str, Any]:
    try:
        with DIRECT.open(url, timeout=PATIENCE) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))
