"""What the rest of the library expects of a set of stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

Kind = Literal["image", "text", "video"]


class StimulusSet(Protocol):
    """What every set of stimuli offers: the order that the first axis of every array follows."""

    @property
    def kind(self) -> str:
        """Say what a stimulus is: ``image``, ``text`` or ``video``."""
        ...

    @property
    def ids(self) -> tuple[str, ...]:
        """Name each stimulus, uniquely."""
        ...

    @property
    def metadata(self) -> pd.DataFrame:
        """Give one row a stimulus; the first column is ``stimulus_id``."""
        ...

    @property
    def groups(self) -> tuple[Any, ...] | None:
        """Give one label a stimulus, such as the image that a caption describes."""
        ...

    @property
    def origin(self) -> str:
        """Say where the set comes from and how it was ordered, in words."""
        ...

    def __len__(self) -> int: ...

    def load(self, i: int) -> Any:
        """Decode stimulus `i`; safe in any number of threads."""
        ...

    def content_hashes(self) -> tuple[str, ...]:
        """Hash each stimulus's content."""
        ...

    def subset(self, indices: Sequence[int] | np.ndarray) -> StimulusSet:
        """Give the stimuli at these positions, in this order."""
        ...

    def check(self) -> None:
        """Refuse, cheaply, a set with stimuli that are missing, empty or of no known format."""
        ...

    def broken(self, *, progress: bool = True) -> Mapping[int, str]:
        """Give the positions of the stimuli that cannot be decoded, each with the reason."""
        ...

    def verify(self, *, progress: bool = True) -> None:
        """Refuse a set with stimuli that cannot be decoded."""
        ...
