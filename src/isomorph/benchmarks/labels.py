"""Classes of the stimuli: which columns of their table are labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from isomorph.registry import unknown_name

LABEL = "label"


def label_columns(metadata: pd.DataFrame) -> dict[str, np.ndarray]:
    """Give the columns of a table of stimuli that name classes.

    Parameters
    ----------
    metadata : DataFrame
        One row a stimulus.

    Returns
    -------
    dict of str to object array (n_stimuli,)
        Classes as text, None where one is missing. The column ``label``, and all others of text,
        truth values or whole numbers that have at least two values and on average two stimuli of
        each (so that captions and file numbers are no classes).

    Examples
    --------
    >>> table = pd.DataFrame({"kind": ["a", "a", "b", "b"], "size": [0.1, 0.2, 0.3, 0.4]})
    >>> label_columns(table)["kind"].tolist()
    ['a', 'a', 'b', 'b']
    """
    found = {}
    for name in metadata.columns:
        column = metadata[name]
        if name == "stimulus_id" or pd.api.types.is_float_dtype(column.dtype):
            continue
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            continue
        gone = column.isna().to_numpy(dtype=bool)
        values = [
            None if absent else str(value) for value, absent in zip(column, gone, strict=True)
        ]
        n_classes = len(set(values) - {None})
        if name == LABEL or 2 <= n_classes <= len(values) / 2:
            found[str(name)] = np.array(values, dtype=object)
    return found


def with_labels(stimuli: Any, labels: Any) -> Any:
    """Give the same stimuli with classes in their table.

    Parameters
    ----------
    stimuli : ImageSet or another set
    labels : str, sequence, mapping or DataFrame
        A column of the stimuli's table that becomes ``label``; one class a stimulus; or several
        such, by name.

    Returns
    -------
    the same kind of set

    Raises
    ------
    UnknownNameError
        If there is no such column.
    ValueError
        If there is not one label for each stimulus.
    """
    if isinstance(labels, str):
        if labels not in stimuli.metadata.columns:
            known = [str(name) for name in stimuli.metadata.columns]
            raise unknown_name("column of the stimuli", labels, known)
        return _assigned(stimuli, {LABEL: stimuli.metadata[labels].tolist()})
    if isinstance(labels, pd.DataFrame):
        return _assigned(stimuli, {str(name): labels[name].tolist() for name in labels.columns})
    if isinstance(labels, Mapping):
        return _assigned(stimuli, {str(name): list(values) for name, values in labels.items()})
    return _assigned(stimuli, {LABEL: list(labels)})


def _assigned(stimuli: Any, columns: Mapping[str, Sequence[Any]]) -> Any:
    for name, values in columns.items():
        if len(values) != len(stimuli):
            raise ValueError(
                f"labels: expected one class for each of the {len(stimuli)} stimuli, got "
                f"{len(values)} of {name!r}."
            )
    return replace(stimuli, metadata=stimuli.metadata.assign(**columns))
