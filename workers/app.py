"""The workers' composition root: one Celery application, its settings, its tasks."""

from typing import Any, Final

from celery import Celery

from bus.rabbitmq.topology import EVENTS, LAKE, PERIODIC, PURGES, TRAINING
from core.settings import Settings
from workers import move_dead_letters, periodic, store_events
from workers.process import WorkerProcess

SETTINGS: Final[dict[str, Any]] = {
    # Delivery: a message leaves the queue when its task is done; when the task fails, it is dead-lettered.
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_acks_on_failure_or_timeout": False,
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "task_ignore_result": True,
    "broker_transport_options": {"confirm_publish": True},
    "broker_heartbeat": 10,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,  # no limit
    "broker_connection_timeout": 5,
    # Queues: declared in code, so that Celery knows they are quorum queues and leaves the global prefetch alone.
    "task_queues": (EVENTS, PERIODIC),
    "task_default_queue": EVENTS.name,
    "task_default_exchange": EVENTS.exchange.name,
    "task_default_exchange_type": EVENTS.exchange.type,
    "task_default_routing_key": EVENTS.routing_key,
    "task_create_missing_queues": False,
    "worker_prefetch_multiplier": 4,
    "worker_consumer": "workers.consumer:Consumer",
    # Only our own messages: no remote control, no events of Celery about its tasks.
    "accept_content": ["json"],
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_proc_alive_timeout": 30.0,
    "enable_utc": True,
}


# One training, export or file of lists at a time, in a process that ends with it: so TensorFlow's memory is released.
TRAINER: Final[dict[str, Any]] = {
    "task_queues": (TRAINING, LAKE),
    "task_default_queue": TRAINING.name,
    "task_default_routing_key": TRAINING.routing_key,
    "worker_prefetch_multiplier": 1,
    "worker_max_tasks_per_child": 1,
}


def create_app(settings: Settings) -> Celery:
    """The Celery application of the workers that store events and do periodic work; opens no connection."""
    app, process = _create(settings), WorkerProcess(settings.stores)
    store_events.register(app, process)
    periodic.register(app, process, settings)
    move_dead_letters.register(app, process)
    if settings.purges.purge_url is not None:
        from workers import send_purges  # the HTTP client, which the other workers do without

        app.conf.task_queues = (*app.conf.task_queues, PURGES)
        send_purges.register(app, process, settings.purges)
    return app


def create_trainer(settings: Settings) -> Celery:
    """The Celery application of the trainers; opens no connection and imports no TensorFlow."""
    from workers import export_events, train  # NumPy and pandas, which the other workers do without

    app = _create(settings)
    app.conf.update(TRAINER)
    train.register(app, settings)
    train.notify_at_start(settings.stores)
    export_events.register(app, settings)
    return app


def create_beat(settings: Settings) -> Celery:
    """The Celery application that only sends the periodic tasks."""
    app = _create(settings)
    app.conf.update(periodic.BEAT_SETTINGS)
    if settings.purges.purge_url is not None:
        app.conf.beat_schedule = app.conf.beat_schedule | periodic.PURGES_SCHEDULE
    return app


def _create(settings: Settings) -> Celery:
    app = Celery("penchant", broker=settings.stores.broker_url.get_secret_value(), set_as_current=False)
    app.conf.update(SETTINGS)
    return app
