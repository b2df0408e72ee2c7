"""Synthetic shops for the tests of `ml`: small, seeded, with people who buy the same items again."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ml.affinity.model import AffinityModel, write
from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES
from ml.log import Log
from ml.rfm import FALLBACK_EDGES
from ml.snapshot import best_supported, snapshot, with_complements
from ml.state import EVENT, PURCHASE, Table
from ml.universe import Universe

DAY = 86_400
NOW = 1_700_000_000

MakeLog = Callable[..., Log]
MakeEvents = Callable[..., Table]


@pytest.fixture(scope="session")
def now() -> int:
    """The moment that every synthetic log ends at."""
    return NOW


@pytest.fixture(scope="session")
def make_log() -> MakeLog:
    """A year of a shop: each person buys the same favourites again, and sometimes a popular item."""

    def make(people: int = 60, items: int = 80, orders: int = 20, seed: int = 0) -> Log:
        random = np.random.default_rng(seed)
        lines: list[tuple[int, ...]] = []
        for person in range(people):
            favourites = random.choice(items, min(6, items), replace=False)
            days = np.sort(random.integers(0, 364, orders))
            for order, day in enumerate(days.tolist()):
                popular = random.zipf(1.6, 2) % items
                basket = np.unique(np.concatenate([random.choice(favourites, 3), popular]))
                at = NOW - (364 - day) * DAY + int(random.integers(0, DAY // 2))
                lines += [(person, int(item) + 1, at, 100 + int(item), person * 1000 + order) for item in basket]
        columns = np.array(lines, np.int64).T
        return Log.of(
            people=[f"user:{number}" for number in range(people)],
            person=columns[0].astype(np.int32),
            item=columns[1].astype(np.uint32),
            occurred=columns[2],
            cents=columns[3],
            order=columns[4],
            numbers=np.arange(1, items + 1, dtype=np.uint32),
            item_ids=[f"item {number}" for number in range(1, items + 1)],
        )

    return make


@pytest.fixture(scope="session")
def make_sequences() -> MakeLog:
    """A log without a clock or rebuys: a line a minute, all end at one time, mostly the item after the last one."""

    def make(people: int = 150, items: int = 60, seed: int = 0) -> Log:
        random = np.random.default_rng(seed)
        lines: list[tuple[int, ...]] = []
        for person in range(people):
            bought = [int(random.integers(items))]
            for _ in range(int(random.integers(5, 12))):
                new = np.setdiff1d(np.arange(items), bought)
                after = (bought[-1] + 1) % items
                bought.append(after if after in new and random.random() < 0.7 else int(random.choice(new)))
            at = NOW - 60 * np.arange(len(bought), 0, -1)
            order = len(lines)
            lines += [(person, item + 1, at[place], 0, order + place) for place, item in enumerate(bought)]
        columns = np.array(lines, np.int64).T
        return Log.of(
            people=[f"user:{number}" for number in range(people)],
            person=columns[0].astype(np.int32),
            item=columns[1].astype(np.uint32),
            occurred=columns[2],
            cents=columns[3],
            order=columns[4],
            numbers=np.arange(1, items + 1, dtype=np.uint32),
            item_ids=[f"item {number}" for number in range(1, items + 1)],
        )

    return make


@pytest.fixture(scope="session")
def make_events() -> MakeEvents:
    """Events (dtype EVENT) with one item number per argument, a minute apart, the last one at `at`."""

    def make(*items: int, at: int = NOW, type: int = PURCHASE, apart: int = 60, cents: int = 100) -> Table:
        events = np.zeros(len(items), EVENT)
        events["identity"] = np.random.default_rng([at, type, *items]).integers(1, 2**63, len(items))
        events["item"], events["type"], events["cents"], events["quantity"] = items, type, cents, 1
        events["occurred"] = at - apart * np.arange(len(items))[::-1]
        return events

    return make


@pytest.fixture(scope="session")
def universe(make_log: MakeLog) -> Universe:
    """The universe of a synthetic shop."""
    log = make_log()
    return with_complements(snapshot(log, best_supported(log, 80), NOW), log, NOW)


@pytest.fixture(scope="session")
def write_bundle(now: int) -> Callable[[Path, Universe], Path]:
    """Write a bundle whose ranker prefers what was bought often."""

    def make(folder: Path, universe: Universe) -> Path:
        weight = dict.fromkeys(FEATURES, 0.0) | {"lines": 1.0, "recent_people": 0.05, "near": 0.2}
        weights = np.array(FEATURES.ordered(weight), np.float32)[:, None]
        return write(
            folder,
            universe,
            Network((weights,), (np.full(1, -4, np.float32),)),
            item_ids=[f"item {number}" for number in universe.numbers],
            rfm_edges=FALLBACK_EDGES,
            evaluation={"made": "up"},
            created_at=datetime.fromtimestamp(now, UTC),
        )

    return make


@pytest.fixture
def bundle_path(tmp_path: Path, universe: Universe, write_bundle: Callable[[Path, Universe], Path]) -> Path:
    """A written bundle."""
    return write_bundle(tmp_path, universe)


@pytest.fixture
def model(bundle_path: Path) -> AffinityModel:
    """The same, opened."""
    return AffinityModel.open(bundle_path)
