"""`penchant trainer`: runs the trainings that wait in the queue."""


def trainer() -> None:
    """Train whenever a training waits, one at a time, until SIGTERM.

    SIGTERM to this process alone lets a training that has begun end. SIGTERM to its process group, or Ctrl-C, stops it,
    and its job waits for the next trainer.
    """
    from cli.services.celery_worker import prepare_celery, run_worker
    from cli.services.startup import read_settings
    from workers.app import create_trainer

    settings = read_settings()
    prepare_celery()
    run_worker(create_trainer(settings), processes=1)
