"""The table of a comparison in LaTeX, and the picture in other formats."""

import re

import pytest

from tests.fake_comparison import COSTS, DATA, fake_comparison, table
from utils.compare.compare import write_comparison
from utils.compare.latex import escaped

pytestmark = pytest.mark.once


def test_it_has_the_figures_of_the_table(tmp_path):
    runs = fake_comparison(tmp_path)
    write_comparison(runs, DATA, COSTS, tmp_path, "pdf")
    text = (tmp_path / "comparison.tex").read_text("utf-8")
    rows = [line.split(" & ") for line in text.splitlines() if line.count(" & ") == 6]
    head, none, se = rows
    assert head[0].strip() == "Module"
    assert none[0].strip() == "none"
    assert se[0].strip() == r"se\_block"
    figures = table(tmp_path)["se_block"]
    assert se[3] == figures["seeds"]
    assert "; difference from none over the seeds of both, with" in text
    mean, deviation = re.findall(r"[\d.]+", se[4])
    assert float(mean) == pytest.approx(100 * float(figures["test_accuracy"]), abs=0.005)
    assert float(deviation) == pytest.approx(
        100 * float(figures["test_accuracy_deviation"]), abs=0.005
    )
    found = [float(each) for each in re.findall(r"[-+][\d.]+", se[5])]
    expected = [figures[f"difference{part}"] for part in ("", "_low", "_high")]
    assert found == pytest.approx([100 * float(each) for each in expected], abs=0.005)
    assert text.count("\\begin{") == text.count("\\end{") == 2
    assert all(line.endswith(r"\\") for line in text.splitlines() if line.count(" & ") == 6)


def test_a_single_seed_has_no_deviation(tmp_path):
    write_comparison(fake_comparison(tmp_path, seeds="0"), DATA, COSTS, tmp_path)
    text = (tmp_path / "comparison.tex").read_text("utf-8")
    assert "in percent, of a single seed; difference from none, without an interval.}" in text


def test_pictures_in_other_formats(tmp_path):
    runs = fake_comparison(tmp_path)
    for ending, start in (("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")):
        write_comparison(runs, DATA, COSTS, tmp_path, ending)
        assert (tmp_path / f"comparison.{ending}").read_bytes().startswith(start)


def test_nothing_is_taken_for_a_command():
    assert escaped(r"a_b & 5 % {x} \input ~^#$") == (
        r"a\_b \& 5 \% \{x\} \textbackslash{}input \textasciitilde{}\textasciicircum{}\#\$"
    )
