"""Runs and checkpoints that somebody made up, through the real commands: refused, and nothing in them is believed."""

import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.cli.conftest import FinishedRuns
from tests.commands import TINY, Answer, checkpoint, forked, run, tree

pytestmark = pytest.mark.slow

SECRET = "a-value-of-the-environment"
INTERPOLATION = "${oc.env:SECRET}"
PLACE = "the place of something that is written by hand"

Content = dict[str, Any]
Change = Callable[[Content], None]


class Payload:
    """Unpickled by a careless reader, it makes a file where the command runs."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("owned", "w")


# What is changed in the content of a real checkpoint. A path's parts are divided by slashes: names have dots.


def _find(content: Any, path: str) -> tuple[Any, Any]:
    """Return what holds the last part of a path, and that part."""
    *outer, last = (int(part) if part.isdecimal() else part for part in path.split("/"))
    for part in outer:
        content = content[part]
    return content, last


def put(path: str, value: object) -> Change:
    def change(content: Content) -> None:
        holder, last = _find(content, path)
        holder[last] = value

    return change


def drop(path: str) -> Change:
    def change(content: Content) -> None:
        holder, last = _find(content, path)
        del holder[last]

    return change


def edit(path: str, how: Callable[[Any], object]) -> Change:
    def change(content: Content) -> None:
        holder, last = _find(content, path)
        holder[last] = how(holder[last])

    return change


def each(*changes: Change) -> Change:
    def change(content: Content) -> None:
        for one in changes:
            one(content)

    return change


def filled(value: float) -> Callable[[Tensor], Tensor]:
    """A tensor with this as its first number."""

    def changed(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor[(0,) * tensor.dim()] = value
        return tensor

    return changed


def mlp(**settings: object) -> Change:
    plain = {"name": "mlp", "latent_dim": 6, "hidden_sizes": [4], "normalization": "none"}
    return put("config/generator", {**plain, **settings})


def files_of(name: str, root: str) -> Change:
    return put("config/dataset", {"name": name, "root": root, "image_size": 8, "channels": 1, "limit": 40})


def doubled() -> object:
    """Sixty floors of lists, each of which holds the one below it twice."""
    floor: list[object] = []
    for _ in range(60):
        floor = [floor, floor]
    return floor


def endless() -> object:
    """A group of settings that holds itself."""
    group: dict[str, object] = {"name": "wasserstein"}
    group["weight"] = group["inner"] = group
    return group


GENERATOR, EMA, CRITIC = "state/generator/last.weight", "state/ema/last.weight", "state/critic/last.score.weight"
MEMORY = "state/generator_optimizer/0/square_avg"
HUGE = 10**9
DIGITS = 10**4999  # Python itself refuses to write that one out

# What both commands refuse.
BOTH: dict[str, Change] = {
    "payload in the config": put("config/loss", Payload()),
    "payload in the state": put("state/ema", Payload()),
    "payload among the versions": put("versions/torch", Payload()),
    "_target_ in the generator": put("config/generator/_target_", "os.system"),
    "generator named by a dotted path": put("config/generator/name", "os.system"),
    "generator named by a tensor": put("config/generator/name", torch.zeros(3)),
    "interpolated generator": put("config/generator/name", INTERPOLATION),
    "interpolated normalisation": put("config/generator/normalization", INTERPOLATION),
    "interpolated initialisation": put("config/generator/initialization", INTERPOLATION),
    "a million pixels a side": put("images/shape", (1, 10**6, 10**6)),
    "a billion classes": put("images/num_classes", HUGE),
    "a class too many": put("images/num_classes", 10),
    "classes of 5,000 digits": put("images/num_classes", DIGITS),
    "pixels of 5,000 digits": put("images/shape", (1, DIGITS, DIGITS)),
    "no images": put("images/count", 0),
    "a layer of a billion": mlp(hidden_sizes=[HUGE]),
    "a million layers": mlp(hidden_sizes=[4] * 10**6),
    "a hundred layers of 16,384": mlp(hidden_sizes=[16384] * 100),
    "a billion channels wide": put("config/generator/width", HUGE),
    "16,384 channels wide": put("config/generator/width", 16384),
    "width of 5,000 digits": put("config/generator/width", DIGITS),
    "latents of a billion": put("config/generator/latent_dim", HUGE),
    "an unknown setting": put("config/generator/widht", 4),
    "a setting named by a tensor": edit("config/generator", lambda old: {**old, torch.zeros(3): 4}),
    "a generator that is no group": put("config/generator", 3),
    "a generator that doubles": put("config/generator", doubled()),
    "a generator that holds itself": put("config/generator", endless()),
    "a width that doubles": put("config/generator/width", doubled()),
    "no generator's settings": drop("config/generator"),
    **{f"no {name}": drop(name) for name in ("format", "config", "images", "state", "versions")},
    **{f"no {name} of the images": drop(f"images/{name}") for name in ("shape", "count", "digest")},
    "no step": drop("state/step"),
    "no critic updates": drop("state/critic_updates"),
    "no critic updates in the step": drop("state/critic_updates_in_step"),
    "no average": drop("state/ema"),
    "format of 5,000 digits": put("format", DIGITS),
    "a state that is a list": put("state", [1]),
    "a step of -1": put("state/step", -1),
    "a step of 10³⁰": put("state/step", 10**30),
    "a step of 5,000 digits": put("state/step", DIGITS),
    "step as true": put("state/step", True),
    "-1 critic updates": put("state/critic_updates", -1),
    "10³⁰ critic updates in the step": put("state/critic_updates_in_step", 10**30),
    "nan in the generator": edit(GENERATOR, filled(float("nan"))),
    "inf in the critic": edit(CRITIC, filled(float("inf"))),
    "-inf in the average": edit(EMA, filled(float("-inf"))),
    "nan in an optimizer's memory": edit(MEMORY, filled(float("nan"))),
    "inf in a running sum": put("state/means/sums/critic_loss", torch.tensor(float("inf"), dtype=torch.float64)),
    "an average of another shape": edit(EMA, lambda old: old[:, :, 1:]),
    "an average of another type": edit(EMA, lambda old: old.double()),
    "an average without a weight": drop(EMA),
    "an average with a weight more": put("state/ema/more", torch.zeros(1)),
    "an average that is a number": put(EMA, 1.0),
    "an average that is a list": put("state/ema", [torch.zeros(1)]),
    "an average of stride 0": edit(EMA, lambda old: torch.zeros(1).expand(old.shape)),
    "10¹² numbers of stride 0": put(EMA, torch.zeros(1).expand(10**12)),
    "10¹² numbers of stride 0 in the config": put("config/seed", torch.zeros(1).expand(10**12)),
    "an average on no device": edit(EMA, lambda old: old.to("meta")),
    "a critic on no device": edit(CRITIC, lambda old: old.to("meta")),
}  # fmt: skip

# What a run cannot go on from. Images are drawn as if it were not there: nobody needs it for them.
RESUME: dict[str, Change] = {
    "_target_ in the config": put("config/_target_", "os.system"),
    **{
        f"_target_ in the {group}": put(f"config/{group}/_target_", "os.system")
        for group in ("loss", "critic", "dataset")
    },
    **{
        f"{group} named by a dotted path": put(f"config/{group}/name", "os.system")
        for group in ("loss", "critic", "constraint", "optimizer", "dataset")
    },
    **{
        f"interpolated {key}": put(f"config/{key}", INTERPOLATION)
        for key in (
            "device", "precision", "epochs", "seed", "ema", "loss", "loss/name", "critic/name", "critic/normalization",
            "critic/initialization", "constraint/name", "optimizer/name", "optimizer/schedule", "dataset/name",
        )
    },
    "interpolated digest": put("images/digest", INTERPOLATION),
    "interpolated folder of images": files_of("image_folder", INTERPOLATION),
    "interpolated folder of MNIST": files_of("mnist", INTERPOLATION),
    "MNIST in a folder that is not there": files_of("mnist", "nope"),
    "CIFAR-10 in a folder that is not there": files_of("cifar10", "nope"),
    "CelebA in a folder that is not there": files_of("celeba", "nope"),
    "images in a folder that is not there": files_of("image_folder", "nope"),
    "images of a million pixels a side": put("config/dataset/image_size", 10**6),
    "an image less": put("config/dataset/limit", 39),
    "other images": put("config/dataset/seed", 1),
    "a batch of 10¹²": put("config/batch_size", 10**12),
    "a generator's batch of 10¹²": put("config/generator_batch_size", 10**12),
    "10³⁰ epochs": put("config/epochs", 10**30),
    "epochs of 5,000 digits": put("config/epochs", DIGITS),
    "a batch of 5,000 digits": put("config/batch_size", DIGITS),
    "a seed of -1": put("config/seed", -1),
    "a dataset's seed of -1": put("config/dataset/seed", -1),
    "a seed that is a tensor": put("config/seed", torch.zeros(3)),
    "epochs that are a tensor": put("config/epochs", torch.ones(3, dtype=torch.int64)),
    "a critic of a billion channels": put("config/critic/width", HUGE),
    "a critic of 16,384 channels": put("config/critic/width", 16384),
    "a loss that doubles": put("config/loss", doubled()),
    "a loss that holds itself": put("config/loss", endless()),
    "a seed that doubles": put("config/seed", doubled()),
    "an unknown setting of the run": put("config/lose", "hinge"),
    "no settings at all": put("config", {"generator": {"name": "dcgan", "latent_dim": 6, "width": 4}}),
    **{
        f"no {key} in the config": drop(f"config/{key}")
        for key in ("seed", "epochs", "dataset", "critic", "loss", "optimizer", "checkpoint")
    },
    "no name of the loss": drop("config/loss/name"),
    **{
        f"no {part} in the state": drop(f"state/{part}")
        for part in ("generator", "critic", "generator_optimizer", "critic_optimizer", "means", "rows")
    },
    "no sums": drop("state/means/sums"),
    "no counts": drop("state/means/counts"),
    "no count of a sum": drop("state/means/counts/penalty"),
    "no average where one is kept": put("state/ema", None),
    "a generator's weight of another shape": edit(GENERATOR, lambda old: old[1:]),
    "a critic's weight of another shape": edit(CRITIC, lambda old: old[:, 1:]),
    "a critic's weight of another type": edit(CRITIC, lambda old: old.half()),
    "a critic without a weight": drop(CRITIC),
    "a critic with a weight more": put("state/critic/more", torch.zeros(1)),
    "a critic that is a list": put("state/critic", [torch.zeros(1)]),
    "no memory": put("state/generator_optimizer", {}),
    "no memory of the critic's": put("state/critic_optimizer", {}),
    "memory that is a list": put("state/critic_optimizer", [torch.zeros(1)]),
    "memory of another shape": edit(MEMORY, lambda old: old[1:]),
    "memory of another type": edit(MEMORY, lambda old: old.double()),
    "memory of another optimizer": put("state/generator_optimizer/0/exp_avg", torch.zeros(())),
    "memory without a part": drop(MEMORY),
    "no memory of one parameter": drop("state/generator_optimizer/1"),
    "memory that overlaps itself": edit(MEMORY, lambda old: torch.zeros(4096)[:1].expand(old.shape)),
    "memory of a parameter that is not there": put("state/generator_optimizer/99", {}),
    "memory of parameter -1": edit("state/generator_optimizer", lambda old: {**old, -1: old[0]}),
    "memory of a parameter with a name": edit("state/generator_optimizer", lambda old: {**old, "0": old[0]}),
    "more critic updates than the steps have": put("state/critic_updates", 11),
    "fewer critic updates than the steps have": put("state/critic_updates", 9),
    "more steps than there were": put("state/step", 6),
    "10¹⁵ steps": each(put("state/step", 10**15), put("state/critic_updates", 10**15)),
    "more critic updates in the step than it has": each(
        put("state/critic_updates_in_step", 5), put("state/critic_updates", 15)
    ),
    "-1 rows": put("state/rows", -1),
    "rows as true": put("state/rows", True),
    "10³⁰ rows": put("state/rows", 10**30),
    "10¹² rows": put("state/rows", 10**12),
    "sums of unknown names": each(
        put("state/means/sums/nope", torch.zeros((), dtype=torch.float64)), put("state/means/counts/nope", 1)
    ),
    "a sum of several numbers": put("state/means/sums/penalty", torch.zeros(2, dtype=torch.float64)),
    "a sum of another type": put("state/means/sums/penalty", torch.zeros(())),
    "a sum that is no tensor": put("state/means/sums/penalty", 0.0),
    "a count of -1": put("state/means/counts/penalty", -1),
    "a count of 0": put("state/means/counts/penalty", 0),
    "a count as true": put("state/means/counts/penalty", True),
    "a count of 10³⁰": put("state/means/counts/penalty", 10**30),
    "means that are a list": put("state/means", [1]),
}  # fmt: skip

# What is no checkpoint at all, or an archive that was tampered with: functions of the path of a real checkpoint.


def bare_payload(path: Path) -> None:
    path.write_bytes(pickle.dumps(Payload()))


def legacy_payload(path: Path) -> None:
    torch.save({"config": Payload()}, path, _use_new_zipfile_serialization=False)


def payload_in_a_whole_archive(path: Path) -> None:
    """All that a checkpoint holds, and one thing more."""
    torch.save({**checkpoint(path), "more": Payload()}, path)


def text(path: Path) -> None:
    path.write_text("hello")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def first_half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def other_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps({}))


def rewritten(path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Write the entries again, as torch writes them but for what is changed."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, change(name, data))
        for entry in archive.infolist():
            entry.external_attr = 0


def bomb(path: Path) -> None:
    """64 MB of zeros in 64 kB, as the numbers of a weight."""
    zeros = bytes(2**26)
    rewritten(path, lambda name, data: zeros if name.endswith("/data/0") else data, zipfile.ZIP_DEFLATED)


def overlapping(path: Path) -> None:
    """A thousand entries, all of them the same bytes."""
    with zipfile.ZipFile(path, "a") as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        archive.filelist.extend([largest] * 1000)
        archive.writestr("more", b"")  # so that the directory is written again
        archive.filelist[-1].external_attr = 0


def in_the_directory(path: Path, offset: int, value: bytes) -> None:
    """Write over the archive's own record of its first entry."""
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02") + offset
    data[place : place + len(value)] = value
    path.write_bytes(data)


