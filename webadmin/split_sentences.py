"""What the box says of split models in English: a part of the table of box_in_words, with its French."""


def N_(message: str) -> str:
    """Marks a text of the table: Babel looks for calls of this name."""
    return message


SPLITTING = (
    N_(
        "%(node)s keeps %(layers)s of %(all)s layers and the vocabulary: a token reads %(read)s at"
        " %(speed)s/s, %(time)s ms."
    ),
    N_(
        "%(node)s holds %(layers)s of %(all)s layers: a token reads %(read)s at %(speed)s/s, %(time)s ms; its"
        " link takes %(trips)s × %(latency)s ms and %(passed)s at %(bandwidth)s/s, %(link)s ms."
    ),
    N_("Together %(time)s ms a token: %(speed)s tokens/s for one answer."),
    N_("That is below the %(speed)s tokens/s that a reader needs."),
    N_("%(model)s on %(node)s alone makes %(speed)s tokens/s, which is faster."),
    N_("%(model)s on %(node)s alone makes %(speed)s tokens/s, but an admin wants %(wanted)s all the same."),
    N_(
        "%(model)s needs %(needed)s and fits on %(node)s alone, which has %(has)s: split it could only be"
        " slower."
    ),
    N_("%(model)s needs %(needed)s, and each further node %(passing)s more; there is: %(lent)s."),
    N_("An admin keeps %(model)s off %(node)s, where every split begins."),
    N_("The part on %(node)s is lost."),
    N_("The part on %(address)s is lost: nobody listens there any more."),
    N_("The part on %(address)s is lost: it was silent for %(seconds)s s."),
    N_("The part on %(address)s is lost: it was started anew and has forgotten its layers."),
    N_("The part on %(address)s is lost: its connection broke."),
    N_("There is no device %(device)s here."),
    N_("There is: %(devices)s."),
    N_("The part can't listen on %(address)s: %(why)s."),
    N_("See which program has that port, and whether the tunnel is up."),
    N_("It ended with status %(status)s: %(why)s"),
    N_("It ended by signal %(signal)s: %(why)s"),
    N_("it ended with %(how)s"),
    N_("it was killed, as happens where the machine has no memory left"),
    N_("It gave no sign of life any more, and was killed."),
    N_("It made no step any more, and ended itself."),
    N_("OpenVINO computes no more: %(how)s"),
    N_("OpenVINO failed while it computed: %(why)s"),
    N_("OpenVINO did not load the model: %(how)s."),
)
