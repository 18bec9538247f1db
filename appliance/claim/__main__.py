"""`python -m appliance.claim [FOLDER]`: prepares the box's state at every start, then ends.

With FOLDER it also lays out there what nginx serves with (serving.py), which would cost a second process as
long as this one (cellule-prepare.service). Ends with 1 and a sentence for what was refused. Prints nothing
else: the claim code is the console's to show.
"""

import sys
from pathlib import Path

from appliance.claim.preparing import prepare_box
from appliance.claim.serving import handed_over, lay_out
from appliance.errors import Refusal
from appliance.settings import load_settings


def main() -> None:
    try:
        settings = load_settings()
        prepare_box(settings)
        if len(sys.argv) > 1:
            lay_out(settings, Path(sys.argv[1]), handed_over())
    except Refusal as refusal:
        sys.exit(f"{refusal.sentence} {refusal.next_step}".strip())


if __name__ == "__main__":
    main()