def larger_than_the_file(path: Path) -> None:
    in_the_directory(path, 20, struct.pack("<II", 2**31, 2**31))


def encrypted(path: Path) -> None:
    in_the_directory(path, 8, b"\x01")


def beyond_the_file(path: Path) -> None:
    in_the_directory(path, 42, struct.pack("<I", 2**31))


def deep(path: Path) -> None:
    """A generator of a hundred thousand lists in each other, which Python's own pickler could not write."""
    content = checkpoint(path)
    content["config"]["generator"] = PLACE
    torch.save(content, path)
    written = b"X" + struct.pack("<I", len(PLACE)) + PLACE.encode()
    assert pickled(path).count(written) == 1
    count = 100_000
    rewritten(path, lambda _, data: data.replace(written, b"]" * count + b"a" * (count - 1)))


def pickled(path: Path) -> bytes:
    """Return the part of an archive that a careless reader would execute."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def replaced_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


FILES: dict[str, Callable[[Path], None]] = {
    "a bare payload": bare_payload,
    "a payload in torch's old format": legacy_payload,
    "a payload in a whole archive": payload_in_a_whole_archive,
    "text": text,
    "an empty file": empty,
    "the first half": first_half,
    "another archive": other_archive,
    "a bomb": bomb,
    "compressed entries": lambda path: rewritten(path, lambda _, data: data, zipfile.ZIP_DEFLATED),
    "entries that overlap": overlapping,
    "an entry larger than the file": larger_than_the_file,
    "an entry beyond the file": beyond_the_file,
    "an encrypted entry": encrypted,
    "a hundred thousand lists in each other": deep,
    "a folder": replaced_by(Path.mkdir),
    "a pipe": replaced_by(os.mkfifo),
    "a link to what never ends": replaced_by(lambda path: path.symlink_to("/dev/zero")),
    "a link to nowhere": replaced_by(lambda path: path.symlink_to("nowhere")),
    "a link to itself": replaced_by(lambda path: path.symlink_to(path)),
}


# The commands.


def changed(change: Change) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        content = checkpoint(path)
        change(content)
        torch.save(content, path)

    return make


CASES: dict[str, Callable[[Path], None]] = {
    **{name: changed(change) for name, change in (BOTH | RESUME).items()},
    **FILES,
}


def crafted(whole: Path, folder: Path, make: Callable[[Path], None]) -> Path:
    """Copy a run, of which only the last checkpoint stays, and change that; return it."""
    shutil.copytree(whole, folder)
    last = folder / "checkpoints" / "last.pt"
    for epoch in last.parent.glob("epoch_*.pt"):
        epoch.unlink()
    data = last.read_bytes()
    last.unlink()
    last.write_bytes(data)
    make(last)
    return last


def told(program: str, *words: str, cwd: Path) -> tuple[Answer, bool]:
    """Run a command; return what it said, and whether the folder is as before but for a run's lock."""
    before = unlocked(cwd)
    elsewhere = str(cwd.parent / "cache of images")
    said = forked(program, *words, cwd=cwd, SECRET=SECRET, CUDA_VISIBLE_DEVICES="", XDG_CACHE_HOME=elsewhere)
    return said, unlocked(cwd) == before


