"""`python -m appliance.claim`: prepares the box's state at every start (cellule-prepare.service), then ends.

Ends with 1 and a sentence for what was refused. Prints nothing else: the claim code is the console's to show.
"""

import sys

from appliance.claim.preparing import prepare_box
from appliance.errors import Refusal
from appliance.settings import load_settings


def main() -> None:
    try:
        prepare_box(load_settings())
    except Refusal as refusal:
        sys.exit(f"{refusal.sentence} {refusal.next_step}".strip())


if __name__ == "__main__":
    main()
