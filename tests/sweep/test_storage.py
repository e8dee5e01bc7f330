"""The journal file."""

from pathlib import Path

from leyden.sweep.storage import open_storage, storage_url
from tests.sweep.fake_jobs import DROPOUT, folder, quadratic, rows, sweep


def test_an_incomplete_last_line_of_the_journal_is_dropped(tmp_path: Path, logs: str) -> None:
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=2")
    with (folder(tmp_path) / "journal.log").open("a") as journal:
        journal.write('{"op_code": 4, "wor')
    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=3")
    assert len(rows(folder(tmp_path))) == 3


def test_optuna_dashboard_can_open_the_journal(tmp_path: Path, logs: str) -> None:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    sweep(quadratic, logs, DROPOUT, "sweep.n_trials=2")
    storage = JournalStorage(JournalFileBackend(str(folder(tmp_path) / "journal.log")))
    (name,) = optuna.study.get_all_study_names(storage)
    assert name == folder(tmp_path).name
    assert optuna.load_study(study_name=name, storage=storage).metric_names == ["val/acc"]
    assert open_storage(storage_url("journal", folder(tmp_path))).get_all_studies()
