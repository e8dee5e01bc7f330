"""The errors that are not defects of Leyden, and the exit code of each."""


class UserError(ValueError):
    """Something that the user can correct. One sentence that starts with the config key or the file."""

    exit_code = 2


class DivergedError(RuntimeError):
    """The loss or a weight became NaN or infinite. The last good checkpoint is kept."""

    exit_code = 3


class TrialsFailedError(RuntimeError):
    """A sweep has ended, and at least one of its trials failed."""

    exit_code = 1


class StoppedError(RuntimeError):
    """A signal ended the run.

    Args:
        message: the line that is printed for the user.
        signum: the number of the signal. The exit code is the one a shell reports for a process that it killed.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum
