"""README.md and docs/: every command runs, every file is used, and what they say of the code is true.

A test follows each page from top to bottom, in a new folder. Training is on 24 images with digits of one look, for one
epoch unless the page says how many, and for two at most if it resumes; at most 100 images are drawn. YAML and Python
files are written where the page says, and Python without a file is executed. Commands in the text and in tables must
compose, with settings that every part accepts. All other commands are in ``NOT_RUN``, with the reason.
"""

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from tests.commands import compose, names, run
from tests.data.files import photographs
from tests.faults import Shortcut
from wgan_cli.build.players import build_critic, build_generator
from wgan_cli.build.settle import check_parts, settle
from wgan_cli.cli.command_line import list_options, parse_command_line
from wgan_cli.cli.compose import compose_config, initialize_hydra, to_plain
from wgan_cli.cli.explain import BUG
from wgan_cli.constraints import CONSTRAINTS
from wgan_cli.data.dataset import DataSpec
from wgan_cli.errors import InputError, RunFailedError
from wgan_cli.losses import LOSSES
from wgan_cli.parameters import bind, choose
from wgan_cli.settings import CHANGEABLE, CONF_DIR, GROUPS, Settings

CHECKOUT = Path(__file__).parents[1]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted(CHECKOUT.glob("docs/*.md")))]
FEW = ("dataset.limit=24", "batch_size=8", "device=cpu", "precision=fp32")  # three batches an epoch

INSTALLS = "changes the environment; but an extra of that name must exist"
# As shlex.join writes them.
NOT_RUN = {
    "scripts/quickstart.sh": "installs, and trains for minutes; but its syntax is checked",
    "scripts/check.sh": "runs this test; but its syntax is checked",
    "scripts/check.sh -m 'not slow'": "runs this test",
    "scripts/check.sh tests/test_conf.py": "installs",
    "scripts/figures.sh": "trains for an hour; but its syntax is checked",
    ". .venv/bin/activate": "changes the shell",
    "eval '$(wgan-train -sc install=bash)'": "changes the shell; tests/cli/test_train.py installs the completion",
    "pip install -c constraints.txt .": INSTALLS,
    "pip install '.[celeba]'": INSTALLS,
    "pip install '.[onnx]'": INSTALLS,
    "pip install hydra-joblib-launcher": INSTALLS,
    "wgan-train experiment=wgan_paper dataset.root=photos": "has large networks; but it must compose",
    "wgan-train experiment=wgan_paper dataset=celeba": "needs CelebA; but it must compose",
    "wgan-train -m seed=1,2 max_steps=2 hydra/launcher=joblib hydra.launcher.n_jobs=2": "is slow; but it must compose",
}


# Reading a page


class Block(NamedTuple):
    language: str
    text: str
    caption: str  # the last paragraph before it
    file: Path | None  # the file that the caption says it is for


FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def read(page: str) -> str:
    return (CHECKOUT / page).read_text(encoding="utf-8")


def find_blocks(page: str) -> list[Block]:
    text, found, end, caption = read(page), [], 0, ""
    for match in FENCED.finditer(text):
        if before := text[end : match.start()].strip():  # otherwise it has the caption of the block before
            caption = " ".join(before.rpartition("\n\n")[2].split())
        file = re.search(r"(?:to|in) `([^`]+)`:$", caption)
        found.append(Block(match[1], match[2], caption, Path(file[1]) if file else None))
        end = match.end()
    return found