def unlocked(folder: Path) -> dict[str, tuple[int, bytes] | None]:
    return {name: held for name, held in tree(folder).items() if not name.endswith(".lock")}


def require_refused(program: str, said: Answer, unchanged: bool) -> None:
    assert said.code == 2, f"exit code {said.code}\n{said.out}\n{said.err}"
    assert said.err.startswith(f"{program}: ")
    assert len(said.err.splitlines()) <= 3
    assert len(said.err) < 2000
    assert "Traceback" not in said.out + said.err
    assert SECRET not in said.out + said.err
    assert unchanged


def ask(name: str, whole: Path, folder: Path) -> dict[str, tuple[Answer, bool]]:
    """Craft a run, and ask both commands to use it."""
    crafted(whole, folder / "run", CASES[name])
    answers = {"wgan-train": told("wgan-train", "resume=run", cwd=folder)}
    if name not in RESUME:
        answers["wgan-sample"] = told("wgan-sample", "checkpoint=run", cwd=folder)
    return answers


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, photos: tuple[str, ...]) -> Path:
    """The run whose checkpoint is changed."""
    folder = tmp_path_factory.mktemp("base")
    run("wgan-train", *TINY, *photos, "hydra.run.dir=run", cwd=folder)
    return folder / "run"


@pytest.fixture(scope="module")
def answers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pool: ThreadPoolExecutor, base: Path
) -> dict[str, "Future[dict[str, tuple[Answer, bool]]]"]:
    """What is said to all selected cases, two at a time."""
    wanted = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    return {name: pool.submit(ask, name, base, tmp_path_factory.mktemp("crafted")) for name in CASES if name in wanted}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused(name: str, answers: dict[str, "Future[dict[str, tuple[Answer, bool]]]"]) -> None:
    for program, (said, unchanged) in answers[name].result().items():
        require_refused(program, said, unchanged)


