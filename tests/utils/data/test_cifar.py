"""CIFAR-10 and CIFAR-100: read in the official layout, and refused where a file is broken."""

import gzip
import io
import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest

from tests.conftest import colored_images, write_batch
from tests.processes import run_python, start_python
from utils.data import cifar, cifar_archive
from utils.data.datasets import load_dataset
from utils.system.errors import UserError


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """An empty cache, and a server that cannot be reached."""

    def refuse(spec, place):
        raise OSError(f"not in {place}, and the download failed (ConnectionError)")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cifar, "_download", refuse)


@pytest.fixture
def own_dir(cifar10_dir, tmp_path):
    """A copy of the data folder that a test may spoil."""
    return shutil.copytree(cifar10_dir, tmp_path / "data")


def test_reads_cifar10(cifar10_dir):
    data = load_dataset("cifar10", cifar10_dir)
    assert data.x_train.shape == (200, 32, 32, 3)
    assert data.x_test.shape == (40, 32, 32, 3)
    assert (data.x_train.dtype, data.y_train.dtype) == ("uint8", "int64")
    assert data.class_names == tuple(f"class{i}" for i in range(10))
    rng = np.random.default_rng(1)  # the fixture's
    np.testing.assert_array_equal(data.x_train[:40], colored_images(rng, np.arange(40) % 10))
    np.testing.assert_array_equal(data.y_train[:12], [*range(10), 0, 1])


def test_reads_cifar100_with_fine_labels(cifar100_dir):
    data = load_dataset("cifar100", cifar100_dir)
    assert len(data.class_names) == 100
    assert data.x_train.shape == (200, 32, 32, 3)
    assert set(data.y_test) == set(range(100))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_reads_every_pickle_protocol(own_dir, rng, protocol):
    labels = np.arange(20) % 10
    images = colored_images(rng, labels)
    write_batch(own_dir / "cifar-10-batches-py" / "test_batch", images, labels, protocol=protocol)
    np.testing.assert_array_equal(load_dataset("cifar10", own_dir).x_test, images)


