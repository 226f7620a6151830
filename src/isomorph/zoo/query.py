"""Questions to the catalogue: words, globs, exact values, and comparisons in words."""

from __future__ import annotations

import ast
import fnmatch
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from isomorph.registry import unknown_name

_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_GLOB = re.compile(r"[*?\[]")
_JOINTS = r"[-_]"
# Where a hyphen tells two networks apart.
_NAMES = ("uid", "source", "name", "weights", "architecture", "url")
_SEARCHED = ("uid", "modality", "architecture", "family", "task", "train_data")


def keyword_rows(frame: pd.DataFrame, query: str) -> pd.Series:
    """Tell which rows hold every word of a query, anywhere and in any case.

    Parameters
    ----------
    frame : pandas.DataFrame
        The catalogue.
    query : str
        Words, each of which must occur (as a part of a word too) in the uid, architecture, family,
        modality, task or training data; hyphens and underscores do not count, and * and ? stand
        for any signs.

    Returns
    -------
    pandas.Series of bool
    """
    text = pd.Series("", index=frame.index)
    for column in _SEARCHED:
        text = text + " " + frame[column].astype(str)
    text = text.str.lower().str.replace(_JOINTS, "", regex=True)
    found = pd.Series(True, index=frame.index)
    for word in query.lower().split():
        pattern = re.escape(re.sub(_JOINTS, "", word)).replace(r"\*", r"\S*").replace(r"\?", ".")
        found &= text.str.contains(pattern, regex=True)
    return found


def is_glob(text: str) -> bool:
    """Tell whether a text holds a glob's signs."""
    return _GLOB.search(text) is not None


def matching_rows(frame: pd.DataFrame, column: str, wanted: Any) -> pd.Series:
    """Tell which rows have a value in a column.

    Parameters
    ----------
    frame : pandas.DataFrame
    column : str
    wanted : value, str with * or ?, or list of such
        A text without a glob's signs is compared exactly, but in any case; in what is no name,
        hyphens and blanks may be left out: ``laion2b`` is ``LAION-2B``.

    Returns
    -------
    pandas.Series of bool

    Raises
    ------
    UnknownNameError
        If there is no such column, or no row at all has an exact value; gives the nearest.
    """
    if column not in frame:
        raise unknown_name("column of list_models()", column, frame.columns)
    values = frame[column]
    if isinstance(wanted, list | tuple | set):
        found = [matching_rows(frame, column, one) for one in wanted]
        return pd.concat(found, axis=1).any(axis=1) if found else values.isna() & False
    if wanted is None:
        return values.isna()
    if not isinstance(wanted, str):
        return (values == wanted).fillna(False).astype(bool)
    if not (pd.api.types.is_string_dtype(values) or values.dtype == object):
        raise TypeError(f"{column}: expected a number (or True, False), got {wanted!r}.")
    lowered = values.astype(str).str.lower()
    if is_glob(wanted):
        pattern = re.compile(fnmatch.translate(wanted.lower()))
        return lowered.map(lambda value: pattern.match(str(value)) is not None).astype(bool)
    found = lowered == wanted.lower()
    if column not in _NAMES and not found.any():
        found = lowered.map(_plain) == _plain(wanted)
    if not found.any() and len(frame):
        known = [str(value) for value in values.dropna().unique()]
        raise unknown_name(column, wanted, known, f"No model has it; {column}='*word*' is a glob.")
    return found


def _plain(text: str) -> str:
    return re.sub(r"[-_ ]", "", str(text).lower())


def compared_rows(frame: pd.DataFrame, where: str) -> pd.Series:
    """Tell which rows a condition holds for.

    Nothing is evaluated but comparisons of columns with plain values, joined by ``and``, ``or``,
    ``not`` and brackets.

    Parameters
    ----------
    frame : pandas.DataFrame
    where : str
        ``"n_params < 30e6 and task == 'classification'"``, ``"train_data in ('ImageNet-1K',)"``.

    Returns
    -------
    pandas.Series of bool
        Where a value is not known, no comparison holds.

    Raises
    ------
    ValueError
        If it cannot be read; shows how.
    UnknownNameError
        If a column does not exist.

    Examples
    --------
    >>> frame = pd.DataFrame({"n_params": [1e6, 5e7]})
    >>> compared_rows(frame, "n_params < 30e6").tolist()
    [True, False]
    """
    try:
        tree = ast.parse(where.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError, AttributeError) as error:
        raise _unreadable(where) from error
    return pd.Series(_condition(frame, tree, where), index=frame.index).astype(bool)


def _condition(frame: pd.DataFrame, node: ast.expr, where: str) -> Any:
    if isinstance(node, ast.BoolOp):
        parts = [_condition(frame, value, where) for value in node.values]
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return join.reduce(parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_condition(frame, node.operand, where)
    if isinstance(node, ast.Name):
        column = _column(frame, node.id)
        if column.dtype == bool:
            return column.to_numpy()
    if not isinstance(node, ast.Compare):
        raise _unreadable(where)
    found = np.ones(len(frame), bool)
    sides = [node.left, *node.comparators]
    for left, sign, right in zip(sides, node.ops, sides[1:], strict=False):
        found &= _comparison(frame, left, sign, right, where)
    return found


def _comparison(
    frame: pd.DataFrame, left: ast.expr, sign: ast.cmpop, right: ast.expr, where: str
) -> np.ndarray:
    first, second = _side(frame, left, where), _side(frame, right, where)
    if isinstance(sign, ast.In | ast.NotIn):
        if not isinstance(first, pd.Series):  # 'laion' in train_data
            if not isinstance(second, pd.Series) or not isinstance(first, str):
                raise _unreadable(where)
            inside = second.astype(str).str.lower().str.contains(first.lower(), regex=False)
        else:
            if not isinstance(second, list | tuple | set):
                raise _unreadable(where)
            inside = first.isin(list(second))
        return inside.to_numpy() ^ isinstance(sign, ast.NotIn)
    if type(sign) not in _COMPARISONS:
        raise _unreadable(where)
    try:
        found = _COMPARISONS[type(sign)](first, second)
    except (TypeError, ValueError) as error:
        raise _unreadable(where) from error
    if not isinstance(found, pd.Series):
        raise _unreadable(where)
    known = pd.Series(True, index=frame.index)
    for side in (first, second):
        if isinstance(side, pd.Series):
            known &= side.notna()
    return (found.fillna(False).astype(bool) & known).to_numpy()


def _side(frame: pd.DataFrame, node: ast.expr, where: str) -> Any:
    if isinstance(node, ast.Name):
        return _column(frame, node.id)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise _unreadable(where) from error


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame:
        raise unknown_name("column of list_models()", name, frame.columns)
    return frame[name]


def _unreadable(where: str) -> ValueError:
    return ValueError(
        f'where: expected comparisons of columns with values, such as "n_params < 30e6 and task '
        f"== 'classification'\", got {where!r}. Texts stand in quotation marks."
    )
