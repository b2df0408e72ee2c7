"""Whether a log can be compared on at all: by `penchant evaluate`, before anything is fitted."""

from dataclasses import replace

import numpy as np
import pytest

from core.errors import InvalidInput
from engine.models.evaluating import check_comparable
from ml.log import Log, NothingToLearn, Signals
from ml.splits import DAY
from ml.state import EVENT, RETURN
from tests.shops import NOW, Shop, make_shop

CUT = NOW - 60 * DAY


@pytest.fixture(scope="module")
def log() -> Log:
    return make_shop(Shop(people=20))


def all_returned(log: Log) -> Log:
    """The same log, with a return of every line an hour later."""
    events = np.zeros(len(log), EVENT)
    events["type"], events["item"], events["occurred"] = RETURN, log.item, log.occurred + 3_600
    events["order"], events["quantity"] = log.order + 1, log.quantity
    return replace(log, signals=Signals(log.person, events))


def test_people_who_ordered_before_and_after_the_cut_are_compared_on(log: Log) -> None:
    check_comparable(log, CUT)


def test_a_log_in_which_nobody_kept_a_later_order_is_refused(log: Log) -> None:
    first, last = np.append(True, np.diff(log.person) != 0), np.append(np.diff(log.person) != 0, True)
    everybody_new = log.where(np.where(log.person % 2, first, last))  # one line each, early or late
    for odd in (all_returned(log), everybody_new):
        with pytest.raises(NothingToLearn, match="ordered again: nothing can be compared"):
            check_comparable(odd, CUT)


def test_a_cut_beyond_all_purchases_is_wrong_only_where_a_person_chose_it(log: Log) -> None:
    at_once = replace(log, occurred=np.full(len(log), CUT - 1))
    with pytest.raises(NothingToLearn, match="no purchases after the cut"):
        check_comparable(at_once, CUT)
    with pytest.raises(InvalidInput, match="no purchases after the cut"):
        check_comparable(at_once, CUT, chosen=True)
