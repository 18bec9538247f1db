"""What the chat's scripts say, in the reader's language; {names} in braces are filled in by the script."""

from dataclasses import dataclass

from flask_babel import gettext as _


@dataclass(frozen=True)
class Suggestion:
    """A question to start with: its subject, and the text that is sent."""

    subject: str
    question: str


def suggestions(for_admin: bool) -> tuple[Suggestion, ...]:
    """Questions that the demo model knows, and that a real model answers as well."""
    everybody = (
        Suggestion(_("This assistant"), _("What can you do?")),
        Suggestion(_("Privacy"), _("Where do my questions go?")),
    )
    admins = (
        Suggestion(_("More computers"), _("How do I add a worker?")),
        Suggestion(_("Programs"), _("How do I use the API?")),
    )
    employees = (
        Suggestion(_("Password"), _("How do I reset my password?")),
        Suggestion(_("Printer"), _("The printer does not work")),
    )
    return everybody + (admins if for_admin else employees)


def wording() -> dict[str, str]:
    """Each text of static/chat/*.js by its key."""
    return _conversations() | _messages() | _troubles() | _facts()


def _conversations() -> dict[str, str]:
    return {
        "untitled": _("New conversation"),
        "rename": _("Rename “{title}”"),
        "rename_label": _("Name of the conversation"),
        "delete": _("Delete “{title}”"),
        "deleted": _("“{title}” was deleted."),
        "undo": _("Undo"),
        "list_answering": _("An answer is being written"),
        "list_unread": _("New answer"),
        "demo_model": _("{name} (demo)"),
    }


def _messages() -> dict[str, str]:
    return {
        "question_heading": _("You asked"),
        "answer_heading": _("Answer"),
        "edit_label": _("Your question, changed"),
        "cancel": _("Cancel"),
        "send": _("Send"),
        "copy": _("Copy"),
        "copied": _("Copied"),
        "copy_refused": _("The browser refused to copy"),
        "stopped": _("You stopped this answer."),
        "cut": _("The answer reached its length limit."),
        "queued": _("Waiting for a free machine. Questions in the queue: {number}"),
        "reading": _("{node} is reading your question…"),
        "slow": _("Still waiting: the machines are busy…"),
        "pause_busy": _("Too many questions at once. Yours is asked again in {number} s."),
        "pause_no_node": _("No machine can answer right now. Your question is asked again in {number} s."),
        "in_seconds": _("in {number} s"),
        "hear_waiting": _("Question sent, waiting for the answer."),
        "hear_answer": _("Answer: {text}"),
        "hear_complete": _("The answer is complete."),
        # sent to the model in the person's name when an answer broke off
        "continue_prompt": _("Continue exactly where you stopped."),
        "action_continue": _("Continue"),
        "action_retry": _("Try again"),
        "action_regenerate": _("Answer again"),
        "action_edit": _("Edit the question"),
        "action_reload": _("Reload the page"),
        "action_sign_in": _("Sign in again"),
        "action_new_conversation": _("Ask it in a new conversation"),
    }


def _troubles() -> dict[str, str]:
    return {
        "trouble_signed_out": _(
            "Your sign-in has ended. Sign in again: your conversations stay in this tab."
        ),
        "trouble_forbidden": _(
            "The box did not accept the question from this page. Reload the page;"
            " if that does not help, ask your admin."
        ),
        "trouble_too_long": _(
            "This conversation has become longer than the model can read."
            " Ask in a new conversation, or shorten the question."
        ),
        "trouble_too_large": _("This question is too large to be sent. Shorten it."),
        "trouble_model_missing": _(
            "This model does not answer any more. Choose another one above, then try again."
        ),
        "trouble_busy": _("Too many questions at once. Try again in a moment."),
        "trouble_no_node": _(
            "No machine can answer right now. Try again in a moment; if it lasts, tell your admin."
        ),
        "trouble_rejected": _("The model did not accept this question. Change it, then try again."),
        "trouble_broken": _(
            "Something broke inside the box. Try again; if it happens again, tell your admin."
        ),
        "trouble_unreachable": _(
            "The box can’t be reached. Check that you are on the company network, then try again."
        ),
        "trouble_interrupted": _("The connection was lost before the answer was complete."),
        "trouble_reloaded": _("The page was left while this answer was being written."),
        "reference": _("Reference for your admin: {id}"),
    }


def _facts() -> dict[str, str]:
    return {
        "about_answer": _("About this answer:"),
        "fact_node": _("Answered by"),
        "fact_model": _("Model"),
        "fact_first_token": _("First word after"),
        "fact_speed": _("Speed"),
        "fact_place": _("Place in the queue"),
        "fact_length": _("Length"),
        "fact_request": _("Request"),
        "seconds": _("{number} s"),
        "tokens_per_second": _("{number} tokens/s"),
        "tokens": _("{number} tokens"),
    }
