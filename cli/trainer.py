"""`penchant trainer`: carries out the trainings that were asked for."""

import warnings


def trainer() -> None:
    """Train whenever a training waits, one at a time, until told to stop (SIGTERM: finish the one that runs)."""
    from celery import signals
    from celery.exceptions import SecurityWarning

    from cli.worker import keep_our_logs, trace, trace_no_more
    from core.logs import configure_logs
    from core.settings import Settings
    from workers.app import create_trainer

    settings = Settings()
    configure_logs(settings.logging.log_level, json=settings.logging.log_json)
    warnings.simplefilter("ignore", SecurityWarning)  # of root and pickle; we take JSON only
    signals.setup_logging.connect(keep_our_logs, weak=False)
    signals.worker_process_init.connect(trace, weak=False)
    signals.worker_process_shutdown.connect(trace_no_more, weak=False)
    create_trainer(settings).worker_main(
        ["--quiet", "worker", "--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle"]
    )
