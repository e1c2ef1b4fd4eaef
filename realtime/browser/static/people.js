// The people who are seen: a button for each, and who is followed.

import { $, press } from "./elements.js";

export class People {
  /** `chosen` is called when another person becomes the one whose angles are plotted. */
  constructor(view, chosen) {
    this.view = view;
    this.onChosen = chosen;
    this.person = null; // whose angles are plotted
  }

  /** Takes the people of a pose that has arrived. */
  take(people) {
    $("people").textContent = people.length;
    $("people").nextElementSibling.textContent = people.length === 1 ? "person" : "people";
    const ids = people.map((estimate) => estimate.person);
    if (!ids.includes(this.person)) this.choose(ids[0] ?? this.person);
    const shown = `${ids.join()}${this.view.wardrobe ? "" : " without colours"}`;
    if ($("persons").dataset.ids === shown) return;
    $("persons").dataset.ids = shown;
    $("persons").replaceChildren(...(ids.length < 2 ? [] : ids).sort((a, b) => a - b).map((id, place) => this.button(id, place)));
  }

  button(id, place) {
    const button = document.createElement("button");
    button.type = "button";
    const dot = document.createElement("i");
    dot.style.background = this.view.wardrobe?.css(id) ?? "";
    button.append(dot, String(place + 1));
    button.setAttribute("aria-pressed", String(id === this.person));
    button.title = `Follow person ${place + 1} (${place + 1})`;
    button.onclick = () => this.followPerson(id);
    button.dataset.person = id;
    return button;
  }

  /** The people there are, in the order of the keys 1 to 9. */
  numbered() {
    return [...this.view.figures.keys()].sort((a, b) => a - b);
  }

  followPerson(id) {
    if (!this.view.figures.has(id)) return;
    this.view.followPerson(id);
    this.choose(id);
    press("follow", true, `Follow ${this.numbered().indexOf(id) + 1}`);
  }

  frameEverybody() {
    this.view.frameEverybody();
    press("follow", this.view.follow, "Follow");
  }

  toggleFollow() {
    const { view } = this;
    view.follow = !view.follow || view.orbit.moved;
    view.orbit.moved = false;
    press("follow", view.follow);
  }

  choose(id) {
    this.person = id;
    this.onChosen();
    for (const button of $("persons").children) button.setAttribute("aria-pressed", String(button.dataset.person === String(id)));
  }
}
