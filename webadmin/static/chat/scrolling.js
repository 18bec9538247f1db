/**
 * Keeps the newest line in view while an answer grows, unless the person reads further up: then nothing
 * moves, and a button leads back down.
 */

const AT_END_PIXELS = 60;

export class Following {
    #scroller;
    #jumpButton;
    #isFollowing = true;
    #lastTop = 0;

    /**
     * @param {HTMLElement} scroller
     * @param {HTMLButtonElement} jumpButton
     */
    constructor(scroller, jumpButton) {
        this.#scroller = scroller;
        this.#jumpButton = jumpButton;
        scroller.addEventListener("scroll", () => this.#look(), { passive: true });
        jumpButton.addEventListener("click", () => this.jump());
        new ResizeObserver(() => this.grown()).observe(scroller);
    }

    /** The content has grown. */
    grown() {
        if (this.#isFollowing) this.#toEnd();
        else this.#look();
    }

    /** Shows the newest line and follows it from now on. */
    jump() {
        this.#isFollowing = true;
        this.#jumpButton.hidden = true;
        this.#toEnd();
    }

    #look() {
        const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
        // Only moving up ends the following: an answer may have grown since the page scrolled by itself.
        if (scrollHeight - scrollTop - clientHeight < AT_END_PIXELS) this.#isFollowing = true;
        else if (scrollTop < this.#lastTop) this.#isFollowing = false;
        this.#lastTop = scrollTop;
        this.#jumpButton.hidden = this.#isFollowing;
    }

    #toEnd() {
        this.#scroller.scrollTop = this.#scroller.scrollHeight;
    }
}
