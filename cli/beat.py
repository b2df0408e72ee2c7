"""`penchant beat`: sends what comes round."""


def beat() -> None:
    """Send what comes round (daily training, jobs left lying, months ahead) until told to stop; one of many leads."""
    import logging
    import signal
    import sys

    from core.logs import configure_logs
    from core.settings import Settings
    from workers.app import create_beat
    from workers.beat import run

    settings = Settings()
    configure_logs(settings.logging.log_level, json=settings.logging.log_json)
    logging.getLogger("celery.beat").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    run(create_beat(settings), settings.stores)
