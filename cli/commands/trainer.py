"""`penchant trainer`: runs the trainings that wait in the queue."""


def trainer() -> None:
    """Train whenever a training waits, one at a time, until SIGTERM or Ctrl-C.

    These stop a training that has begun: its job waits, and the next trainer takes it at once.
    """
    from cli.services.celery_worker import prepare_celery, run_worker, stop_trainings_with_worker
    from cli.services.startup import read_settings
    from cli.training_packages import require_training_packages
    from workers.app import create_trainer

    require_training_packages()
    settings = read_settings("stores", "lists", "lake", "bundles", "trainings")
    prepare_celery()
    stop_trainings_with_worker()
    run_worker(create_trainer(settings), processes=1)
