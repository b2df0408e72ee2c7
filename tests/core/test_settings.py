"""Settings: everything that is wrong is told at once, and names that are no setting are found."""

from pathlib import Path

import pytest

from core.setting_faults import SettingsRefused
from core.setting_names import known_names, unknown_names, warning_of
from core.settings import CONCERNS, Settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POSTGRES_URL", "REDIS_URL", "BROKER_URL", "SECRET"):
        monkeypatch.delenv(f"PENCHANT_{name}", raising=False)


def test_all_wrong_and_missing_settings_of_all_concerns_are_told_at_once_without_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").touch()
    monkeypatch.setenv("PENCHANT_PORT", "seventy")
    monkeypatch.setenv("PENCHANT_LINGER", "soon")
    monkeypatch.setenv("PENCHANT_LOG_LEVEL", "LOUD")
    monkeypatch.setenv("PENCHANT_SECRET_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("PENCHANT_METRICS_TOKEN_FILE", str(tmp_path / "empty"))
    monkeypatch.setenv("PENCHANT_REDIS_URL", "redis://127.0.0.1")
    with pytest.raises(SettingsRefused) as refusal:
        Settings().check(*CONCERNS)
    assert {(fault.name, fault.missing) for fault in refusal.value.faults} == {
        ("PENCHANT_POSTGRES_URL", True),
        ("PENCHANT_BROKER_URL", True),
        ("PENCHANT_PORT", False),
        ("PENCHANT_LINGER", False),
        ("PENCHANT_LOG_LEVEL", False),
        ("PENCHANT_SECRET_FILE", False),
        ("PENCHANT_METRICS_TOKEN_FILE", False),
    }
    assert not any(value in str(refusal.value) for value in ("seventy", "soon", "LOUD"))


def test_only_the_concerns_that_a_process_uses_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENCHANT_PORT", "seventy")
    Settings().check("ingest", "logging")


def test_every_concern_is_listed() -> None:
    assert {"stores", "gateway", "ingest", "tokens", "logging", "watching", "schedule", "lake"} <= set(CONCERNS)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PENCHANT_POSTGRES_URI", "PENCHANT_POSTGRES_URL"),
        ("PENCHANT_RETRAIN_DAILLY", "PENCHANT_RETRAIN_DAILY"),
        ("PENCHANT_SECRETS_FILE", "PENCHANT_SECRET_FILE"),
        ("PENCHANT_PORT_FILE", "PENCHANT_PORT"),
        ("PENCHANT_XYZ", None),
    ],
)
def test_an_unknown_name_is_found_with_the_nearest_setting(name: str, meant: str | None) -> None:
    assert unknown_names([name, "PENCHANT_PORT", "PENCHANT_SECRET_FILE", "HOME"]) == {name: meant}
    assert (meant or "ignored") in warning_of(name, meant)


def test_names_are_read_in_any_case_as_settings_are() -> None:
    assert unknown_names(["penchant_port", "Penchant_Secret"]) == {}
    assert {"PENCHANT_PORT", "PENCHANT_SECRET", "PENCHANT_SECRET_FILE", "PENCHANT_VERSION"} <= known_names()


@pytest.mark.parametrize(("text", "accepted"), [("6000/minute", True), ("off", True), ("0", True), ("fast", False)])
def test_a_rate_is_checked_when_the_settings_are_read(
    monkeypatch: pytest.MonkeyPatch, text: str, accepted: bool
) -> None:
    monkeypatch.setenv("PENCHANT_RATE_PERSON", text)
    faults = Settings().faults("rates")
    assert [fault.name for fault in faults] == ([] if accepted else ["PENCHANT_RATE_PERSON"])
    assert not faults or "6000/minute" in str(faults[0])


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("VIEW=0.2, LIKE=0.5", True),
        ("", True),
        ("VIEW", False),
        ("VIEW=0.2,VIEW=0.3", False),
        ("SEARCH=0.2", False),
        ("VIEW=1.5", False),
    ],
)
def test_weights_of_events_are_checked_when_the_settings_are_read(
    monkeypatch: pytest.MonkeyPatch, text: str, accepted: bool
) -> None:
    monkeypatch.setenv("PENCHANT_EVENT_WEIGHTS", text)
    faults = Settings().faults("trainings")
    assert [fault.name for fault in faults] == ([] if accepted else ["PENCHANT_EVENT_WEIGHTS"])
    monkeypatch.setenv("PENCHANT_EVENT_WEIGHTS", "VIEW=0.2")
    monkeypatch.setenv("PENCHANT_EVENT_HALF_LIVES", "VIEW=0")
    assert [fault.name for fault in Settings().faults("trainings")] == ["PENCHANT_EVENT_HALF_LIVES"]
