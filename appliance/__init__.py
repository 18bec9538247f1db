"""Everything the box and its workers do.

The way of the data: boot → claim → enrol → admit → route → stream → meter → update → boot.
"""

import gc

# a program that loads makes objects that stay: looking for waste among them is a tenth of every start
gc.set_threshold(20_000)

VERSION = "0.1.0"
