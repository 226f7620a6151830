"""`describe_callable`: other words for what does something else, the same words everywhere."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import transforms

from isomorph.extraction import Model
from isomorph.extraction.describe import describe_callable

FACTOR = 1.0


def made(source: str, name: str = "f", **names):
    """Run source, as a notebook does, and give what it calls f."""
    space = {"__name__": "notebook", "torch": torch, **names}
    exec(source, space)
    return space[name]


def closure(by):
    return lambda rows: rows * by


def default(by):
    def scaled(rows, by=by):
        return rows * by

    return scaled


def keyword_default(by):
    def scaled(rows, *, by=by):
        return rows * by

    return scaled


class Scale:
    def __init__(self, by):
        self.by = by

    def __call__(self, rows):
        return rows * self.by

    def method(self, rows):
        return rows * self.by


class Slotted:
    __slots__ = ("by",)

    def __init__(self, by):
        self.by = by

    def __call__(self, rows):
        return rows * self.by


@dataclasses.dataclass
class Settings:
    by: float
    words: dict


def scaled(rows, by):
    return rows * by


def linear(seed):
    torch.manual_seed(seed)
    return nn.Linear(3, 3)


class WithBuffer(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.register_buffer("by", torch.tensor(by), persistent=False)


class WithAttribute(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.act = act


def long_tensor(value):
    tensor = torch.arange(4000.0)
    tensor[2500] = value
    return tensor


def user_module(by):
    module = types.ModuleType("own_tools")
    module.scale = made(f"def f(rows): return rows * {by}")
    return module


def settled(by):
    settings = Settings(by, {"a": [1, 2]})
    return lambda rows: rows * settings.by


# Each gives another callable for 1 and for 2, and the same for the same number.
CHANGES = {
    "code": lambda n: made(f"def f(rows): return rows * {n}"),
    "name read": lambda n: made(f"def f(rows): return torch.{['relu', 'tanh'][n - 1]}(rows)"),
    "nested lambda": lambda n: made(f"def f(rows): return (lambda r: r * {n})(rows)"),
    "nested twice": lambda n: made(f"def f(r): return (lambda: (lambda: r * {n})())()"),
    "argument order": lambda n: made(f"def f({['a, b', 'b, a'][n - 1]}): return a - b"),
    "negative zero": lambda n: made(f"def f(rows): return rows * {['0.0', '-0.0'][n - 1]}"),
    "one and true": lambda n: made(f"def f(rows): return rows, {['1', 'True'][n - 1]}"),
    "closure": closure,
    "closure over an object": settled,
    "closure over a function": lambda n: closure(closure(n)),
    "default": default,
    "keyword default": keyword_default,
    "plain global": lambda n: made("def f(rows): return rows * by", by=n),
    "global function": lambda n: made("def f(r): return g(r)", g=made(f"def f(r): return r * {n}")),
    "global of a global": lambda n: made(
        "def f(r): return g(r)", g=made("def f(r): return r * n", n=n)
    ),
    "global class": lambda n: made(
        "def f(r): return C()(r)", C=made(f"class f:\n def __call__(self, r): return r * {n}")
    ),
    "global in a nested function": lambda n: made("def f(r): return [r * by for _ in r]", by=n),
    "function of an own module": lambda n: made("def f(r): return m.scale(r)", m=user_module(n)),
    "global transform": lambda n: made("def f(r): return t(r)", t=transforms.Normalize(0.5, n)),
    "callable object": Scale,
    "slots": Slotted,
    "method": lambda n: Scale(n).method,
    "class of an object": lambda n: made(f"class f:\n def __call__(s, r): return r * {n}")(),
    "inherited call": lambda n: made(
        "class f(B): pass", B=made(f"class f:\n def __call__(s, r): return r * {n}")
    )(),
    "static method": lambda n: made(
        f"class f:\n @staticmethod\n def go(r): return r * {n}\n def __call__(s, r): return s.go(r)"
    )(),
    "property": lambda n: made(
        f"class f:\n @property\n def by(s): return {n}\n def __call__(s, r): return r * s.by"
    )(),
    "class attribute": lambda n: made(
        f"class f:\n by = {n}\n def __call__(self, rows): return rows * self.by"
    )(),
    "partial argument": lambda n: functools.partial(scaled, by=n),
    "partial position": lambda n: functools.partial(scaled, n),
    "partial function": lambda n: functools.partial(made(f"def f(r): return r * {n}"), 1),
    "partial of a long tensor": lambda n: functools.partial(torch.mul, other=long_tensor(n)),
    "cached function": lambda n: functools.lru_cache(made(f"def f(rows): return rows * {n}")),
    "decorated": lambda n: torch.no_grad()(made(f"def f(rows): return rows * {n}")),
    "long array": lambda n: closure(long_tensor(n).numpy()),
    "shape of a tensor": lambda n: closure(torch.zeros(n, 2 // n)),
    "dtype": lambda n: closure([torch.float32, torch.float64][n - 1]),
    "dict": lambda n: closure({"by": n}),
    "set": lambda n: closure({"a", f"b{n}"}),
    "path": lambda n: closure(Path(f"a/{n}")),
    "weights": linear,
    "closure over weights": lambda n: closure(linear(n)),
    "buffer": WithBuffer,
    "attribute of a module": lambda n: WithAttribute([torch.relu, torch.tanh][n - 1]),
    "built in": lambda n: [torch.relu, torch.tanh][n - 1],
    "ufunc": lambda n: [np.add, np.multiply][n - 1],
    "method of tensors": lambda n: [torch.Tensor.relu, torch.Tensor.tanh][n - 1],
    "library function": lambda n: [nn.functional.relu, nn.functional.gelu][n - 1],
    "class": lambda n: [str, bytes][n - 1],
    "lambda in a Compose": lambda n: transforms.Compose(
        [transforms.ToTensor(), transforms.Lambda(made(f"def f(t): return t * {n}"))]
    ),
    "wrapped Compose": lambda n: closure(transforms.Compose([transforms.Normalize(0.5, n)])),
    "order in a Sequential": lambda n: nn.Sequential(*[nn.ReLU(), nn.Tanh()][:: [1, -1][n - 1]]),
    "pattern": lambda n: closure(re.compile(f"a{n}")),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_does_something_else_has_other_words(kind):
    make = CHANGES[kind]
    first, again, other = (describe_callable(make(n)) for n in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_global_that_changes_changes_the_words():
    space = {"by": 1}
    exec("def f(rows): return rows * by", space)
    before = describe_callable(space["f"])
    space["unread"] = 3
    assert describe_callable(space["f"]) == before
    space["by"] = 2
    assert describe_callable(space["f"]) != before


def test_the_words_tell_what_it_is():
    assert describe_callable(scaled).startswith(f"{__name__}.scaled:")
    assert describe_callable(Scale(2)).startswith(f"{__name__}.Scale:")
    assert describe_callable(str).startswith("builtins.str:")
    assert describe_callable(functools.partial(scaled, by=2)).startswith(f"partial of {__name__}.")
    transform = transforms.Compose([transforms.Resize(8), transforms.ToTensor()])
    assert "Resize(size=8" in describe_callable(transform)
    assert len(describe_callable(transforms.Compose([transforms.Resize(8)] * 100))) < 700


def test_where_something_stands_in_memory_or_in_a_file_is_left_out():
    assert "0x" not in describe_callable(Scale(1))
    assert "0x" not in describe_callable(transforms.Compose([Scale(1)]))
    apart = "\n\n\n" + "def f(rows): return rows + 1"
    assert describe_callable(made("def f(rows): return rows + 1")) == describe_callable(made(apart))


def test_what_goes_round_in_circles_comes_to_an_end():
    def make(by):
        one, two = Scale(by), Scale(2)
        one.other, two.other = two, one
        one.all = [one, two, one]
        return one

    assert describe_callable(make(1)) == describe_callable(make(1))
    assert describe_callable(make(1)) != describe_callable(make(3))
    recursive = made("def f(n): return f(n - 1) if n else by", by=1)
    assert describe_callable(recursive) != describe_callable(
        made("def f(n): return f(n - 1) if n else by", by=2)
    )
    chain = None
    for _ in range(3000):
        chain = [chain]
    assert describe_callable(closure(chain)) == describe_callable(closure(chain))


def test_what_shows_no_state_is_described_by_its_type(tmp_path):
    with (tmp_path / "a").open("w") as file:
        for thing in (
            threading.Lock(),
            file,
            torch.Generator(),
            np.random.default_rng(0),
            object(),
        ):
            assert describe_callable(closure(thing)).startswith(f"{__name__}.closure.")
    assert describe_callable(closure(np.random.default_rng(0))) == describe_callable(
        closure(np.random.default_rng(1))
    )


def test_what_cannot_be_copied_does_no_harm():
    class Stubborn:
        def __init__(self, by):
            self.by, self.lock = by, threading.Lock()

        def __reduce_ex__(self, protocol):
            raise RuntimeError("no copies")

        def __repr__(self):
            raise RuntimeError("no words")

        def __call__(self, rows):
            return rows * self.by

    assert describe_callable(Stubborn(1)) == describe_callable(Stubborn(1))
    assert describe_callable(Stubborn(1)) != describe_callable(Stubborn(2))


@pytest.mark.parametrize("layout", ["sparse", "meta", "half", "empty", "complex", "transposed"])
def test_tensors_of_every_sort(layout):
    def make(value):
        tensor = torch.tensor([[0.0, value], [1.0, 0.0]])
        return {
            "sparse": tensor.to_sparse,
            "meta": lambda: tensor.to("meta"),
            "half": tensor.bfloat16,
            "empty": lambda: tensor[:0],
            "complex": lambda: torch.complex(tensor, tensor).conj(),
            "transposed": tensor.t,
        }[layout]()

    assert describe_callable(closure(make(2.0))) == describe_callable(closure(make(2.0)))
    if layout not in ("meta", "empty"):
        assert describe_callable(closure(make(2.0))) != describe_callable(closure(make(3.0)))


def test_a_tokenizer_is_the_same_after_it_was_used():
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")

    def make(words):
        vocabulary = {word: i for i, word in enumerate(["[UNK]", "[PAD]", *words])}
        core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
        core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", model_max_length=4
        )

    used = make(["cat", "dog"])
    before = describe_callable(used)
    used(["cat dog", "cat"], padding=True, truncation=True)
    assert describe_callable(used) == before == describe_callable(make(["cat", "dog"]))
    assert describe_callable(make(["dog", "cat"])) != before
    assert describe_callable(closure(make(["dog", "cat"]))) != describe_callable(closure(used))


OTHER_PROCESS = """
import functools, torch
from torch import nn
from torchvision import transforms
from isomorph.extraction.describe import describe_callable

