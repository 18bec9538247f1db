"""Everything the box and its workers do.

The way of the data: boot → claim → enrol → admit → route → stream → meter → update → boot.
"""

VERSION = "0.1.0"
