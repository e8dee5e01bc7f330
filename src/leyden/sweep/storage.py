"""Where studies are stored: a journal file, SQLite or PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from leyden.errors import UserError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "journal.log"
FOLDER = "folder"  # attribute of a trial: the number of its folder, if it retries a failed trial


def storage_url(storage: str, folder: Path) -> str:
    """Return the URL of a storage.

    Args:
        storage: the value of ``sweep.storage``: ``journal``, ``sqlite:///FILE`` or ``postgresql://…``.
        folder: folder of the sweep, which contains the journal.

    Raises:
        UserError: the folder of an SQLite file does not exist.
    """
    if storage == "journal":
        return f"journal:///{folder / JOURNAL}"
    if storage.startswith("sqlite:///"):
        path = Path(storage.removeprefix("sqlite:///")).resolve()
        if not path.parent.is_dir():
            raise UserError(f"sweep.storage: the folder {path.parent} does not exist")
        return f"sqlite:///{path}"
    return storage


def open_storage(url: str) -> "BaseStorage":
    """Open Optuna's storage at a URL from `storage_url`. It is created if it does not exist.

    Raises:
        UserError: the journal is damaged or cannot be created.
    """
    if url.startswith("journal:///"):
        from optuna.storages.journal import JournalStorage

        from leyden.sweep.journal import CheckedJournal

        path = Path(url.removeprefix("journal:///"))
        try:
            return JournalStorage(CheckedJournal(path))
        except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError) as error:
            # What Optuna raises when it applies lines without a checksum that are no operations of a study.
            raise UserError(f"{path}: is damaged ({type(error).__name__} when it is read)") from error
    from optuna.storages import RDBStorage

    # SQLAlchemy selects psycopg 3 for plain postgresql:// from version 2.1 on. Older versions need its name.
    return RDBStorage(url.replace("postgresql://", "postgresql+psycopg://"))


@contextmanager
def storage_errors(storage: str) -> Iterator[None]:
    """Turn the errors of a database into a UserError with one line.

    Args:
        storage: the value of ``sweep.storage``.
    """
    if storage == "journal":
        yield
        return
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ or error
        text = str(getattr(cause, "orig", None) or cause)
        raise UserError(f"sweep.storage: the database has an error: {' '.join(text.split())}") from error


def running_trial(study: "Study", number: int) -> "Trial":
    """Return trial `number` of a study as an object that can report and suggest.

    Optuna's public API creates such an object in `Study.ask` only, for a new trial. To continue a trial that another
    process has started, its id is needed, which is private (`FrozenTrial._trial_id`, tested with Optuna 5.0).
    """
    from optuna.trial import Trial

    return Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)


def folder_number(trial: "Trial | FrozenTrial") -> int:
    """Return the number of a trial's folder."""
    return int(trial.user_attrs[FOLDER]) if FOLDER in trial.user_attrs else int(trial.number)
