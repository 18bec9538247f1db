"""A server that a GPU station already runs, taken in as an engine: found, checked, measured, watched.

`finding` looks on the usual ports, `recognising` tells which server answers and what it claims, `checking`
decides whether it may answer for us, `measuring` how fast and how many at once, `watching` keeps it so, and
`relaying` stands before it: our contract towards the asking side, its own dialect towards the server.
`servers` is the table of what each kind can do. Nothing of ours is loaded: the model is the server's.
"""