def find_spans(text: str) -> list[str]:
    """Return the code in a text, without blocks."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCED.sub("", text))]


def find_rows(page: str, heading: str) -> list[list[str]]:
    """Return the rows of the tables below a heading, without headers."""
    text = re.split(rf"^#+ {heading}$", read(page), flags=re.MULTILINE)[1]
    bodies = re.findall(r"^\|[-|]+\|\n((?:\|.*\|\n)+)", re.split(r"^#", text, flags=re.MULTILINE)[0], re.MULTILINE)
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in "".join(bodies).splitlines()]


def find_settings(cell: str) -> dict[str, Any]:
    """Return the settings in a cell, typed as ``key=value``."""
    return {key: yaml.safe_load(value) for key, _, value in (span.partition("=") for span in find_spans(cell))}


def find_commands(text: str) -> list[str]:
    return [shlex.join(words) for line in text.splitlines() if (words := shlex.split(line, comments=True))]


def find_inline_commands(page: str) -> list[str]:
    programs = r"(wgan-\w+|pip|python|cmp|git|cd|export|source|\.|eval|bash|sh) |(\.venv|scripts)/"
    return [shlex.join(shlex.split(span)) for span in find_spans(read(page)) if re.match(programs, span)]


def read_option(group: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CONF_DIR / group / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


# Following a page


def accept(*words: str) -> Settings:
    """Check that a command composes, and that every part accepts its settings. Of swept values, the first counts."""
    line = parse_command_line("train", words)
    typed = [str(each.input_line) for each in line.overrides]
    for place, each in enumerate(line.overrides):
        if each.is_sweep_override():
            typed[place] = f"{each.key_or_group}={next(each.sweep_string_iterator())}"
    with initialize_hydra(line):
        settings = bind(Settings, to_plain(compose_config(line, typed)))
    check_parts(settle(settings))
    return settings


def carry_out(command: str, folder: Path) -> None:
    program, *words = shlex.split(command)
    if command in NOT_RUN:
        if program == "wgan-train":
            accept(*words)
    elif program == "cmp":
        subprocess.run([program, *words], cwd=folder, check=True)
    else:
        assert program in ("wgan-train", "wgan-sample"), f"{command} is neither run nor in NOT_RUN"
        resumes = any(re.match("resume=(?!auto)", word) for word in words)
        if program == "wgan-train" and not resumes and not {"--help", "--version", "--cfg"} & set(words):
            words += [*FEW, *(["epochs=1"] if not any(word.startswith("epochs=") for word in words) else [])]
        else:
            most = {"epochs": 2, "num_images": 100}
            words += [f"{key}={most[key]}" for word in words if (key := word.partition("=")[0]) in most]
        assert run(program, *words, cwd=folder, fault=Shortcut()).out


def write(block: Block, file: Path) -> None:
    assert not file.exists(), f"{file} exists already"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(block.text, encoding="utf-8")


def execute(source: str) -> None:
    """Execute Python, and compare the shapes of its variables with those in its comments."""
    made: dict[str, Any] = {}
    exec(source, made)
    for name, shape in re.findall(r"^(\w+) = .*# .*\((\d+(?:, \d+)+)\)$", source, re.MULTILINE):
        assert ", ".join(map(str, made[name].shape)) == shape


def write_mnist(raw: Path) -> None:
    raw.mkdir(parents=True)
    for part, count in (("train", 24), ("t10k", 8)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        sizes = b"".join(size.to_bytes(4, "big") for size in pixels.shape)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + sizes + pixels.tobytes())
        labels = bytes(k % 10 for k in range(count))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + sizes[:4] + labels)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the reader is, with the data that the pages assume."""
    for kind in ("MNIST", "FashionMNIST"):
        write_mnist(tmp_path / "data" / kind / "raw")
    photographs(tmp_path / "photos", 30)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_followed(page: str, folder: Path) -> None:
    found = find_blocks(page)
    for block in found:
        if block.language == "sh":
            for command in find_commands(block.text):
                carry_out(command, folder)
        elif block.file:
            write(block, folder / block.file)
        elif block.language == "python":
            execute(block.text)
        else:
            assert block.language == "text", f"nobody knows what to do with\n{block.text}"  # checked further below
    shutil.copy(CHECKOUT / "pyproject.toml", folder)
    if files := {block.file for block in found if block.file and block.file.suffix == ".py"}:  # in the program's style
        ours = ["--config", 'lint.isort.known-first-party = ["wgan_cli"]', "--extend-ignore", "D102"]
        for words in (["check", *ours], ["format", "--check"]):
            subprocess.run([sys.executable, "-m", "ruff", *words, "--no-cache", *files], cwd=folder, check=True)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_text_compose(page: str) -> None:
    for command in find_inline_commands(page):
        program, *words = shlex.split(command)
        if command not in NOT_RUN:
            assert program == "wgan-train", f"{command} is neither composed nor in NOT_RUN"
            accept(*words)


def test_what_is_not_run_is_in_the_docs() -> None:
    found = {command for page in PAGES for command in find_inline_commands(page)}
    blocks = [block for page in PAGES for block in find_blocks(page) if block.language == "sh"]
    found.update(command for block in blocks for command in find_commands(block.text))
    assert NOT_RUN.keys() <= found
    for listed in NOT_RUN:
        if listed.startswith("scripts/"):
            subprocess.run(["bash", "-n", CHECKOUT / listed.split()[0]], check=True)
        if extra := re.search(r"^pip .*\[(\w+)\]", listed):
            assert f"\n{extra[1]} = [" in read("pyproject.toml")


