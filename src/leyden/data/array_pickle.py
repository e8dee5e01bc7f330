"""Read a pickle of plain values and uint8 arrays without the pickle module, which would run code that a file contains.

CIFAR-10 is published as pickles of Python 2 (protocol 2). This reader knows only the operations that these files use.
It makes an array from a shape and a copy of the bytes. Therefore a hostile file can neither call a function nor
allocate more memory than its own size. The operations are described in Python's ``pickletools``.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_OPERATIONS = 1_000_000  # a file of CIFAR-10 has about 50,000


class PickleError(ValueError):
    """The bytes are not a pickle of plain values and uint8 arrays."""


@dataclass
class _Array:
    """Stands for a numpy array or dtype that the pickle creates: its name, arguments, and state."""

    created: str
    arguments: object = None
    state: object = None

    def pixels(self) -> NDArray[np.uint8]:
        match self.state:
            case (int(), (int(rows), int(columns)), _Array("dtype", (b"u1", *_)), False, bytes(raw)):
                if len(raw) == rows * columns and rows >= 0:
                    return np.frombuffer(raw, dtype=np.uint8).reshape(rows, columns)
        raise PickleError("an array in it is not a two-dimensional array of bytes")


GLOBALS = {
    (b"numpy.core.multiarray", b"_reconstruct"): "array",
    (b"numpy._core.multiarray", b"_reconstruct"): "array",
    (b"numpy", b"ndarray"): "ndarray",
    (b"numpy", b"dtype"): "dtype",
}


def read_pickle(payload: bytes) -> dict[bytes, object]:
    """Return the dictionary in `payload`. Arrays in it are uint8 (rows, columns).

    Raises:
        PickleError: `payload` contains anything else, or is cut off.
    """
    machine = _Machine(payload)
    try:
        found = machine.run()
    except (IndexError, KeyError) as error:
        raise PickleError("it is cut off or its operations do not fit together") from error
    if not isinstance(found, dict):
        raise PickleError("it does not contain a dictionary")
    return {key: value.pixels() if isinstance(value, _Array) else value for key, value in found.items()}


class _Machine:
    """The stack machine that runs the operations of a pickle."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.position = payload, 0
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}

    def run(self) -> object:
        for _ in range(MAX_OPERATIONS):
            code = self.take(1)
            if code == b".":
                return self.stack.pop()
            if code not in OPERATIONS:
                raise PickleError(f"it contains the operation {code!r}, which is not allowed")
            OPERATIONS[code](self)
        raise PickleError(f"it contains more than {MAX_OPERATIONS:,} operations")

    def take(self, num: int) -> bytes:
        taken = self.payload[self.position : self.position + num]
        if len(taken) != num or num < 0:
            raise PickleError("it is cut off")
        self.position += num
        return taken

    def number(self, kind: str) -> int:
        (value,) = struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))
        return int(value)

    def line(self) -> bytes:
        end = self.payload.index(b"\n", self.position, self.position + 100)
        return self.take(end + 1 - self.position)[:-1]

    def items(self) -> list[object]:
        """Pop all values above the last mark."""
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def make_tuple(self, num: int) -> None:
        self.stack[-num:] = [tuple(self.stack[len(self.stack) - num :])]

    def find_global(self) -> None:
        try:
            name = self.line(), self.line()
        except ValueError as error:
            raise PickleError("it is cut off") from error
        if name not in GLOBALS:
            raise PickleError(f"it calls {b'.'.join(name).decode('ascii', 'replace')}, which is not allowed")
        self.stack.append(_Array(GLOBALS[name]))

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Array) or function.created == "ndarray":
            raise PickleError("it calls something that is not an array")
        self.stack.append(_Array(function.created, arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, _Array):
            raise PickleError("it sets the state of something that is not an array")
        target.state = state

    def extend(self, values: list[object]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise PickleError("it appends to something that is not a list")
        target.extend(values)

    def update(self, values: list[object]) -> None:
        target = self.stack[-1]
        keys = values[::2]
        if not isinstance(target, dict) or len(values) % 2 or not all(isinstance(key, bytes) for key in keys):
            raise PickleError("it contains a dictionary whose keys are not strings")
        target.update(zip(keys, values[1::2], strict=True))


def _push(value: Callable[[_Machine], object]) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(value(machine))


OPERATIONS: dict[bytes, Callable[[_Machine], object]] = {
    b"\x80": lambda m: m.take(1),  # the protocol
    b"K": _push(lambda m: m.number("B")),
    b"M": _push(lambda m: m.number("H")),
    b"J": _push(lambda m: m.number("i")),
    b"U": _push(lambda m: m.take(m.number("B"))),
    b"T": _push(lambda m: m.take(m.number("i"))),
    b"N": _push(lambda m: None),
    b"\x88": _push(lambda m: True),
    b"\x89": _push(lambda m: False),
    b"}": _push(lambda m: {}),
    b"]": _push(lambda m: []),
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"t": _push(lambda m: tuple(m.items())),
    b"\x85": lambda m: m.make_tuple(1),
    b"\x86": lambda m: m.make_tuple(2),
    b"\x87": lambda m: m.make_tuple(3),
    b"q": lambda m: m.memo.__setitem__(m.number("B"), m.stack[-1]),
    b"r": lambda m: m.memo.__setitem__(m.number("I"), m.stack[-1]),
    b"h": _push(lambda m: m.memo[m.number("B")]),
    b"j": _push(lambda m: m.memo[m.number("I")]),
    b"c": lambda m: m.find_global(),
    b"R": lambda m: m.call(),
    b"b": lambda m: m.build(),
    b"a": lambda m: m.extend([m.stack.pop()]),
    b"e": lambda m: m.extend(m.items()),
    b"s": lambda m: m.update([m.stack.pop(-2), m.stack.pop()]),
    b"u": lambda m: m.update(m.items()),
}
