"""An exported model is looked through before it is loaded: whatever in it could run code is refused, with its place."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables.measure.artifact import ArtifactError, export_model, load_model
from trainables.seal import seal_file

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"


class Small(nn.Module):
    """Weights, a constant, a part without gradients, an output with names: something of every kind that is written."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({"my part (1)": nn.Linear(4, 4)})

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            x = self.parts["my part (1)"](x) + torch.tensor([1.0, 2.0, 3.0, 4.0])
        return {"twice": torch.einsum("bi,bj->bij", x, y).repeat(2, 1, 1)}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return export_model(Small(), (torch.ones(2, 4), torch.ones(2, 4)), tmp_path_factory.mktemp("model") / "model.pt2")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is made by code that runs."""
    return tmp_path / "ran"


class Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


def pickled(mark: Path) -> bytes:
    content = io.BytesIO()
    torch.save(Payload(mark), content)
    return content.getvalue()


def with_members(file: Path, changed: dict[str, bytes], target: Path) -> Path:
    """A copy of an archive with some members changed or added; others as they are."""
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(target, "w") as copy:
        root = source.namelist()[0].split("/")[0]
        content = {name.removeprefix(f"{root}/"): source.read(name) for name in source.namelist()}
        for name, value in (content | changed).items():
            copy.writestr(f"{root}/{name}", value)
    seal_file(target)  # whoever means harm can do that too
    return target


def members(file: Path) -> list[str]:
    reader = torch._C.PyTorchFileReader(str(file))
    names: list[str] = reader.get_all_records()
    return names


def run(path: Path) -> None:
    load_model(path)(torch.ones(3, 4), torch.ones(3, 4))


def test_a_file_of_ours_is_loaded(file: Path) -> None:
    torch.manual_seed(0)
    model, given = Small(), (torch.randn(5, 4), torch.randn(5, 4))
    assert torch.equal(load_model(file)(*given)["twice"], model(*given)["twice"])


@pytest.mark.parametrize("legacy", [False, True])
def test_no_member_that_is_replaced_by_a_pickle_runs_code(file: Path, mark: Path, tmp_path: Path, legacy: bool) -> None:
    payload = pickle.dumps(Payload(mark)) if legacy else pickled(mark)
    for number, member in enumerate(members(file)):
        changed = with_members(file, {member: payload}, tmp_path / f"{number}.pt2")
        if member.endswith((".json", ".pt")):
            with pytest.raises(ArtifactError, match=member):
                run(changed)
        else:  # numbers, or marks that torch compares: never unpickled
            with contextlib.suppress(ArtifactError, RuntimeError):
                run(changed)
        assert not mark.exists(), member


@pytest.mark.parametrize(
    "member",
    [
        *(
            "data/constants/custom_obj_0",
            "data/constants/opaque_obj_0",
            "data/weights/model.pt",
            "data/constants/model.pt",
        ),
        *(
            "data/aotinductor/model/model.so",
            "data/aotinductor/model/model.wrapper.cpp",
            "models/other.json",
            "version",
        ),
        *("extra/notes.txt", "serialized_example_inputs.pt", "code/model.py", "data.pkl", "constants.pkl"),
    ],
)
def test_a_member_that_no_exported_model_has_is_refused(file: Path, mark: Path, tmp_path: Path, member: str) -> None:
    changed = with_members(file, {member: pickled(mark)}, tmp_path / "changed.pt2")
    with pytest.raises(ArtifactError, match=f"was not loaded: an exported model has no member {member}"):
        run(changed)
    assert not mark.exists()


def test_a_pickled_weight_is_refused(file: Path, mark: Path, tmp_path: Path) -> None:
    config = json.loads(torch._C.PyTorchFileReader(str(file)).get_record(WEIGHTS))
    for weight in config["config"].values():
        weight["use_pickle"] = 1
    changed = {WEIGHTS: json.dumps(config).encode(), "data/weights/weight_0": pickled(mark)}
    with pytest.raises(ArtifactError, match=f"member {WEIGHTS} has a pickled weight"):
        run(with_members(file, changed, tmp_path / "changed.pt2"))
    assert not mark.exists()


def test_no_text_of_the_program_is_run(file: Path, mark: Path, tmp_path: Path) -> None:
    """Every text, key and number of the description in turn is one that makes a file if it is evaluated."""
    description = json.loads(torch._C.PyTorchFileReader(str(file)).get_record(MODEL))
    code = f"__import__('pathlib').Path('{mark}').touch()"
    places = list(texts(description))
    assert len(places) > 100
    kinds: dict[str, tuple[Any, Any]] = {}
    for holder, key in places:
        kinds.setdefault(f"{key}" if isinstance(holder, dict) else "an item", (holder, key))
    for holder, key in kinds.values():
        before = holder[key]
        for attack in (code, f'"{code}"', f"x'+{code}+'", f"x={code}", f"Max({code!r})", f"{before})\n{code}"):
            holder[key] = attack
            changed = with_members(file, {MODEL: json.dumps(description).encode()}, tmp_path / "changed.pt2")
            # An argument is quoted, and the operator may be given any text: einsum does not like it.
            refusal = "einsum|was not loaded" if key == "as_string" else f"was not loaded: its member {MODEL} "
            with pytest.raises(RuntimeError, match=refusal):  # an ArtifactError is one
                run(changed)
            assert not mark.exists(), (key, attack)
        holder[key] = before


def texts(value: Any) -> Any:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        if isinstance(inner, str):
            yield value, key
        yield from texts(inner)


@pytest.mark.parametrize(
    "target",
    [
        *(
            "torch.os.system",
            "torch.load",
            "torch.ops.load_library",
            "torch.ops.load_library.__func__",
            "torch.hub.load",
        ),
        *("_operator.methodcaller", "_operator.call", "math.__loader__.load_module", "#namespace:op", "print"),
        *("torch.ops.aten.from_file.default", "torch.ops.aten.save", "torch.ops.higher_order.flat_apply"),
        *(
            "torch.ops.aten.relu.__class__",
            "torch.ops.__loader__.load_module.x",
            "torch.ops.profiler._record_function_exit",
        ),
    ],
)
def test_only_operators_on_tensors_and_numbers_are_called(file: Path, tmp_path: Path, target: str) -> None:
    description = json.loads(torch._C.PyTorchFileReader(str(file)).get_record(MODEL))
    description["graph_module"]["graph"]["nodes"][-1]["target"] = target
    changed = with_members(file, {MODEL: json.dumps(description).encode()}, tmp_path / "changed.pt2")
    with pytest.raises(ArtifactError, match=rf"member {MODEL} calls '{target}', which is not an operator on tensors"):
        run(changed)


def test_a_missing_library_of_operators_is_named(file: Path, tmp_path: Path) -> None:
    description = json.loads(torch._C.PyTorchFileReader(str(file)).get_record(MODEL))
    description["graph_module"]["graph"]["nodes"][-1]["target"] = "torch.ops.my_library.my_operator.default"
    changed = with_members(file, {MODEL: json.dumps(description).encode()}, tmp_path / "changed.pt2")
    with pytest.raises(ArtifactError, match=r"operator my_library::my_operator, which this process does not have"):
        run(changed)


@pytest.mark.parametrize("spec", ["in_spec", "out_spec"])
def test_a_tree_imports_nothing(file: Path, tmp_path: Path, spec: str) -> None:
    description = json.loads(torch._C.PyTorchFileReader(str(file)).get_record(MODEL))
    signature = description["graph_module"]["module_call_graph"][0]["signature"]
    for context, name in (
        ('{"__enum__": true, "fqn": "this:x", "name": "y"}', "builtins.dict"),
        (
            {"default_factory_module": "this", "default_factory_name": "x", "dict_context": []},
            "collections.OrderedDict",
        ),
        ([], "collections.defaultdict"),
    ):
        signature[spec] = json.dumps([1, {"type": name, "context": context, "children_spec": []}])
        changed = with_members(file, {MODEL: json.dumps(description).encode()}, tmp_path / "changed.pt2")
        with pytest.raises(ArtifactError, match=rf"member {MODEL} names a class to import"):
            run(changed)
