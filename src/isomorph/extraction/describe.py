"""What a function or transform does, in words that change when it does."""

from __future__ import annotations

import dis
import enum
import functools
import json
import os
import re
import sys
import sysconfig
import types
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import nn

from isomorph.storage import hash_array, hash_bytes, hash_json

_LONGEST_WORDS = 600
_DEEPEST = 60
_ADDRESS = re.compile(r"\b(?:at )?0x[0-9a-fA-F]+")
_INSTALLED = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
_OURS = Path(__file__).parents[1]
_LIBRARIES = tuple(
    str(folder) + os.sep for path in (*_INSTALLED, _OURS) for folder in (path, path.resolve())
)
_PLAIN = (bool, int, float, complex, str, bytes, bytearray, type(None), type(...), range, slice)
_WORDS = (
    *(torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size),
    *(np.dtype, re.Pattern),
)
# Of a class: nothing that it does.
_CLASS_MATTERS_NOT = {
    "__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__",
    "__slots__", "__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl",
    "__hash__", "__match_args__", "__dataclass_fields__", "__dataclass_params__", "__orig_bases__",
    "__parameters__", "__annotate__", "__annotate_func__", "__annotations_cache__",
    "__slotnames__",
}  # fmt: skip
_MADE_BY_A_STATEMENT = 1 << 9  # CPython's Py_TPFLAGS_HEAPTYPE
_MODULE_PARTS = ("_parameters", "_buffers", "_modules", "training")


def describe_callable(function: Any) -> str:
    """Describe a function or transform so that the words change when what it does changes.

    Followed are: the code of functions (also of those inside), their defaults, closures and the
    globals that they read; ``functools.partial``; the object of a bound method; the class and the
    state of an object; parameters, buffers and parts of modules; tensors and arrays by their
    content; the vocabulary of a tokenizer. The words are the same in every process that runs the
    same version of Python.

    Not followed is what installed libraries do (their functions and classes enter by name); what
    is random (generators); and what shows no state of its own (an object of a compiled extension
    that cannot be copied, an open file, a lock), which enters by the name of its type.

    Parameters
    ----------
    function : callable or object

    Returns
    -------
    str
        Its name, or its repr, and a hash.

    Examples
    --------
    >>> def scaled(by):
    ...     return lambda rows: rows * by
    >>> describe_callable(scaled(2)) == describe_callable(scaled(2))
    True
    >>> describe_callable(scaled(2)) == describe_callable(scaled(3))
    False
    """
    walk = _Walk()
    content = hash_json(walk.of(function))
    return f"{_words(function, ordered=not walk.met_a_set)}:{content[:16]}"


def _words(function: Any, *, ordered: bool) -> str:
    name = getattr(function, "__qualname__", None)
    if isinstance(name, str):
        return f"{getattr(function, '__module__', None)}.{name}"
    if isinstance(function, functools.partial):
        return f"partial of {_words(function.func, ordered=ordered)}"
    words = _name(type(function))
    # The order in which a set is shown changes from process to process.
    if ordered and not _shows_nothing(function):
        words = " ".join(_ADDRESS.sub("", _safe_repr(function)).split()) or words
    return words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}…"


