"""The table of a comparison for a paper, in LaTeX."""

from collections.abc import Sequence
from pathlib import Path

from ..system.files import replacing
from .table import Row, conclusion

# what LaTeX would not print as it is
ESCAPES = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def write_latex(path: Path, rows: Sequence[Row], caption: str) -> None:
    r"""Writes the table with the rules of the package booktabs; `\input` puts it into a paper.

    Args:
        path: path of the file.
        rows: list of `Row`s.
        caption: string.
    """
    bases = [escaped(row.name) for row in rows if row.difference is None]
    of = f"difference from {bases[0]}" if len(bases) == 1 else "difference from the base"
    seeds = sorted({len(row.accuracies) for row in rows})
    of_seeds = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    spread = (
        f"of a single seed; {of}, without an interval"
        if seeds[-1] == 1
        else f"mean and standard deviation over {of_seeds} seeds; {of} over the seeds of both, "
        r"with its 95\,\% confidence interval of Student's paired t-test"
    )
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escaped(caption)}. Test accuracy in percent, {spread}.}}",
        r"  \begin{tabular}{lrrrrll}",
        r"    \toprule",
        r"    Module & Parameters & Multiply-adds & Seeds & Accuracy & Difference & Conclusion \\",
        r"    \midrule",
        *("    " + " & ".join(_cells(row)) + r" \\" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
        "",
    ]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines), "utf-8", "backslashreplace")


def escaped(text: str) -> str:
    """Returns a text whose special characters LaTeX prints as they are."""
    return "".join(ESCAPES.get(character, character) for character in text)


def _cells(row: Row) -> tuple[str, ...]:
    deviation = "" if row.deviation is None else rf" \pm {100 * row.deviation:.2f}"
    return (
        escaped(row.name),
        f"{row.params:,}",
        f"{row.multiply_adds / 1e6:,.2f}\\,M",
        f"{len(row.accuracies)}",
        f"${100 * row.mean:.2f}{deviation}$",
        _difference(row),
        # no note here explains the number of seeds
        escaped(conclusion(row, outlook=False)),
    )


def _difference(row: Row) -> str:
    difference = row.difference
    if difference is None:
        return ""
    mean = f"{100 * difference.mean:+.2f}"
    if difference.low is None or difference.high is None:
        return f"${mean}$"
    return f"${mean}$ $[{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]$"
