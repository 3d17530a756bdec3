"""Text that names a module runs no code; one's own module is imported only when it is loaded."""

import hashlib

import pytest

from models.specification import load_reference, parse_specification, reference_checksum

pytestmark = pytest.mark.once

CODE = "__import__('pathlib').Path('RAN').touch()"
TEXTS = [
    CODE,
    f"cbam_block(ratio={CODE})",
    f"cbam_block({CODE})",
    f"cbam_block(*[{CODE}])",
    f"cbam_block(**{{'ratio': {CODE}}})",
    f"cbam_block(ratio=4) or {CODE}",
    f"cbam_block(ratio=4)\n{CODE}",
    f"cbam_block(ratio=4), f({CODE}",
    f"cbam_block(ratio=[{CODE} for _ in '1'])",
    f"cbam_block(order=f'{{{CODE}}}')",
    f"cbam_block(ratio=(lambda: {CODE})())",
    f"cbam_block(ratio:={CODE})",
    "cbam_block(ratio=9**9**9)",
    "cbam_block(ratio=" + "(" * 900 + ")" * 900 + ")",
    "cbam_block(ratio=" + "-" * 1900 + "1)",
    "cbam_block(" + "ratio=1," * 500 + ")",
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_code_is_refused_and_does_not_run(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="must be a name, or a name with options"):
        parse_specification(text)
    assert not list(tmp_path.iterdir())


def test_a_module_of_ones_own_is_imported_only_when_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(f"{CODE}\ndef block(x):\n    return x\n")
    name, options = parse_specification(f"{file}:block(ratio=2)")
    assert (name, options) == (f"{file}:block", {"ratio": 2})
    assert reference_checksum(name) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert not (tmp_path / "RAN").exists()
    assert load_reference(name)(7) == 7
    assert (tmp_path / "RAN").exists()
