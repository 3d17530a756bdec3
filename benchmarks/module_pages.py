"""A page with a diagram for every attention module, in `docs/modules/`.

    python -m benchmarks.module_pages

Reads `module_pages.toml`, which holds the diagrams, the formulas and the advice. All else comes
from the catalog, the layers and `results/module_costs.json`.
"""

import argparse
import inspect
import re
import tomllib
from pathlib import Path

from benchmarks.command import one_line_errors
from benchmarks.diagrams import draw
from models.attention.catalog import ARXIV, CATALOG, TIMM
from utils.system.backend import choose_backend
from utils.system.files import read_json

CONTENT = Path(__file__).with_suffix(".toml")
PAGES = Path(__file__).parent.parent / "docs" / "modules"
API = "../api/attention.md"
STRING = re.compile(r'`"\w+"`')
# options of every layer, those of kernels only where it has some
COMMON = ("data_format", "kernel_initializer", "bias_initializer", "kernel_regularizer")


def content():
    """Returns the diagram, the formula and the advice of every module, by its name."""
    return tomllib.loads(CONTENT.read_text("utf-8"))


def files():
    """Returns the text of every page and diagram, by its name in `docs/modules/`."""
    found = {}
    for name, written in content().items():
        found[f"{name}.md"] = page(name, written)
        found[f"{name}.svg"] = draw(written["diagram"], f"Diagram of {name}")
    return found


def page(name, written):
    """Returns a module's page.

    Args:
        name: string, a name of the catalog.
        written: dictionary, what `content` has for it.
    """
    layer = layer_of(name)
    parts = [
        f"# {name}",
        _summary(layer),
        _facts(name, layer),
        f"![Diagram of {name}]({name}.svg)",
        f"```python\nfrom attention_zoo import {name}\n\nx = {name}(x)\n```",
        f"## Formula\n\n```text\n{written['formula'].strip()}\n```",
        "Diagram and formula show the defaults; [what the symbols mean](../modules.md#the-pages). "
        f"Where it differs from its paper, [`{layer.__name__}`]({_anchor(layer)}) says so.",
        f"## When to take it\n\n{_linked(written['when'].strip(), name)}",
        f"## Cost\n\n{_costs(name)}",
        f"## Options\n\n{_options(layer)}",
        f"## Of the same family\n\n{_relatives(name)}",
    ]
    return "\n\n".join(parts) + "\n"


def layer_of(name):
    """Returns the layer class behind a block."""
    import keras

    from models.attention_module import attach_attention_module

    x = keras.Input((8, 8, 64))
    return type(keras.Model(x, attach_attention_module(x, name)).layers[-1])


def _anchor(layer):
    return f"{API}#{layer.__module__}.{layer.__name__}"


def _summary(layer):
    return inspect.getdoc(layer).splitlines()[0]


def _facts(name, layer):
    entry = CATALOG[name]
    module = layer.__module__
    host = entry.paper.removeprefix("https://").partition("/")[0]
    paper = "timm" if entry.paper == TIMM else host
    if entry.paper.startswith(ARXIV):
        paper = entry.paper.removeprefix(ARXIV)
    return "\n".join(
        [
            "| block, layer | family | year | attends to | paper |",
            "|---|---|---|---|---|",
            f"| [`{name}`]({API}#{module}.{name}), [`{layer.__name__}`]"
            f"({_anchor(layer)}) | {_family(entry.family)} | {entry.year} "
            f"| {entry.attends_to} | [{paper}]({entry.paper}) |",
        ]
    )


def _family(family):
    return family.replace("_", "-")


def _linked(text, name):
    """The text with a link where it names another module."""
    others = "|".join(other for other in CATALOG if other != name)
    return re.sub(rf"`({others})`", r"[`\1`](\1.md)", text)


def _costs(name):
    from utils.evaluation.module_costs import BATCH_SIZE, COSTS, REFERENCE

    measured = read_json(COSTS)
    if name not in measured:
        raise SystemExit(f"no costs of {name}; run python -m benchmarks.module_costs {name} first")
    lines = ["| map | parameters | multiply-adds | time |", "|---|---:|---:|---:|"]
    for row in measured[name]:
        size = row["map"].replace("x", "×")
        lines.append(
            f"| {size} | {row['params']:,} | {row['multiply_adds']:,} | {row['time']:.2f} |"
        )
    note = f"""
With the defaults. Multiply-adds are those of one map: of dense layers, convolutions and products of
matrices, such as queries by keys; a map times its gates does not count. The time is that of
predicting {BATCH_SIZE} maps, as a multiple of a {REFERENCE}'s
(`python -m benchmarks.module_costs`)."""
    return "\n".join([*lines, note])


def _options(layer):
    help_of, origins = _first_sentences(layer), _origins(layer)
    lines = ["| option | default | what it is |", "|---|---|---|"]
    for option in inspect.signature(layer).parameters.values():
        if option.kind is not option.VAR_KEYWORD and option.name not in COMMON:
            default = f"`{option.default!r}`{origins.get(option.name, '')}"
            lines.append(f"| `{option.name}` | {default} | {help_of[option.name]} |")
    common = COMMON if layer.has_kernels else COMMON[:1]
    table = "\n".join(lines) + "\n\n" if len(lines) > 2 else "It has no options of its own. "
    return f"{table}As other layers it takes {', '.join(f'`{name}`' for name in common)}."


def _descriptions(layer):
    """The docstring on each option, in one line."""
    section = inspect.getdoc(layer).partition("\nArgs:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", section, re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in entries}


def _first_sentences(layer):
    """The first sentence of the docstring on each option, without its type, and its values."""
    found = {}
    for name, text in _descriptions(layer).items():
        sentence = re.split(r"\.(?:\s|$)", text)[0]
        sentence = re.sub(r"^(int|number|float|bool)(, |$)", "", sentence)
        values = [value for value in dict.fromkeys(STRING.findall(text)) if value not in sentence]
        found[name] = f"{sentence}: {', '.join(values)}" if len(values) > 1 else sentence
    if "start" in found:
        found["start"] += "; see [How gates start](../modules.md#how-gates-start)"
    return found


def _origins(layer):
    """Where a default comes from, such as `; the paper's is 16`, if the docstring says so."""
    value = "(?:`[^`]*`|[^,;`]+?)"
    found = (
        (name, re.search(rf"Defaults to {value}([,;] [^.]*(?:paper|code|publish)[^.;]*)[.;]", text))
        for name, text in _descriptions(layer).items()
    )
    return {name: match[1] for name, match in found if match}


def _relatives(name):
    family = CATALOG[name].family
    names = [other for other in CATALOG if CATALOG[other].family == family and other != name]
    names.sort(key=lambda other: CATALOG[other].year)
    return ", ".join(f"[`{other}`]({other}.md)" for other in names)


@one_line_errors
def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    missing = [name for name in CATALOG if name not in content()]
    if missing:
        raise SystemExit(f"{CONTENT} has no entry for {', '.join(missing)}; add one")
    choose_backend()
    PAGES.mkdir(exist_ok=True)
    for name, text in files().items():
        (PAGES / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
