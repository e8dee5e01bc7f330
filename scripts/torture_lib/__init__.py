"""The parts of `scripts/torture.py`: kills, faults, fuzzed command lines, hostile files and races."""
