"""The text that the demo model learns: all of it written for this project, none of it collected.

intents.py reads what can be asked and answered (*.toml), patterns.py expands a pattern into its many
wordings, noise.py makes them look typed, copying.py and out_of_scope.py generate what cannot be
listed, conversations.py puts everything together. heldout.toml is for the evaluation only.
Importable without torch; every random choice comes from a `random.Random` that the caller seeds.
"""
