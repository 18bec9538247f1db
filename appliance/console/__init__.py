"""The screen and keyboard of the box (tty1 and serial): what it is, how it is, and what needs no browser.

Order: `watching` collects facts, each from its own source → `screen.draw` makes lines of them (pure) →
`terminal` sends what differs. Keys go through `menu.step` (pure), whose effects `effects` performs.

What the keyboard may do without a password: set the network, restart, erase the box (by typing its name),
and, started from a stick, copy it to a disk. Who stands at the box can pull its plug and its disk as well; a
box whose admin left or whose network is wrong must stay usable. What the keyboard may never do: read or
change what is stored, make an account, show a secret of a claimed box, start a shell. Each deed is in the
audit trail.
"""
