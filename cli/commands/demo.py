"""`penchant demo`: ten months of a real shop, answered at once from what is popular, then from a trained model."""

import os
from pathlib import Path

from cli.commands.up import Folder, Port
from cli.demo.steps import Demo
from cli.local.deployment import open_deployment


def demo(port: Port = 8000, folder: Folder = Path(".penchant")) -> None:
    """Run Penchant with ten months of a real shop: loaded once, trained once, ready in seconds after that."""
    with open_deployment(folder, port) as deployment:
        run = Demo(deployment)
        making = run.begin_making_files()
        deployment.start_stores(run.say)
        deployment.settings["PENCHANT_RETRAIN_DAILY"] = os.environ.get("PENCHANT_RETRAIN_DAILY", "false")
        run.load(making)
        installing = run.begin_installing()
        client = run.client()
        deployment.start_services()
        with deployment.published():
            run.write_credentials(client)
            run.show_answer(client)
            run.train(client, installing)
            run.show_how_to_ask(client)
            deployment.start_background()  # not earlier: the trainer imports what is being installed until then
            deployment.watch()
