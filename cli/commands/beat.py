"""`penchant beat`: sends the periodic tasks."""


def beat() -> None:
    """Send the periodic tasks (daily training, jobs whose process ended, months ahead) until SIGTERM.

    Several may run: one of them sends, the others wait to take over.
    """
    import logging
    import signal
    import sys

    from cli.services.startup import read_settings
    from workers.app import create_beat
    from workers.beat import run
    from workers.broker_errors import keep_tracebacks_of_broker_out

    settings = read_settings("stores", "purges")
    logging.getLogger("celery.beat").setLevel(logging.WARNING)
    keep_tracebacks_of_broker_out()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    run(create_beat(settings), settings.stores)
