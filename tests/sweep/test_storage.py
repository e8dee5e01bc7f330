"""Storages of the study."""

from pathlib import Path

import pytest

from leyden.errors import UserError
from leyden.sweep.storage import open_storage, running_trial, storage_errors, storage_url
from tests.sweep.fake_jobs import DROPOUT, folder, quadratic, sweep


def test_optuna_dashboard_can_open_the_journal(tmp_path: Path, logs: str) -> None:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=2")
    storage = JournalStorage(JournalFileBackend(str(folder(tmp_path) / "journal.log")))
    (name,) = optuna.study.get_all_study_names(storage)
    assert name == folder(tmp_path).name
    assert optuna.load_study(study_name=name, storage=storage).metric_names == ["val/acc"]
    assert open_storage(storage_url("journal", folder(tmp_path))).get_all_studies()


def test_a_file_that_is_no_database_is_reported(tmp_path: Path, logs: str) -> None:
    (tmp_path / "study.db").write_text("no database" * 1000)
    storage = f"sqlite:///{tmp_path}/study.db"
    message = r"^sweep.storage: the database has an error: file is not a database$"
    with pytest.raises(UserError, match=message), storage_errors(storage):
        sweep(quadratic, logs, DROPOUT, "sweep.n_trials=2", f"sweep.storage={storage}")


def test_a_running_trial_of_another_process_can_be_continued(tmp_path: Path) -> None:
    """Uses the private id of a trial: this test fails when Optuna changes it."""
    import optuna

    study = optuna.create_study(storage=open_storage(f"journal:///{tmp_path}/j"), study_name="x")
    first = study.ask()
    value = first.suggest_float("a", 0, 1)
    again = running_trial(optuna.load_study(study_name="x", storage=open_storage(f"journal:///{tmp_path}/j")), 0)
    assert again.suggest_float("a", 0, 1) == value
    again.report(0.5, 1)
    assert study.get_trials()[0].intermediate_values == {1: 0.5}


@pytest.mark.parametrize("place", ["/proc/x", "file/x"])
def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^paths.logs: cannot create .*/sweeps/x \(.+\)$"):
        sweep(quadratic, f"paths.logs={tmp_path / place}", "seed=0,1", "sweep.name=x")
