"""Pickles that run nothing, take little memory, and end."""

import itertools
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from utils.data import pickles
from utils.data.pickles import read_pickle
from utils.system.errors import UserError

pytestmark = pytest.mark.once


def array(shape, dtype=b"U\x02u1", data=b"U\x01a"):
    """An array as Python 2 and NumPy pickled it, which may claim anything."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01("
        + shape
        + b"tcnumpy\ndtype\n("
        + dtype
        + b"K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + data
        + b"tb"
    )


HUGE = pickle.dumps(10**11, 2)[2:-1]
LONG = struct.pack("<Q", 2**62)
COLLIDING = b"".join(b"L%dL\nN" % (i * (2**61 - 1)) for i in range(999))
DOUBLED = b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))

# pickles for which an unpickler would run code, need much memory or take forever
HOSTILE = {
    "call": b"cos\nsystem\n(U\x04truetR",
    "call of a method": b"c__builtin__\ngetattr\n(U\x01aU\x05uppertR",
    "import by stack": b"\x8c\x02os\x8c\x06system\x93(U\x04truetR",
    "instance": b"(cos\nsystem\no",
    "extension": b"\x82\x01",
    "persistent": b"Pname\n",
    "array from nothing": b"cnumpy\nndarray\n((" + HUGE + b"tU\x02u1tR",
    "array from a pointer": b"cnumpy\nndarray\n((K\x01tU\x01OU\x08AAAAAAAAtR",
    "array larger than its data": array(HUGE),
    "array of objects": array(b"K\x01", b"U\x01O", b"]"),
    "array of long strings": array(b"K\x01", b"U\x0bV2147483647"),
    "long scalar": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x0aU500000000tRtR",
    "codec": b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR",
    "long bytes": b"T\xff\xff\xff\x7fabc",
    "longer bytes": b"\x8e" + LONG + b"abc",
    "long bytearray": b"\x96" + LONG + b"abc",
    "long number": b"\x8b\xff\xff\xff\x7fabc",
    "long digits": b"I" + b"9" * 10**5 + b"\n",
    "deep key": b"}N" + b"\x85" * 20_000 + b"Ns",
    "wide key": b"}Nq\x00" + DOUBLED + b"Ns",
    "keys that collide": b"}(" + COLLIDING + b"u",
    "deep list": b"]" * 20_000 + b"a" * 19_999,
    "nothing": b"",
    "too much taken": b"00",
    "surrogate": b"}X\x03\x00\x00\x00\xed\xa0\x80Ns",
}


def test_refused_at_little_cost(tmp_path):
    path = tmp_path / "test_batch"
    for name, content in HOSTILE.items():
        path.write_bytes(b"\x80\x02" + content + b".")
        tracemalloc.start()
        with pytest.raises(UserError, match="test_batch"):
            print(name, read_pickle(path))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 30 * 2**20, name


def test_bounds(tmp_path, monkeypatch):
    path = tmp_path / "batch"
    shared = [1]
    for _ in range(60):
        shared = [shared, shared]
    path.write_bytes(pickle.dumps({b"labels": shared}))
    assert list(read_pickle(path)) == [b"labels"]  # of 2**60 values; nothing walks them
    monkeypatch.setattr(pickles, "MOST_OPCODES", 50)
    with pytest.raises(UserError, match="more than 50 opcodes"):
        read_pickle(path)


def test_arrays(rng, tmp_path):
    for dtype, protocol in itertools.product(["uint8", ">i4", "float64", "bool"], range(6)):
        values = rng.integers(0, 2, (3, 4)).astype(dtype)
        given = {b"c": values, b"fortran": np.asfortranarray(values), b"scalars": list(values[0])}
        (tmp_path / "batch").write_bytes(pickle.dumps(given, protocol))
        read = read_pickle(tmp_path / "batch")
        assert list(read) == list(given)
        for key, wanted in given.items():
            np.testing.assert_array_equal(read[key], wanted)
        assert read[b"c"].dtype == values.dtype


def test_files_that_are_none(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match="is missing"):
            read_pickle(path)
    with open(tmp_path / "large", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match="has 1099511627776 bytes; a batch file has 1 to"):
        read_pickle(tmp_path / "large")
