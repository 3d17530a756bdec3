"""CIFAR's files with any content: images and labels that fit together, or a refusal."""

import gzip
import io
import pickle
import shutil
import struct
import tarfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.conftest import colored_images, write_batch
from tests.fuzz.cases import cases, damaged, outcome
from utils.data.cifar import find_cifar
from utils.data.cifar_files import EDITIONS
from utils.data.datasets import load_dataset

pytestmark = pytest.mark.once


def small_batch(protocol):
    file = io.BytesIO()
    good = {b"data": np.arange(3 * 3072, dtype="uint8").reshape(3, 3072), b"labels": [1, 2, 3]}
    pickle.dump({**good, b"filenames": [b"a.png", b"b.png", b"c.png"]}, file, protocol)
    return file.getvalue()


def opcodes():
    """Sequences of opcodes that make sense more often than random bytes."""
    text = st.sampled_from([b"data", b"labels", b"u1", b"|", b"b", b"O", b"latin1", b"U99999999"])
    names = st.sampled_from(
        [
            b"numpy.core.multiarray\n_reconstruct\n", b"numpy._core.multiarray\nscalar\n",
            b"numpy\nndarray\n", b"numpy\ndtype\n", b"numpy._core.numeric\n_frombuffer\n",
            b"_codecs\nencode\n", b"builtins\neval\n", b"os\nsystem\n",
        ]
    )  # fmt: skip
    number = st.integers(-(2**31), 2**31 - 1)
    return st.lists(
        st.one_of(
            st.sampled_from(
                [bytes([i]) for i in b"(.0123NQRab]deghjlopqrstu}\x81\x85\x86\x87\x88"]
            ),
            st.sampled_from([b"q\x00", b"h\x00", b"q\x01", b"h\x01", b"\x94", b"\x93", b"K\x03"]),
            names.map(lambda name: b"c" + name),
            text.map(lambda word: b"U" + bytes([len(word)]) + word),
            text.map(lambda word: b"\x8c" + bytes([len(word)]) + word),
            number.map(lambda value: b"J" + struct.pack("<i", value)),
            number.map(lambda value: b"T" + struct.pack("<i", value)),
            st.binary(max_size=6),
        ),
        max_size=40,
    ).map(lambda parts: b"\x80\x02}" + b"".join(parts) + b".")


@cases(300)
@hypothesis.given(
    content=st.one_of(
        *(damaged(small_batch(protocol)) for protocol in (0, 2, 4, 5)),
        opcodes(),
        st.binary(max_size=300),
    )
)
def test_batch(content, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    (folder / "fuzzed_batch").write_bytes(content)
    batch = outcome(lambda: EDITIONS["cifar10"][0].read(folder, ["fuzzed_batch"], 10))
    if batch is not None:
        images, labels = batch
        assert images.dtype == "uint8"
        assert images.shape == (len(labels), 32, 32, 3)
        assert labels.dtype == "int64"
        assert set(labels) <= set(range(10))


@cases(100)
@hypothesis.given(
    content=st.one_of(
        damaged(pickle.dumps({b"label_names": [b"cat", b"dog", b"frog"]}, 2)), opcodes()
    )
)
def test_class_names(content, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    (folder / "batches.meta").write_bytes(content)
    names = outcome(lambda: EDITIONS["cifar10"][0].read_class_names(folder))
    assert names is None or all(name.isprintable() for name in names)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A folder with an archive in the official layout, of 2 images per file."""
    place = tmp_path_factory.mktemp("archive")
    source = place / "source"
    source.mkdir()
    rng = np.random.default_rng(0)
    for name in (*EDITIONS["cifar10"][0].train_files, "test_batch"):
        write_batch(source / name, colored_images(rng, [0, 1]), [0, 1])
    (source / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat", b"dog"]}))
    with tarfile.open(place / "whole.tar", "w") as tar:
        tar.add(source, "cifar-10-batches-py")
    shutil.rmtree(source)
    return place


@cases(60)
@hypothesis.given(data=st.data())
def test_archive(data, archive):
    place = archive / "fuzzed"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    whole = (archive / "whole.tar").read_bytes()
    if data.draw(st.booleans(), "of the compressed file"):
        content = data.draw(damaged(gzip.compress(whole, mtime=0)))
    elif data.draw(st.booleans(), "of its headers"):
        start = 512 * data.draw(st.sampled_from([0, 1, 2, 3, 16, 17, 18]))
        header = data.draw(damaged(whole[start : start + 512]))
        content = gzip.compress(whole[:start] + with_checksum(header) + whole[start + 512 :])
    else:
        content = gzip.compress(data.draw(damaged(whole)))
    (place / "cifar-10-python.tar.gz").write_bytes(content)
    folder = outcome(lambda: find_cifar("cifar10", place))
    left = {path.name for path in place.iterdir()} - {"cifar-10-python.tar.gz"}
    if folder is None:
        assert not left
    else:
        assert left == {"cifar-10-batches-py"}
        assert len(list(folder.iterdir())) == 7
        outcome(lambda: load_dataset("cifar10", place))


def with_checksum(header):
    """A tar header that is right about itself, so that the rest of it is looked at."""
    header = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]