class _Walk:
    """Goes through an object and what it refers to, and gives plain content to be hashed."""

    def __init__(self) -> None:
        self.met_a_set = False
        self._open: dict[int, int] = {}
        self._done: dict[int, Any] = {}
        self._alive: list[Any] = []  # so that no address is used twice

    def of(self, value: Any) -> Any:
        """Describe anything."""
        if type(value) in _PLAIN:
            return [type(value).__name__, repr(value)]
        key, depth = id(value), len(self._open)
        if key in self._open:
            return ["itself", depth - self._open[key]]
        if key in self._done:
            return self._done[key]
        if depth > _DEEPEST:
            return ["deep", _name(type(value))]
        self._open[key] = depth
        self._alive.append(value)
        try:
            # Hashed on every level, so that what is referred to often does not multiply.
            found = hash_json(self._kind(value))
        finally:
            del self._open[key]
        self._done[key] = found
        return found

    def _kind(self, value: Any) -> list[Any]:
        if isinstance(value, enum.Enum):
            return ["enum", _name(type(value)), value.name]
        if isinstance(value, torch.Tensor):
            return _tensor(value)
        if isinstance(value, np.ndarray | np.generic):
            array = np.asarray(value)
            content = self.all(array.tolist()) if array.dtype.hasobject else hash_array(array)
            return ["array", _name(type(value)), content]
        if isinstance(value, _WORDS):
            return ["word", _name(type(value)), repr(value)]
        if isinstance(value, PurePath):
            return ["path", str(value)]
        if isinstance(value, types.ModuleType):
            return ["module", value.__name__]
        called = self._called(value)
        if called is not None:
            return called
        if type(value) in (list, tuple):
            return [type(value).__name__, self.all(value)]
        if type(value) in (set, frozenset):
            self.met_a_set |= len(value) > 1
            return ["set", type(value).__name__, sorted(map(json.dumps, self.all(value)))]
        if type(value) in (dict, types.MappingProxyType):
            return ["dict", [[self.of(name), self.of(item)] for name, item in value.items()]]
        return self._object(value)

    def all(self, values: Iterable[Any]) -> list[Any]:
        """Describe each."""
        return [self.of(value) for value in values]

    def _called(self, value: Any) -> list[Any] | None:
        """Describe what can be called, and what code is made of; None if it is neither."""
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.CodeType):
            return self._code(value)
        if isinstance(value, types.CellType):
            try:
                return ["cell", self.of(value.cell_contents)]
            except ValueError:
                return ["cell", "empty"]
        if isinstance(value, types.MethodType):
            return ["method", self.of(value.__func__), self.of(value.__self__)]
        if isinstance(value, functools.partial):
            named = [[name, self.of(value.keywords[name])] for name in sorted(value.keywords)]
            return ["partial", self.of(value.func), self.all(value.args), named]
        if isinstance(value, staticmethod | classmethod):
            return [type(value).__name__, self.of(value.__func__)]
        if isinstance(value, property):
            return ["property", self.all([value.fget, value.fset])]
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, _BUILT_IN):
            owner = getattr(value, "__self__", None)
            named = isinstance(owner, types.ModuleType | type) or owner is None
            return [
                "built in",
                str(getattr(value, "__module__", None)),
                str(getattr(value, "__qualname__", value)),
                None if named else self.of(owner),
            ]
        if isinstance(value, _CACHED):
            return ["cached", self.of(value.__wrapped__)]
        if isinstance(value, torch.jit.ScriptFunction):
            return ["script", value.code]
        return None

    def _function(self, function: types.FunctionType) -> list[Any]:
        compiled = getattr(function, "_torchdynamo_orig_callable", None)
        if compiled is not None:
            return ["compiled", self.of(compiled)]
        name = [str(function.__module__), function.__qualname__]
        cells = self.all(function.__closure__ or ())
        if _is_library(function.__code__.co_filename):
            return ["library function", name, cells]
        keywords = function.__kwdefaults__ or {}
        return [
            "function",
            name,
            self.of(function.__code__),
            self.all(function.__defaults__ or ()),
            [[word, self.of(keywords[word])] for word in sorted(keywords)],
            cells,
            self._globals(function),
        ]

    def _code(self, code: types.CodeType) -> list[Any]:
        n_arguments = code.co_argcount + code.co_kwonlyargcount
        return [
            "code",
            code.co_code.hex(),
            self.all(code.co_consts),
            list(code.co_names),
            [code.co_flags, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount],
            list(code.co_varnames[:n_arguments]),
            list(code.co_freevars),
        ]

    def _globals(self, function: types.FunctionType) -> list[Any]:
        names, attributes = _names_read(function.__code__)
        found: list[Any] = []
        for name in sorted(names & function.__globals__.keys()):
            value = function.__globals__[name]
            found.append([name, self.of(value)])
            if isinstance(value, types.ModuleType) and not _is_library(_file_of(value)):
                inside = vars(value)
                read = sorted(attributes & inside.keys())
                found += [[name, part, self.of(inside[part])] for part in read]
        return found

    def _class(self, kind: type) -> list[Any]:
        if _is_library_class(kind):
            return ["library class", _name(kind)]
        own = {name: value for name, value in vars(kind).items() if name not in _CLASS_MATTERS_NOT}
        parts = [
            [name, self.of(value)]
            for name, value in sorted(own.items())
            if not isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType)
        ]
        return ["class", _name(kind), self.all(kind.__bases__), parts]

    def _object(self, value: Any) -> list[Any]:
        kind = type(value)
        if isinstance(value, nn.Module):
            return self._module(value)
        if _is_tokenizer(kind):
            return self._tokenizer(value)
        if _name(kind) == "isomorph.extraction.model.Model":
            return ["model", value.fingerprint()]
        if isinstance(value, _WITHOUT_STATE) or kind.__module__.partition(".")[0] in _NO_STATE_IN:
            return ["object", _name(kind)]
        return ["object", self.of(kind), self._state(value)]

    def _state(self, value: Any) -> Any:
        """Describe what a copy of an object would be made of; None if it shows nothing."""
        try:
            reduced: Any = value.__reduce_ex__(2)
        except Exception:  # locks, files, and what refuses to be copied
            return _attributes(self, getattr(value, "__dict__", {}))
        if isinstance(reduced, str):
            return ["named", reduced]
        parts: list[Any] = [*reduced, None, None, None]
        maker, arguments, state, items, pairs = parts[:5]
        named = type(state) is dict
        state = _attributes(self, state) if named else self.of(state)
        # The class itself is among the arguments, and described already.
        own = [self.of(one) for one in arguments if one is not type(value)]
        rest = [self.all(items or ()), [[self.of(a), self.of(b)] for a, b in pairs or ()]]
        return [self.of(maker), own, state, rest]

    def _module(self, module: nn.Module) -> list[Any]:
        if isinstance(module, torch.jit.ScriptModule):
            return ["script", str(module.code), self.of(dict(module.state_dict()))]
        tensors = [
            [name, self.of(tensor)]
            for part in (module._parameters, module._buffers)
            for name, tensor in part.items()
        ]
        children = [[name, self.of(child)] for name, child in module._modules.items()]
        own = {
            name: value
            for name, value in vars(module).items()
            # Hooks look on; where one changes values, values show it.
            if name not in _MODULE_PARTS and "hook" not in name
        }
        return ["torch module", self.of(type(module)), tensors, children, _attributes(self, own)]

    def _tokenizer(self, tokenizer: Any) -> list[Any]:
        """Describe a Hugging Face tokenizer, whose state changes when it is used."""
        words = _ADDRESS.sub("", _safe_repr(tokenizer))
        vocabulary = hash_json(sorted((str(k), str(v)) for k, v in tokenizer.get_vocab().items()))
        backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        rules: Any = None
        if backend is not None:
            rules = json.loads(backend.to_str())
            for changing in ("truncation", "padding"):
                rules.pop(changing, None)
        return ["tokenizer", self.of(type(tokenizer)), words, vocabulary, rules]