def test_reads_what_python_2_wrote(own_dir):
    """The official files have byte strings as keys and text in Latin-1, in protocol 2."""
    rows = bytes(range(256)) * 12
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00" + rows + b"tb"
    )
    content = b"\x80\x02}(U\x06labels](K\x07eU\x04data" + array + b"u."
    (own_dir / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    data = load_dataset("cifar10", own_dir)
    assert list(data.y_test) == [7]
    expected = np.frombuffer(rows, "uint8").reshape(3, 32, 32).transpose(1, 2, 0)
    np.testing.assert_array_equal(data.x_test[0], expected)


def test_finds_the_folder_itself_and_the_cache(cifar10_dir, monkeypatch):
    assert len(load_dataset("cifar10", cifar10_dir / "cifar-10-batches-py").x_test) == 40
    cache = cifar10_dir.parent / "home"
    if not (cache / "datasets").exists():
        shutil.copytree(cifar10_dir, cache / "datasets")
    monkeypatch.setenv("KERAS_HOME", str(cache))
    assert len(load_dataset("cifar10").x_test) == 40


def pack(source, archive, prefix="cifar-10-batches-py", kind="w:gz"):
    with tarfile.open(archive, kind) as tar:
        tar.add(source, prefix)


def test_unpacks_the_archive(cifar10_dir, tmp_path):
    pack(cifar10_dir / "cifar-10-batches-py", tmp_path / "cifar-10-python.tar.gz")
    assert len(load_dataset("cifar10", tmp_path).x_test) == 40
    (tmp_path / "cifar-10-python.tar.gz").unlink()
    assert len(load_dataset("cifar10", tmp_path).x_test) == 40
    assert [p.name for p in tmp_path.iterdir()] == ["cifar-10-batches-py"]


def test_unpacks_nothing_else(cifar10_dir, tmp_path):
    source = shutil.copytree(cifar10_dir / "cifar-10-batches-py", tmp_path / "source")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(source, "cifar-10-batches-py")
        for name in ("../outside", str(tmp_path / "absolute"), "cifar-10-batches-py/more"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
    load_dataset("cifar10", tmp_path)
    names = {p.name for p in (tmp_path / "cifar-10-batches-py").iterdir()}
    assert names == {p.name for p in source.iterdir()}
    assert not (tmp_path.parent / "outside").exists()
    assert not (tmp_path / "absolute").exists()


@pytest.mark.parametrize("spoil", ["empty", "truncated", "foreign", "link", "missing"])
def test_refuses_a_broken_archive(cifar10_dir, tmp_path, spoil):
    archive = tmp_path / "cifar-10-python.tar.gz"
    source = shutil.copytree(cifar10_dir / "cifar-10-batches-py", tmp_path / "source")
    if spoil == "link":
        (source / "test_batch").unlink()
        (source / "test_batch").symlink_to("/etc/passwd")
    if spoil == "missing":
        (source / "test_batch").unlink()
    pack(source, archive)
    whole = archive.read_bytes()
    content = {"empty": b"", "truncated": whole[: len(whole) // 2], "foreign": b"PK" * 500}
    archive.write_bytes(content.get(spoil, whole))
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz"):
        load_dataset("cifar10", tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"cifar-10-python.tar.gz", "source"}


def header(name, size=0, kind=tarfile.REGTYPE, form=tarfile.GNU_FORMAT, **more):
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    for key, value in more.items():
        setattr(member, key, value)
    return member.tobuf(form)


BATCH = "cifar-10-batches-py/data_batch_1"
ARCHIVES = {
    "bomb": (header("zeros", 2**20) + bytes(2**20), "more than 1048576 bytes"),
    "claims terabytes": (header("a", 2**40) + bytes(512), "a has 1099511627776 bytes"),
    "claims more still": (header("a", 2**80) + bytes(512), "a has 1208925819614629174706176"),
    "claims less than nothing": (header("b") + header("a", -(2**40)), "archive"),
    "claims it later": (
        header("a", form=tarfile.PAX_FORMAT, pax_headers={"size": str(2**60)}),
        "a has 1152921504606846976 bytes",
    ),
    "long header": (header("x", 2**20, tarfile.XHDTYPE) + b"1" * 2**20, "a header has 1048576"),
    "headers of headers": (header("x", 0, tarfile.XHDTYPE) * 2000, "recursion"),
    "device": (header(BATCH, kind=tarfile.CHRTYPE), "data_batch_1 is no file"),
    "hard link": (header(BATCH, kind=tarfile.LNKTYPE, linkname="/etc/passwd"), "is no file"),
    "holes": (header(BATCH, kind=tarfile.GNUTYPE_SPARSE), "is no file"),
    "many members": (header("a") * 1000, "lacks cifar-10-batches-py/batches.meta, "),
}


def test_refuses_hostile_archives(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar_archive, "LARGEST_ARCHIVE", 2**20)
    archive = tmp_path / "cifar-10-python.tar.gz"
    for content, message in ARCHIVES.values():
        archive.write_bytes(gzip.compress(content, 1))
        with pytest.raises(UserError, match=message):
            load_dataset("cifar10", tmp_path)
        assert list(tmp_path.iterdir()) == [archive]


def test_an_archive_with_a_wrong_checksum_is_not_unpacked(cifar10_dir, tmp_path):
    archive = tmp_path / "cifar-10-python.tar.gz"
    pack(cifar10_dir / "cifar-10-batches-py", archive)
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1
    archive.write_bytes(content)
    with pytest.raises(UserError, match="CRC check failed"):
        load_dataset("cifar10", tmp_path)
    assert list(tmp_path.iterdir()) == [archive]


class Evil:
    def __reduce__(self):
        return os.system, ("touch was-here",)


def batch(**changes):
    good = {b"data": np.zeros((4, 3072), "uint8"), b"labels": [0, 1, 2, 3]}
    return pickle.dumps({**good, **{key.encode(): value for key, value in changes.items()}}, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "test_batch has 0 bytes"),
        (batch()[:3000], "test_batch is truncated, damaged or no CIFAR batch"),
        (b"<html>404</html>", "test_batch is truncated, damaged or no CIFAR batch"),
        (pickle.dumps([1, 2]), "no CIFAR batch: it holds a list"),
        (pickle.dumps({}), "no uint8 array under 'data'"),
        (batch(data=np.zeros((4, 3072))), "no uint8 array under 'data'"),
        (batch(data=np.zeros((4, 100), "uint8")), r"must have the shape \(n, 3072\)"),
        (batch(labels=[0, 1]), "needs 4 labels under 'labels', it has 2"),
        (batch(labels=[0, 1, 2, 10]), "labels must be integers from 0 to 9"),
        (batch(labels=[0, 1, 2, -1]), "labels must be integers from 0 to 9"),
        (batch(labels=[0, 1, 2, 1.5]), "labels must be integers from 0 to 9"),
        (batch(labels=[[0, 1], 1, 2, 3]), "labels must be integers from 0 to 9"),
        (batch(labels=b"0123"), "needs 4 labels under 'labels', it has a bytes"),
        (pickle.dumps({b"data": Evil()}), "wants to run (posix|nt).system, which no batch file"),
        (pickle.dumps(np.load), "wants to run numpy.* refused"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "wants to run builtins.eval"),
        (b"\x80\x02" + b"(" * 10 + b".", "truncated, damaged"),
    ],
)
def test_refuses_a_broken_batch(own_dir, content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (own_dir / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_dataset("cifar10", own_dir)
    with pytest.raises(UserError, match=message):  # asked for by folder, `auto` does not hide it
        load_dataset("auto", own_dir)
    assert not (tmp_path / "was-here").exists()


def test_refuses_broken_class_names(own_dir):
    path = own_dir / "cifar-10-batches-py" / "batches.meta"
    for names in (None, b"cat", [], ["cat", "cat"], ["cat", 2], ["cat\nx"]):
        path.write_bytes(pickle.dumps({"label_names": names}, 2))
        with pytest.raises(UserError, match=r"batches\.meta: needs a list of different names"):
            load_dataset("cifar10", own_dir)


def test_refuses_a_missing_batch(own_dir):
    (own_dir / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(UserError, match="data_batch_3 is missing"):
        load_dataset("cifar10", own_dir)
    (own_dir / "cifar-10-batches-py" / "batches.meta").unlink()
    with pytest.raises(UserError, match=r"batches\.meta is missing"):
        load_dataset("cifar10", own_dir)


def test_says_where_to_put_what_is_not_available(tmp_path):
    with pytest.raises(UserError, match=r"cifar100 is not available: .*download failed"):
        load_dataset("cifar100", tmp_path)


def test_downloads_nothing_where_it_must_not(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "_download", lambda *_: pytest.fail("it downloads"))
    with pytest.raises(UserError, match=rf"not in {tmp_path} or Keras's cache; .*--data-dir"):
        load_dataset("cifar10", tmp_path, download=False)
    with pytest.raises(UserError, match="not in Keras's cache"):
        load_dataset("cifar100", download=False)
    assert load_dataset("auto", announce=lambda line: None, download=False).name == "digits"


def test_auto_takes_digits_and_says_so():
    said = []
    data = load_dataset("auto", announce=said.append)
    assert data.name == "digits"
    assert "CIFAR-10 is not available" in said[0]
    assert "digits" in said[0]


def test_auto_takes_cifar10(cifar10_dir):
    assert load_dataset("auto", cifar10_dir, announce=lambda line: None).name == "cifar10"


def test_auto_never_takes_digits_in_the_place_of_a_folder(tmp_path):
    place = tmp_path / "mine"
    place.mkdir()
    with pytest.raises(UserError, match=rf"{place} holds neither CIFAR nor images"):
        load_dataset("auto", place)
    (place / "photo.png").touch()
    with pytest.raises(UserError, match=rf"{place} holds images, but no folders of classes"):
        load_dataset("auto", place, announce=str)


def test_auto_says_that_the_cache_takes_the_place_of_a_folder(cifar10_dir, tmp_path):
    place, cache = tmp_path / "mine", tmp_path / "cache" / "datasets"
    shutil.copytree(cifar10_dir, cache)
    place.mkdir()
    (place / "notes.txt").touch()
    said = []
    assert load_dataset("auto", place, said.append).name == "cifar10"
    assert said == [
        f"Data set: CIFAR-10, from {cache / 'cifar-10-batches-py'}; {place} held no data set that "
        "is known."
    ]


def test_auto_recognizes_cifar100_and_photographs(cifar100_dir, image_folder):
    said = []
    assert load_dataset("auto", cifar100_dir, said.append).name == "cifar100"
    assert said == ["Data set: CIFAR-100."]
    pytest.importorskip("grain")
    data = load_dataset("auto", image_folder, said.append, image_size=8)
    assert (data.name, data.class_names) == ("folder", ("flower", "temple"))
    assert said[1] == f"Data set: the photographs in {image_folder} (--dataset folder)."


def test_auto_prefers_an_archive_of_cifar10_to_a_folder_of_cifar100(
    cifar10_dir, cifar100_dir, tmp_path
):
    shutil.copytree(cifar100_dir, tmp_path / "both")
    pack(cifar10_dir / "cifar-10-batches-py", tmp_path / "both" / "cifar-10-python.tar.gz")
    assert load_dataset("auto", tmp_path / "both", announce=str).name == "cifar10"


def write_binary_edition(data, folder):
    """The files of the binary edition: a byte per label, then red, green and blue."""
    folder.mkdir()
    coarse = [[200]] if data.name == "cifar100" else [[]]
    parts = np.split(np.arange(len(data.x_train)), 5) if data.name == "cifar10" else [slice(None)]
    names = [f"data_batch_{i}" for i in range(1, 6)] if data.name == "cifar10" else ["train"]
    tests = "test_batch" if data.name == "cifar10" else "test"
    batches = [(n, data.x_train[p], data.y_train[p]) for n, p in zip(names, parts, strict=True)]
    for name, images, labels in [*batches, (tests, data.x_test, data.y_test)]:
        with open(folder / f"{name}.bin", "wb") as file:
            for image, label in zip(images, labels, strict=True):
                file.write(bytes([*coarse[0], label]) + image.transpose(2, 0, 1).tobytes())
    meta = "batches.meta.txt" if data.name == "cifar10" else "fine_label_names.txt"
    (folder / meta).write_text("\n".join(data.class_names) + "\n\n")


@pytest.mark.parametrize(
    ("name", "folder", "archive"),
    [
        ("cifar10", "cifar-10-batches-bin", "cifar-10-binary.tar.gz"),
        ("cifar100", "cifar-100-binary", "cifar-100-binary.tar.gz"),
    ],
)
def test_reads_the_binary_edition(cifar10_dir, cifar100_dir, tmp_path, name, folder, archive):
    expected = load_dataset(name, {"cifar10": cifar10_dir, "cifar100": cifar100_dir}[name])
    write_binary_edition(expected, tmp_path / folder)
    assert load_dataset(name, tmp_path).fingerprint() == expected.fingerprint()
    pack(tmp_path / folder, tmp_path / archive, folder)
    shutil.rmtree(tmp_path / folder)
    assert load_dataset("auto", tmp_path).fingerprint() == expected.fingerprint()
    batch = tmp_path / folder / ("test_batch.bin" if name == "cifar10" else "test.bin")
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{batch} is no CIFAR batch: it needs records of 307"):
        load_dataset(name, tmp_path)


def test_archives_have_other_names_or_are_not_compressed_or_are_named(cifar10_dir, tmp_path):
    source = cifar10_dir / "cifar-10-batches-py"
    for number, name in enumerate(("cifar-10-batches-py.tar.gz", "cifar-10-python.tar", "my.tar")):
        place = tmp_path / str(number)
        place.mkdir()
        pack(source, place / name) if name.endswith("gz") else pack(source, place / name, kind="w")
        for dataset in ("cifar10", "auto"):
            given = place / name if name == "my.tar" else place
            assert load_dataset(dataset, given, announce=str).name == "cifar10"
    with pytest.raises(UserError, match=r"my\.tar.*lacks cifar-100-python/"):
        load_dataset("cifar100", tmp_path / "2" / "my.tar")
    with pytest.raises(UserError, match="is no folder"):
        load_dataset("folder", tmp_path / "2" / "my.tar")


@pytest.mark.parametrize("place", ["", "cifar-10-batches-py"])
def test_an_incomplete_folder_is_unpacked_again(own_dir, place):
    folder = own_dir / "cifar-10-batches-py"
    pack(folder, own_dir / "cifar-10-python.tar.gz")
    whole = load_dataset("cifar10", own_dir).fingerprint()
    (folder / "batches.meta").unlink()
    (folder / "test_batch").unlink()
    batch = folder / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:1000])  # cut off
    (folder / "mine.txt").write_text("mine")
    assert load_dataset("auto", own_dir / place, announce=str).fingerprint() == whole
    assert (folder / "mine.txt").read_text() == "mine"
    assert {path.name for path in own_dir.iterdir()} == {folder.name, "cifar-10-python.tar.gz"}


def test_whoever_unpacks_second_takes_what_the_first_wrote(cifar10_dir, tmp_path, monkeypatch):
    """Another process is done between the look for the folder and the renaming."""
    pack(cifar10_dir / "cifar-10-batches-py", tmp_path / "cifar-10-python.tar.gz")
    replace = os.replace

    def late(source, target):
        if not target.exists():
            shutil.copytree(cifar10_dir / "cifar-10-batches-py", target)
            (target / "of the first").touch()
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    assert load_dataset("auto", tmp_path, announce=str).name == "cifar10"
    assert (tmp_path / "cifar-10-batches-py" / "of the first").exists()
    assert len(list(tmp_path.iterdir())) == 2


UNPACK = """
import sys, time
from pathlib import Path
from utils.data import cifar_archive
from utils.data.datasets import load_dataset

place, barrier, name = sys.argv[1:]
install = cifar_archive._install

def install_with_the_others(*arguments):
    Path(barrier, name).touch()
    give_up = time.monotonic() + 600
    while len(list(Path(barrier).iterdir())) < 3:
        if time.monotonic() > give_up:
            sys.exit("the others do not come")
        time.sleep(0.001)
    install(*arguments)

cifar_archive._install = install_with_the_others
print(load_dataset("auto", place, announce=str).fingerprint())
"""


@pytest.mark.once
def test_processes_that_unpack_at_once_read_the_same(cifar10_dir, tmp_path):
    """Each has unpacked all files before any of them gives its folder the final name."""
    expected = load_dataset("cifar10", cifar10_dir).fingerprint()
    place, barrier = tmp_path / "place", tmp_path / "barrier"
    place.mkdir()
    barrier.mkdir()
    pack(cifar10_dir / "cifar-10-batches-py", place / "cifar-10-python.tar.gz")
    running = [start_python("-c", UNPACK, place, barrier, number) for number in range(3)]
    said = [process.communicate(timeout=900) for process in running]
    assert [out.strip() for out, _ in said] == [expected] * 3, said
    assert len(list(barrier.iterdir())) == 3
    names = {path.name for path in place.iterdir()}
    assert names == {"cifar-10-batches-py", "cifar-10-python.tar.gz"}


def test_unpacks_to_the_cache_where_the_folder_cannot_be_written_to(
    cifar10_dir, tmp_path, monkeypatch
):
    place, expected = tmp_path / "read-only", load_dataset("cifar10", cifar10_dir).fingerprint()
    place.mkdir()
    pack(cifar10_dir / "cifar-10-batches-py", place / "cifar-10-python.tar.gz")
    make = cifar_archive.tempfile.mkdtemp

    def refuse(dir, prefix):
        refused = dir in (place, *broken)
        if refused:
            raise PermissionError(13, "Permission denied", str(dir))
        return make(dir=dir, prefix=prefix)

    broken = []
    monkeypatch.setattr(cifar_archive.tempfile, "mkdtemp", refuse)
    for _ in range(2):
        assert load_dataset("auto", place, announce=str).fingerprint() == expected
        assert len(list(place.iterdir())) == 1
        monkeypatch.setattr(cifar_archive, "_extract", None)  # it is there now
    (cache,) = (tmp_path / "cache" / "datasets").iterdir()
    shutil.rmtree(cache)
    broken.append(cache)
    with pytest.raises(UserError, match=r"cannot be unpacked: .*read-only.*nor in the cache"):
        load_dataset("auto", place)


def test_what_a_killed_unpacking_left_is_removed(cifar10_dir, tmp_path):
    pack(cifar10_dir / "cifar-10-batches-py", tmp_path / "cifar-10-python.tar.gz")
    script = (
        "import os, sys\n"
        "from utils.data import cifar_archive\n"
        "from utils.data.datasets import load_dataset\n"
        "cifar_archive._install = lambda *_: os.kill(os.getpid(), 9)\n"
        "load_dataset('cifar10', sys.argv[1])\n"
    )
    run_python("-c", script, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    load_dataset("cifar10", tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"cifar-10-batches-py", "cifar-10-python.tar.gz"}