def test_the_payload_would_have_worked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the cases above would prove nothing."""
    monkeypatch.chdir(tmp_path)
    bare_payload(tmp_path / "a.pt")
    pickle.loads((tmp_path / "a.pt").read_bytes()).close()
    (tmp_path / "owned").unlink()
    torch.save({"config": Payload()}, tmp_path / "b.pt")
    torch.load(tmp_path / "b.pt", weights_only=False)["config"].close()
    assert (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["a bare payload", "a pipe", "a link to what never ends", "a bomb", "text"])
def test_a_file_that_is_named_is_refused_as_well(name: str, runs: FinishedRuns, tmp_path: Path) -> None:
    crafted(runs["whole"], tmp_path / "run", CASES[name])
    require_refused("wgan-sample", *told("wgan-sample", "checkpoint=run/checkpoints/last.pt", cwd=tmp_path))


def test_images_are_drawn_as_if_it_were_not_there(runs: FinishedRuns, tmp_path: Path) -> None:
    """What is not about the generator is nothing to ``wgan-sample``."""
    run("wgan-sample", f"checkpoint={runs['whole']}", "out=whole.png", cwd=tmp_path)
    for number, name in enumerate(["_target_ in the loss", "interpolated device", "no memory", "10³⁰ epochs"]):
        crafted(runs["whole"], tmp_path / f"run{number}", CASES[name])
        run("wgan-sample", f"checkpoint=run{number}", f"out={number}.png", cwd=tmp_path, SECRET=SECRET)
        assert (tmp_path / f"{number}.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    assert holding_the_secret(tmp_path) == []


def test_text_that_is_only_kept_is_kept_as_text(runs: FinishedRuns, tmp_path: Path) -> None:
    """A run goes on beside texts that nobody looks at; what it writes holds them as they were, or not at all."""
    change = each(put("config/resume", INTERPOLATION), put("versions/torch", INTERPOLATION))
    crafted(runs["whole"], tmp_path / "run", changed(change))
    (tmp_path / "run/.hydra/config.yaml").write_text('!!python/object/apply:os.system ["touch owned"]')
    (tmp_path / "run/.hydra/overrides.yaml").write_text("- hydra.run.dir=${oc.env:SECRET}")
    said = run("wgan-train", "resume=run", "epochs=3", cwd=tmp_path, SECRET=SECRET)
    assert SECRET not in said.out + said.err
    assert holding_the_secret(tmp_path) == []
    assert {place.name for place in tmp_path.iterdir()} == {"run"}


def holding_the_secret(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


# Folders of runs in which something leads elsewhere.


def linked(place: str, target: str) -> Callable[[Path], None]:
    """Put a link to something beside the run into the place of what a run writes."""

    def change(folder: Path) -> None:
        path = folder / "run" / place
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        path.symlink_to(folder / "elsewhere" / target)

    return change


def beside(folder: Path, whole: Path, change: Callable[[Path], None]) -> Path:
    """Copy a run beside a folder that is nobody's business; return the latter."""
    shutil.copytree(whole, folder / "run")
    elsewhere = folder / "elsewhere"
    shutil.copytree(whole / "checkpoints", elsewhere)
    (elsewhere / "diary").write_text("my own\n")
    (elsewhere / ".diary.77.partial").write_text("my own\n")
    change(folder)
    return elsewhere


