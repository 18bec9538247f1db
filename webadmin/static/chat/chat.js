/**
 * The chat page: wires conversations, answers and what is seen of them.
 *
 * Data flows one way: a person acts → Answering and Conversations change → `change` events → the views
 * follow. The modules of conversations and answers know nothing of the page.
 */
import { Announcer } from "./announcer.js";
import { Answering } from "./answering.js";
import { Composer } from "./composer.js";
import { Conversations, isRunning } from "./conversations.js";
import { Drawer } from "./drawer.js";
import { ModelPicker } from "./models.js";
import { Following } from "./scrolling.js";
import { Sidebar } from "./sidebar.js";
import { Transcript } from "./transcript.js";
import { accountId, addresses, words } from "./wording.js";

const part = (name) => document.getElementById(`chat-${name}`);

const conversations = new Conversations(sessionStorage, accountId);
const announcer = new Announcer(part("announcer"));
const following = new Following(part("scroller"), part("jump"));
const drawer = new Drawer(part("sidebar"), part("main"), part("open-sidebar"), part("close-sidebar"), part("backdrop"));

const transcript = new Transcript(part("messages"), { act, resend, grown: () => following.grown() });

const composer = new Composer(part("composer"), {
    send: (text) => {
        conversations.setDraft(conversations.current, "");
        composer.setText("");
        answering.send(conversations.current, text);
        following.jump();
    },
    stop: () => answering.stop(conversations.current),
    draft: (text) => conversations.setDraft(conversations.current, text),
    editLast: () => transcript.editLastQuestion(),
});

const sidebar = new Sidebar(part("conversations"), part("undo"), conversations, {
    open: (conversation) => {
        conversations.open(conversation.id);
        drawer.close();
        composer.focus();
    },
    remove: (conversation) => {
        answering.stop(conversation);
        return conversations.remove(conversation);
    },
});

const models = new ModelPicker(part("model"), part("demo"), (model) => conversations.setModel(conversations.current, model));

const answering = new Answering(conversations, addresses, { modelFor, continuePrompt: words("continue_prompt") });

/** A conversation keeps the model it was first answered by, until that one is gone or another is chosen. */
async function modelFor(conversation) {
    const shown = await models.current();
    if (!conversation.model && shown) conversations.setModel(conversation, shown);
    return conversation.model;
}

let shownId = null;

function showCurrent() {
    const { current } = conversations;
    const isOther = shownId !== current.id;
    shownId = current.id;
    part("empty").hidden = current.messages.length > 0;
    part("title").textContent = current.title || words("untitled");
    part("storage-full").hidden = conversations.isKept;
    composer.setRunning(isRunning(current.messages.at(-1)));
    models.show(current.model);
    if (!isOther) return;
    transcript.show(current);
    composer.setText(current.draft);
    following.jump();
}

conversations.addEventListener("change", ({ detail: { conversation, what, answer } }) => {
    const isShown = conversation.id === conversations.currentId;
    if (isShown && answer) announcer.answerChanged(answer);
    if (answer?.trouble?.kind === "model_missing") models.load();
    if (what === "answer") {
        if (isShown) transcript.updateSoon();
        if (isShown) composer.setRunning(isRunning(conversation.messages.at(-1)));
        return;
    }
    sidebar.update();
    showCurrent();
    transcript.update();
});

function newConversation(draft = "") {
    const conversation = conversations.create();
    if (draft) conversations.setDraft(conversation, draft);
    shownId = null;
    showCurrent();
    drawer.close();
    composer.focus();
}

/** What the buttons of an answer do, always with the last answer of the conversation that is shown. */
function act(action) {
    const { current } = conversations;
    const actions = {
        continue: () => {
            answering.continueAnswer(current);
            composer.focus(); // the button that had the focus is gone
        },
        retry: () => {
            answering.regenerate(current);
            following.jump();
            composer.focus();
        },
        edit: () => transcript.editLastQuestion(),
        reload: () => location.reload(),
        sign_in: () => location.assign(`${addresses.signIn}?next=${encodeURIComponent(addresses.page)}`),
        new_conversation: () => newConversation(current.messages.findLast((message) => message.role === "user").text),
    };
    actions[action]();
}

function resend(text) {
    answering.replaceLastQuestion(conversations.current, text);
    following.jump();
    composer.focus();
}

part("new").addEventListener("click", () => newConversation());
part("new-small").addEventListener("click", () => newConversation());
for (const button of document.querySelectorAll("[data-suggestion]")) {
    button.addEventListener("click", () => {
        answering.send(conversations.current, button.dataset.suggestion);
        composer.focus();
    });
}
addEventListener("pagehide", () => conversations.save());
document.getElementById("sign-out").form.addEventListener("submit", () => conversations.forget());

sidebar.update();
showCurrent();
models.load();
composer.focus();
