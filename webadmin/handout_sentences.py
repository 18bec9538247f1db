"""What box and PCs say in English of models on their way: a part of the table of box_in_words."""


def N_(message: str) -> str:
    """Marks a text of the table: Babel looks for calls of this name."""
    return message


HANDOUT = (
    N_("Office hours of %(day)s are %(hours)s; models travel afterwards."),
    N_("Monday"),
    N_("Tuesday"),
    N_("Wednesday"),
    N_("Thursday"),
    N_("Friday"),
    N_("Saturday"),
    N_("Sunday"),
    N_("The box does not have this file."),
    N_("The next report tells what to fetch."),
    N_("This file belongs to no model that this worker should have."),
    N_("What came is not the list of pieces of %(file)s."),
    N_("The file %(file)s is damaged on the disk."),
    N_("Get the model again; check the disk."),
    N_("There is nothing at this address."),
    N_("The box gives other pieces just now."),
    N_("The box reads this file through once before it hands it out."),
    N_("The box could not answer; its log says why."),
    N_("The box answered with status %(status)s."),
    N_("The box at %(host)s port %(port)s can't be reached: %(why)s."),
    N_("Check that it is on and that this machine is in its network."),
    N_("The machine at %(host)s is not the box that made the invitation."),
    N_("Give the box's address, or ask IT: somebody may be posing as it."),
    N_("The machine that answered has no certificate that can be read."),
    N_("The box"),
    N_("%(who)s does not give pieces now: %(why)s."),
    N_("%(who)s answered with status %(status)s."),
    N_("The box gave a piece that is not in its own list."),
    N_("The file %(file)s did not have its hash and was thrown away."),
    N_(
        "The model needs %(needed)s of the disk; of the %(free)s that are free %(lacking)s too little may be"
        " used."
    ),
    N_("The disk of this machine failed: %(why)s."),
    N_("The disk of this machine became full on the way."),
    N_("The worker failed; its log says why."),
)
