"""The viewer as the records of jobs and decisions name them."""

from engine.viewer import Viewer


def recorded_name(viewer: Viewer) -> str:
    """The client; for a person's token, the client and the person: `web for anna`."""
    return viewer.client_id if viewer.person is None else f"{viewer.client_id} for {viewer.person.id}"
