"""The Celery applications: the tasks each of them has."""

from bus.envelope import Kind
from core.purge_settings import Purges
from core.settings import Stores
from tests.in_process import Configured
from workers.app import create_app, create_trainer


def test_there_is_a_task_for_every_kind_and_for_the_periodic_messages_of_the_release_before(stores: Stores) -> None:
    settings = Configured(stores)
    secret = "whsec_" + "QUJD" * 8
    settings.purges = Purges.model_validate({"purge_url": "https://receiver.example/", "purge_secret": secret})
    worker, trainer = create_app(settings), create_trainer(Configured(stores))
    assert {*worker.tasks, *trainer.tasks} >= set(Kind) - {Kind.AS_RECEIVED}
    assert worker.tasks["penchant.look_around"].name == Kind.PERIODIC
    assert worker.tasks["penchant.bury_letters"].name == Kind.MOVE_DEAD_LETTERS
