"""What the box says of where models run, and why: a part of the table of box_in_words, with its French."""


def N_(message: str) -> str:
    """Marks a text of the table: Babel looks for calls of this name."""
    return message


PLACEMENT = (
    N_("Pinned here."),
    N_("Asked for %(number)s times an hour (%(tokens)s tokens of answers), and here it is served best."),
    N_("Asked for %(number)s times an hour; it runs here, and no place is better."),
    N_("An admin wants it at hand, and here it is served best."),
    N_("Nobody asked for it lately; it takes room that nothing else needs."),
    N_("It runs here and was used lately; nothing else needs its room."),
    N_("%(number)s copies are wished."),
    N_("%(number)s copies are wished and %(have)s fit: %(why)s."),
    N_("%(number)s copies are wished and %(have)s fit."),
    N_("“%(typed)s” is no number of machines."),
    N_("Give a whole number."),
    N_("A model is loaded on 0 to %(most)s machines."),
    N_("Without it %(nodes)s would be busy %(busy)s of the time, with it %(after)s."),
    N_("The node has nothing else to do, and another copy shortens waiting."),
    N_("The last resort: no other model runs on this node."),
    N_("%(way)s: %(alone)s tokens/s alone, %(together)s with %(number)s at once (%(why)s)."),
    N_("%(bandwidth)s GB/s over %(size)s GB for each token, %(how)s"),
    N_("llama.cpp on %(device)s"),
    N_("openvino on %(device)s"),
    N_("adopted on %(device)s"),
    N_("measured, %(number)s benchmark here with %(way)s"),
    N_("measured, %(number)s benchmarks here with %(way)s"),
    N_("more than %(number)s at once is estimated"),
    N_("as published"),
    N_("not measured yet"),
    N_("corrected by %(number)s benchmark on this node (× %(factor)s)"),
    N_("corrected by %(number)s benchmarks on this node (× %(factor)s)"),
    N_("corrected by %(number)s benchmark on nodes of this kind (× %(factor)s)"),
    N_("corrected by %(number)s benchmarks on nodes of this kind (× %(factor)s)"),
    N_("with %(engine)s on %(device)s (planned: %(way)s)"),
    N_("with other files than it should"),
    N_("with %(have)s answers at once (planned: %(wished)s)"),
    N_("with a context of %(have)s tokens (planned: %(wished)s)"),
    N_("No node can run it: %(why)s."),
    N_("It is pinned to %(node)s: %(why)s."),
    N_("It is pinned to %(node)s."),
    N_("It is asked for %(number)s times as much as its nodes can answer. %(more)s"),
    N_("and %(number)s more"),
    N_("More copies are not possible."),
    N_("More copies are not possible: %(why)s."),
    N_("Every node has it already."),
    N_("%(node)s can't run %(model)s: %(why)s."),
    N_("It runs %(what)s."),
    N_("Nothing asks for it to be there any more."),
    N_("Its %(number)s running answers are finished first."),
    N_("%(way)s would answer with %(speed)s tokens/s (%(why)s), and a reader needs %(wished)s"),
    N_("%(way)s runs %(formats)s, and %(model)s is there as %(has)s"),
    N_("an admin keeps it off %(node)s"),
    N_("%(way)s could load %(model)s (%(format)s), and was not measured with it yet"),
    N_("%(way)s is tried tonight to be measured."),
    N_("Measured here, %(way)s gives %(speed)s tokens/s with prompts, and %(other)s gives %(slower)s."),
    N_(
        "%(way)s is given up for now: its engine ended %(number)s times in a row while it was loaded"
        " (%(why)s), and is tried again after %(hours)s h or when the machine changes."
    ),
    N_(
        "%(way)s is given up for now: its engine ended %(number)s times in a row while it was loaded"
        " (%(why)s), and is tried again after %(hours)s h or when the machine changes"
    ),
    N_(
        "%(way)s has %(free)s GiB left, and %(model)s (%(format)s) needs %(need)s:"
        " %(weights)s of weights, the rest for its cache and its work"
    ),
    N_("95 of 100 would get their first token within %(seconds)s s, and %(wanted)s s are wanted."),
    N_("%(refused)s of %(requests)s requests would be refused or wait more than a minute."),
    N_("No node can run it."),
    N_("%(node)s and %(number)s more: %(why)s"),
    N_("%(node)s: llama.cpp on %(device)s"),
    N_("%(node)s: openvino on %(device)s"),
    N_("%(node)s: adopted on %(device)s"),
)
