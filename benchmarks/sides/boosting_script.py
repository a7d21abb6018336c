"""The trials of boosted trees as a script of its own that prints their losses: all of its process counts."""

from __future__ import annotations

import json
import sys

from sides.boosting import make_table


def main(side: str, turn: int) -> None:
    """Make the trials once; what a side does not need is not imported."""
    if side == "ours":
        from sides.boosting_flowlearner import sweep_grid

        losses = sweep_grid(make_table(), "ray", turn)
    else:
        from sides.boosting_bare import MAKERS

        losses = MAKERS[side]()(make_table())
    print(json.dumps(losses))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
