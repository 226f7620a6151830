"""Making the log readable: in notebooks and on the command line, where nobody set logging up."""

from __future__ import annotations

import logging
import sys

_ROOT = "isomorph"


def show_log(level: int = logging.INFO) -> None:
    """Write the library's log to standard error, unless somebody has set logging up already.

    Parameters
    ----------
    level : int
        The least important messages to show.
    """
    logger = logging.getLogger(_ROOT)
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)


def show_log_in_notebooks() -> None:
    """Call `show_log` in a notebook; elsewhere leave logging to the program."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and shell.__class__.__name__ == "ZMQInteractiveShell":
        show_log()