WORDS = {"a", "b", "c", "d", "e"}
class Keeps:
    def __init__(self): self.words, self.by = {"x", "y", "z"}, {"b": 1, "a": 2}
    def __call__(self, r): return r if "x" in self.words else None
    def __repr__(self): return f"Keeps({self.words})"
def close(c): return lambda r: r * c
def few(r): return r if "k" in {"a", "b", "c", "d"} else [q for q in WORDS]
torch.manual_seed(0)
for thing in (few, Keeps(), Keeps().__call__, close(Keeps()), close(frozenset("abcdef")),
              functools.partial(few, r={"u", "v", "w"}), nn.Sequential(nn.Linear(2, 2)),
              transforms.Compose([transforms.ToTensor(), transforms.Lambda(few), Keeps()]),
              torch.relu, close(object()), transforms.Normalize(0.5, 0.5), torch.no_grad()(few)):
    print("|", describe_callable(thing))
"""


def test_every_process_gives_the_same_words():
    said = [
        subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS],
            env=os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0].count("|") == 12
    assert said[0] == said[1]


def test_another_preprocessing_is_another_fingerprint():
    module = linear(0)

    def around(transform):
        return Model(module, lambda image: transform(image)).fingerprint()

    plain, centred = transforms.ToTensor(), transforms.Normalize(0.5, 0.5)
    assert around(plain) == around(transforms.ToTensor())
    assert around(plain) != around(transforms.Compose([plain, centred]))
    forwards = [Model(module, forward=closure(by)).fingerprint() for by in (1, 2, 1)]
    assert forwards[0] == forwards[2] != forwards[1]
    # A function that uses another model follows its weights.
    models = [describe_callable(closure(Model(linear(seed)))) for seed in (1, 2, 1)]
    assert models[0] == models[2] != models[1]