_BUILT_IN = (
    types.BuiltinFunctionType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    np.ufunc,
)
_CACHED = (type(functools.lru_cache(len)),)
_NO_STATE_IN = ("logging", "random", "threading")
_WITHOUT_STATE = (torch.Generator, np.random.Generator, np.random.RandomState, types.GeneratorType)


def _attributes(walk: _Walk, state: Mapping[str, Any]) -> list[Any]:
    return [[name, walk.of(state[name])] for name in sorted(state, key=str)]


def _tensor(tensor: torch.Tensor) -> list[Any]:
    head = ["tensor", str(tensor.dtype), list(tensor.shape)]
    try:
        content = tensor.detach().cpu()
        content = content.to_dense() if content.layout != torch.strided else content
        content = content.resolve_conj().resolve_neg().contiguous()
        return [*head, hash_bytes(content.reshape(-1).view(torch.uint8).numpy().data)]
    except (RuntimeError, NotImplementedError, TypeError):  # on "meta", or quantised
        return head


def _names_read(code: types.CodeType) -> tuple[set[str], set[str]]:
    """Global names that code reads, and names of attributes; of the code inside it too."""
    names: set[str] = set()
    attributes = set(code.co_names)
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.add(step.argval)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more_names, more_attributes = _names_read(inner)
            names |= more_names
            attributes |= more_attributes
    return names, attributes


def _is_library(file: str) -> bool:
    """Whether a file is Python's own, an installed library's, or ours."""
    return file.startswith(("<frozen", *_LIBRARIES)) or bool(
        {"site-packages", "dist-packages"} & set(PurePath(file).parts)
    )


def _is_library_class(kind: type) -> bool:
    if not kind.__flags__ & _MADE_BY_A_STATEMENT:
        return True
    module = sys.modules.get(kind.__module__)
    if module is not None and _file_of(module):
        return _is_library(_file_of(module))
    # What exec() makes may say that it comes from builtins.
    return kind.__module__ in sys.stdlib_module_names and kind.__module__ != "builtins"


def _is_tokenizer(kind: type) -> bool:
    from_library = any(base.__module__.startswith("transformers.") for base in kind.__mro__)
    return from_library and hasattr(kind, "get_vocab")


def _file_of(module: types.ModuleType) -> str:
    return str(getattr(module, "__file__", None) or "")


def _shows_nothing(value: Any) -> bool:
    return type(value).__repr__ is object.__repr__


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return _name(type(value))


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
