"""What can go wrong that is no defect of Leyden's, and the exit code of each."""


class UserError(ValueError):
    """Something the user can put right. One sentence that starts with the config key or the file."""

    exit_code = 2


class DivergedError(RuntimeError):
    """Training went to NaN or infinity; the last good checkpoint is kept."""

    exit_code = 3


class TrialsFailedError(RuntimeError):
    """A sweep is over, and not every trial of it went well."""

    exit_code = 1


class StoppedError(RuntimeError):
    """A signal ended the run after a checkpoint was written.

    Args:
        message: for the user.
        signum: of the signal; the exit code is that of a process the signal has killed, as a shell reports it.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum
