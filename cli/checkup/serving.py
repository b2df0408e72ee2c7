"""The bundle of the serving row, checked file by file, and the gateway that answers with it."""

import asyncio
import json
import urllib.error
from datetime import timedelta
from typing import Any

from cli.checkup.findings import Finding, fail, ok, warn
from cli.gateway_client import opener_for
from core import clock
from core.errors import StoreUnavailable
from core.settings import Gateway, Stores
from db.jobs import AFFINITY, FORECAST, latest_jobs
from db.postgres import Pool, connect_pool
from db.serving import Model, current_serving, decision_about, list_decisions, model_by_id
from ml.affinity.model import AffinityModel
from ml.bundle import BundleRefused

OLD = timedelta(days=14)
GATEWAY_TIMEOUT = 3.0  # seconds
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- the address of this machine for such a host


async def check_bundle(stores: Stores) -> list[Finding]:
    """The bundle that should serve, checked against its manifest and against the digest it was registered with."""
    try:
        pool = await connect_pool(stores.postgres_url.get_secret_value(), size=1, timeout=stores.postgres_timeout)
    except StoreUnavailable:
        return []  # Postgres has its own finding
    async with pool:
        row = await current_serving(pool)
        model = await model_by_id(pool, row.bundle) if row else None
        if row is None or model is None:
            return [await _why_none_serves(pool)]
        fitted = await model_by_id(pool, model.refreshed_from) if model.refreshed_from else model
        decision = await decision_about(pool, (fitted or model).id) if model.baseline else None
    checked = await asyncio.to_thread(_check_files, stores, model, fitted or model)
    if decision is None or checked.verdict == "FAIL":
        return [checked]
    advice = "See `penchant models list`. Train again when there are more orders, with `penchant train`."
    return [warn("bundle", f"{model.id}: no trained model serves. {decision.reason}", advice)]


async def _why_none_serves(pool: Pool) -> Finding:
    """No model serves: because of the gate, of the last training, or because there was none."""
    decisions = [each for each in await list_decisions(pool, 20) if not each.bundle.startswith(f"{FORECAST}-")]
    refused = [each for each in decisions[:1] if each.action == "REFUSED"]
    failed = [job for job in await latest_jobs(pool) if job.kind == AFFINITY and job.state == "FAILED"]
    says = "no model serves, everybody gets the popular items"
    if refused:
        advice = "See `penchant models list`. Train again when there are more orders, with `penchant train`."
        return warn("bundle", f"{says}: {refused[0].bundle} was refused, {refused[0].reason}", advice)
    if failed:
        advice = "Load more purchases, then run `penchant train`."
        return warn("bundle", f"{says}: the last training failed. {failed[-1].error}", advice)
    return warn("bundle", f"{says}: no training has ended", "Load data and run `penchant train`.")


def _check_files(stores: Stores, model: Model, fitted: Model) -> Finding:
    """The files of what serves; its age is that of the training, `fitted`, whose weights it has."""
    folder = stores.bundles.resolve()
    try:
        bundle = AffinityModel.open(folder / model.id)
    except BundleRefused as error:
        advice = f"Restore it in {folder}, or run `penchant train` again; the gateways keep the bundle they loaded."
        return fail("bundle", f"{error}", advice)
    if bundle.digest != model.digest:
        return fail("bundle", f"{model.id} is not the bundle that was registered", "Train again with `penchant train`.")
    age = clock.now() - fitted.created_at
    tables = f", with tables of {bundle.created_at:%F %R}" if model.refreshed_from else ""
    says = f"{model.id}, complete, {age.total_seconds() / 86_400:.1f} days old{tables}"
    return warn("bundle", says, "Train again with `penchant train`.") if age > OLD else ok("bundle", says)


async def check_gateway(gateway: Gateway) -> list[Finding]:
    """Whether a gateway answers on this machine, and what it reports about itself."""
    host = LOOPBACK.get(gateway.host, gateway.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{gateway.probe_port or gateway.port}"
    try:
        report: dict[str, Any] = await asyncio.to_thread(_ready, f"{url}/readyz")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return [warn("gateway", f"{url} does not answer: {reason}", "Start `penchant gateway`, if it should run here.")]
    states = {store: report.get(store) for store in ("postgres", "redis", "broker")}
    if down := [store for store, state in states.items() if state not in ("ok", "full")]:
        return [warn("gateway", f"{url} does not reach {', '.join(down)}", "Compare its settings with these.")]
    if full := [store for store, state in states.items() if state == "full"]:
        return [warn("gateway", f"{url} finds {', '.join(full)} full", "See the findings about the stores.")]
    if report.get("bundleRefused"):
        return [
            warn(
                "gateway",
                f"{url} refuses the bundle that should serve",
                "See the finding about the bundle, and the gateway's log.",
            )
        ]
    return [ok("gateway", f"{url} is ready, with {report.get('bundle') or 'no bundle'}")]


def _ready(url: str) -> dict[str, Any]:
    try:
        with opener_for(url).open(url, timeout=GATEWAY_TIMEOUT) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))