@pytest.mark.parametrize("place", ["samples", "checkpoints", "wgan-train.log", "metrics.csv", "timing.csv"])
def test_what_would_be_written_or_read_through_a_link_is_refused(
    place: str, runs: FinishedRuns, tmp_path: Path
) -> None:
    beside(tmp_path, runs["whole"], linked(place, "diary" if "." in place else "."))
    said, unchanged = told("wgan-train", "resume=run", "epochs=3", cwd=tmp_path)
    require_refused("wgan-train", said, unchanged)
    assert f"run/{place} is a link" in said.err


def test_no_lock_is_made_through_a_link(runs: FinishedRuns, tmp_path: Path) -> None:
    """It would empty the file that the link leads to."""
    elsewhere = beside(tmp_path, runs["whole"], linked(".lock", "diary"))
    require_refused("wgan-train", *told("wgan-train", "resume=run", cwd=tmp_path))
    assert (elsewhere / "diary").read_text() == "my own\n"


def test_other_links_are_replaced_and_their_targets_left_alone(runs: FinishedRuns, tmp_path: Path) -> None:
    """Pictures and checkpoints are written whole, so that a link goes and a file comes."""
    places = ["samples/real.png", "samples/progress.gif", "checkpoints/.last.pt.77.partial"]

    def change(folder: Path) -> None:
        for place in (*places, "samples/epoch_0003.png"):
            linked(place, "diary")(folder)
        linked("more", ".")(folder)

    elsewhere = beside(tmp_path, runs["whole"], change)
    before = tree(elsewhere)
    run("wgan-train", "resume=run", "epochs=3", cwd=tmp_path)
    assert tree(elsewhere) == before
    assert not any((tmp_path / "run" / place).is_symlink() for place in places)


