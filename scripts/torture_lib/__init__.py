"""The parts of `scripts/torture.py`: kills, faults, fuzzed command lines, hostile files and races."""


def words(text: str) -> list[str]:
    """Split a command line or a list of names at its spaces."""
    return text.split()