# Names and links


def find_keys() -> set[str]:
    """With and without their groups."""
    found = {*GROUPS}
    for file in CONF_DIR.rglob("*.yaml"):
        for key, value in yaml.safe_load(file.read_text(encoding="utf-8")).items():
            found |= {key, f"{file.parent.name}.{key}"}
            found |= {f"{key}.{inner}" for inner in value} if isinstance(value, dict) else set()
    return found


@pytest.mark.parametrize("page", PAGES)
def test_settings_and_files_in_the_text_exist(page: str) -> None:
    """Names in capitals stand for the reader's own."""
    keys = find_keys()
    written = [file for block in find_blocks(page) if (file := block.file)]
    for span in find_spans(read(page)):
        match = re.fullmatch(r"'?([\w./]+)=(.*?)'?", span)
        if match and span not in ("key=value", "group=option"):
            key, value = match.groups()
            assert key in keys, span
            if key in GROUPS and value and not value.isupper():
                own = [file.stem for file in written if file.parent.name == key]
                assert value in [*list_options(key), *own], span
        elif re.match(r"(wgan_cli|conf|docs|scripts|tests)/[a-z_./]*$", span):
            tested = Path(span.replace("tests/", "wgan_cli/").replace("/test_", "/"))
            assert {Path(span), tested} & {*written} or (CHECKOUT / span).exists(), span


def test_tables_of_the_tests_exist() -> None:
    rows = find_rows("docs/extending.md", "Into the program")
    found = re.findall(r"((?:`[A-Z_]+` (?:and )?)+)in `([^`]+)`", " ".join(row[1] for row in rows))
    assert len(found) == 3
    for tables, file in found:
        assert all(f"\n{table}" in read(file) for table in find_spans(tables)), file


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = read(page)
    for target in [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r'src="([^"]+)"', text)]:
        path, _, heading = target.partition("#")
        if path.startswith("https://"):
            continue
        file = (CHECKOUT / page).parent / path if path else CHECKOUT / page
        assert file.is_file(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings], target


@pytest.mark.parametrize("page", PAGES)
def test_no_code_hides_from_these_tests(page: str) -> None:
    text = FENCED.sub("", read(page))
    assert not re.search(r"```|~~~|<pre|<code", text)
    assert not re.search(r"\n\n(    |\t)\S", text), "an indented block"


# What the pages say of the code


@pytest.mark.parametrize(("command", "heading"), [("train", "Settings of a run"), ("sample", "wgan-sample")])
def test_all_settings_are_documented(command: str, heading: str) -> None:
    expected: dict[str, Any] = {}
    for key, value in read_option(".", command).items():
        if key not in ("defaults", "hydra"):
            inner = value if isinstance(value, dict) else {"": value}
            expected |= {f"{key}.{name}".rstrip("."): each for name, each in inner.items()}
    rows = [(find_spans(key), find_spans(default)) for key, default, _ in find_rows("docs/settings.md", heading)]
    documented = {key[0]: yaml.safe_load(default[0]) for key, default in rows if key[0] in expected}
    assert documented == expected


@pytest.mark.parametrize("group", ["dataset", "generator", "critic", "constraint", "optimizer"])
def test_all_options_are_documented(group: str) -> None:
    rows = find_rows("docs/settings.md", group.capitalize())
    documented = {find_spans(option)[0]: {"name": ..., **find_settings(settings)} for option, settings, _ in rows}
    assert documented == {name: {**read_option(group, name), "name": ...} for name in list_options(group)}


def test_the_readme_lists_all_options() -> None:
    rows = find_rows("README.md", "Train")
    listed = {group: set(find_spans(options)) for groups, options in rows for group in find_spans(groups)}
    assert listed == {group: set(list_options(group)) if group != "experiment" else set() for group in GROUPS}


def test_all_losses_are_documented() -> None:
    r, f = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    functions = {"mean": torch.mean, "relu": F.relu, "softplus": F.softplus}
    rows = find_rows("docs/settings.md", "Loss")
    assert {find_spans(option)[0] for option, *_ in rows} == set(list_options("loss"))
    for option, critic, generator, brings in rows:
        chosen = compose(f"loss={find_spans(option)[0]}")
        brought = {group: read_option(group, name) for group, name in find_settings(brings).items()}
        assert brought == {group: chosen[group] for group in ("constraint", "optimizer")}
        loss, swapped = LOSSES[chosen["loss"]["name"]](), generator == "the same with r and f swapped"
        formulas = [(critic, loss.critic(r, f), {"r": r, "f": f})]
        scores = {"r": f, "f": r} if swapped else {"r": r, "f": f}
        formulas.append((critic if swapped else generator, loss.generator(r, f), scores))
        for formula, value, scores in formulas:
            torch.testing.assert_close(eval(formula.replace("−", "-").replace("²", "**2"), functions | scores), value)