def test_a_run_is_begun_among_crafted_ones(runs: FinishedRuns, tmp_path: Path) -> None:
    """``resume=auto`` looks at each, and none of them is its own, or in its way."""
    makes = [
        "payload in the config", "interpolated loss", "a loss that doubles", "a loss that holds itself", "a bomb",
        "a pipe", "a link to what never ends", "a link to itself", "a folder", "a hundred thousand lists in each other",
        "10³⁰ epochs",
    ]  # fmt: skip
    for number, name in enumerate(makes):
        crafted(runs["whole"], tmp_path / "out" / str(number), CASES[name])
    words = (*TINY, "resume=auto", "dry_run=true", "hydra.run.dir=out/${now:%H}")
    said, unchanged = told("wgan-train", *words, cwd=tmp_path)
    assert said.code == 0, said.err
    assert "there is no unfinished run with these settings in out" in said.out
    assert SECRET not in said.out + said.err
    assert unchanged


def test_pictures_that_are_none_are_passed_over(runs: FinishedRuns, tmp_path: Path) -> None:
    """And a table that is no text: what counts is the checkpoint."""
    shutil.copytree(runs["whole"], tmp_path / "run")
    (tmp_path / "run/samples/epoch_0001.png").unlink()
    os.mkfifo(tmp_path / "run/samples/epoch_0001.png")
    (tmp_path / "run/samples/epoch_0002.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    (tmp_path / "run/checkpoints/epoch_0000.pt").mkdir()
    (tmp_path / "run/metrics.csv").write_bytes(b"\xff\xfe" * 99)
    run("wgan-train", "resume=run", "epochs=3", "checkpoint.keep=1", cwd=tmp_path)
    assert (tmp_path / "run/samples/progress.gif").is_file()
