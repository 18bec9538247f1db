"""What the box says of an inventory in English: a part of the table of box_in_words, with its French."""


def N_(message: str) -> str:
    """Marks a text of the table: Babel looks for calls of this name."""
    return message


SIZING = (
    N_('Line %(line)s: "%(column)s": it is missing.'),
    N_('Line %(line)s: "%(column)s": it has more than %(count)s characters.'),
    N_('Line %(line)s: "%(column)s": it must be hours like 8-18.'),
    N_('Line %(line)s: "%(column)s": it must be more than %(least)s.'),
    N_('Line %(line)s: "%(column)s": it must be at least %(least)s.'),
    N_('Line %(line)s: "%(column)s": it must be at most %(most)s.'),
    N_('Line %(line)s: "%(column)s": it must be a whole number.'),
    N_('Line %(line)s: "%(column)s": it must be yes or no.'),
    N_('Line %(line)s: "%(column)s": it must be one of: %(words)s.'),
    N_('Line %(line)s: "%(column)s": "%(text)s" is not a number.'),
    N_('Line %(line)s: the name "%(name)s" is on line %(first)s already.'),
    N_(
        'Line %(line)s: the name "%(name)s" is that of one of the %(count)s machines "%(of)s"'
        " on line %(first)s."
    ),
    N_('Line %(line)s: the graphics card "%(card)s" is not known and is counted as none.'),
    N_('Lines %(lines)s: the graphics card "%(card)s" is not known and is counted as none.'),
    N_(
        'Lines %(lines)s and %(count)s more: the graphics card "%(card)s" is not known and is'
        " counted as none."
    ),
    N_("Write one that is known and of the same speed (RTX 4060), and its memory in gpu_memory_gb."),
    N_('Line %(line)s: "%(card)s" comes with several sizes of memory; gpu_memory_gb must say which.'),
    N_('Line %(line)s: the hours "%(hours)s" must lie within one day, the first before the second.'),
    N_("Line %(line)s: it has %(cells)s cells, and the heading %(columns)s."),
    N_('Line %(line)s: there is no column "%(column)s".'),
    N_('Line %(line)s: the column "%(column)s" is missing.'),
    N_('Line %(line)s: the column "%(column)s" is there twice.'),
    N_("Line %(line)s: a cell has no end."),
    N_("Line %(line)s: a quotation mark is not closed, or text follows it."),
    N_("It has no line with a machine."),
    N_("It has more than %(count)s machines."),
    N_("There are %(count)s more mistakes like these."),
    N_("The inventory is larger than a megabyte."),
    N_("This is no CSV text."),
    N_("The columns are: %(columns)s."),
    N_("Mend these lines; nothing was taken over."),
    N_("Send machines only."),
    N_("Save the table as CSV, and send that file."),
    N_("Look at this line, or save the table as CSV once more."),
    N_('The processor "%(cpu)s" is not known; it is taken for one without AVX2.'),
    N_("Nothing is known of the model %(model)s."),
    N_("Known are: %(models)s."),
    N_("95 of 100 get their first token within %(seconds)s s in the busiest hour."),
    N_("Each is too slow: %(why)s"),
    N_("Even %(number)s are not enough: %(why)s"),
)
