"""The agent of an enrolled PC or GPU station: join once, then report, obey the desired state, run engines.

The way of a worker: `joining` (find the box, redeem, wait for an admin) → `membership` (what is kept) →
`agent` (tunnel up, engines as desired, a report every few seconds) → until stopped or revoked.
"""
