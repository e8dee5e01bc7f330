"""The reader of pickles against Python's, and with hostile programs."""

import pickle
import struct

import numpy as np
import pytest

from leyden.data.array_pickle import PickleError, read_pickle
from tests.conftest import python2_pickle


def test_it_reads_what_python_reads() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(4, 6)
    payload = python2_pickle(images, [3, 1, 4, 1])
    expected, found = pickle.loads(payload, encoding="bytes"), read_pickle(payload)
    assert np.array_equal(found[b"data"], expected[b"data"])  # type: ignore[arg-type]
    assert found[b"labels"] == expected[b"labels"] == [3, 1, 4, 1]


ARRAY = b"cnumpy\n_reconstruct\n"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "cut off"),
        (b"\x80", "cut off"),
        (b"\x80\x02", "cut off"),
        (b".", "cut off or its operations do not fit together"),
        (b"cos\nsystem\n(U\x04true\x85R.", "it calls os.system, which is not allowed"),
        (b"cnumpy.core.multiarray\nfromfile\n.", "it calls numpy.core.multiarray.fromfile"),
        (b"cnumpy\nndarray\n)R.", "the operation b'\\)', which is not allowed"),
        (b"cnumpy\nndarray\n}R.", "it calls something that is not an array"),
        (b"}}b.", "it sets the state of something that is not an array"),
        (b"}(K\x01K\x02u.", "keys are not strings"),
        (b"}" + b"(" + b"\x85" * 100_000 + b"K\x01u.", "fit together|keys are not strings"),
        (b"]" + b"\x85" * 500_000 + b"}" + b"h\x00", "fit together"),
        (b"T\xff\xff\xff\x7f.", "cut off"),
        (b"T\xff\xff\xff\xff.", "cut off"),
        (b"\x8e" + struct.pack("<q", 2**60) + b".", "which is not allowed"),
        (b"c" + b"x" * 5000, "cut off"),
        (b"N" * 3_000_000, "more than 1,000,000 operations"),
        (b"h\x05.", "fit together"),
        (b"N(u.", "keys are not strings"),
        (b"NNe.", "fit together"),
    ],
)
def test_anything_else_is_one_line(payload: bytes, message: str) -> None:
    with pytest.raises(PickleError, match=message):
        read_pickle(payload)


def test_an_array_with_a_huge_header() -> None:
    payload = python2_pickle(np.zeros((2, 3), np.uint8), [0, 1])
    huge = payload.replace(b"M\x02\x00M\x03\x00\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86")
    assert huge != payload
    with pytest.raises(PickleError, match="is not a two-dimensional array of bytes"):
        read_pickle(huge)
