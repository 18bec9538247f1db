"""Starts every process of the product on one machine and keeps it running: what systemd does in the image.

Order: refuse (port taken, state in use) before anything is changed → prepare the state directory → start all
→ say `ready {json}` once a model can answer → restart what dies, with back-off → stop all on Ctrl-C.
A child never outlives the supervisor, even when that is killed.
"""