def test_the_default_beside_the_paper() -> None:
    rows = find_rows("README.md", "Quick start")
    for column, words in ((1, ["experiment=wgan_paper", "dataset.root=photos"]), (2, [])):
        found = [[float(number) for number in re.findall(r"\d[\d.e-]*", row[column])] for row in rows]
        updates, clip, rates, widths, _ = found
        config = compose(*words)
        rate, critic_rate = (config["optimizer"][key] for key in ("learning_rate", "critic_learning_rate"))
        assert (updates, clip) == ([config["n_critic"]], [config["constraint"]["clip_value"]])
        assert rates == [rate, critic_rate or rate]
        assert set(widths) == {config[player]["width"] for player in ("generator", "critic")}


def test_all_recipes_are_documented() -> None:
    rows = find_rows("docs/recipes.md", "What they show")
    recipes = set(list_options("experiment"))
    assert {find_spans(name)[0] for name, *_ in rows} == recipes
    assert {name for names, _ in find_rows("README.md", "Recipes") for name in find_spans(names)} == recipes
    for name, _, parameters, _ in rows:
        settings = accept(f"experiment={find_spans(name)[0]}", *(["dataset.root=photos"] if "paper" in name else []))
        size = settings.dataset["image_size"]
        data = DataSpec((settings.dataset["channels"], size, size), None, 1, "")
        constraint = bind(choose(CONSTRAINTS, settings.constraint, "constraint"), settings.constraint)
        with torch.device("meta"):
            networks = build_generator(settings.generator, data), build_critic(settings.critic, data, constraint)
        counts = [sum(weight.numel() for weight in network.parameters()) for network in networks]
        assert parameters == " / ".join(f"{count:,}" for count in counts), name


def test_what_a_resumed_run_may_change() -> None:
    (paragraph,) = [text for text in read("docs/reproducibility.md").split("\n\n") if "may change only these" in text]
    named = find_spans(paragraph.partition("only these")[2])
    assert {key if key in CHANGEABLE else key.partition(".")[0] for key in named} == set(CHANGEABLE)


def test_the_files_of_a_run(folder: Path) -> None:
    run("wgan-train", *FEW, "epochs=1", "out=run", cwd=folder, fault=Shortcut())
    assert set(read_tree("docs/settings.md")) == names(folder / "run")
    for file in ("metrics", "timing"):
        header = (folder / f"run/{file}.csv").read_text().partition("\n")[0]
        rows = find_rows("docs/settings.md", f"{file}.csv")
        assert [name for names, _ in rows for name in find_spans(names)] == header.split(",")


def test_the_tree_of_the_package() -> None:
    here = (path for path in (CHECKOUT / "wgan_cli").iterdir() if not path.name.startswith("_"))
    expected = {f"wgan_cli/{path.name}{'/' * path.is_dir()}" for path in here} - {"wgan_cli/py.typed"}
    assert {path for path in read_tree("README.md") if path.startswith("wgan_cli/")} == expected


def read_tree(page: str) -> Iterator[str]:
    """Read the drawing of a tree: names, two spaces, and what is said of them. Empty folders end in a slash."""
    (drawing,) = [block.text for block in find_blocks(page) if block.language == "text"]
    lines = drawing.splitlines()
    place = ""
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        place = place if line.startswith(" ") else ""
        entries = [word for word in re.split(r"  +", line.strip()) if re.fullmatch(r"[\w.-]+/?", word)]
        if after.startswith(" ") and not line.startswith(" "):
            (place,) = entries
        else:
            yield from (f"{place}{entry}" for entry in entries if "." in entry or "/" in entry)


def test_exit_codes() -> None:
    rows = {int(code): meaning for code, meaning in find_rows("docs/settings.md", "Exit codes")}
    words = {BUG: "bug", InputError.exit_code: "mistake", RunFailedError.exit_code: "failed"}
    words |= {128 + signal.SIGINT: "Ctrl-C", 128 + signal.SIGTERM: "SIGTERM"}
    assert rows.keys() == {0, *words}
    assert all(word in rows[code] for code, word in words.items())
