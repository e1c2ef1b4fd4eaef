// The page's elements, and the short messages over the view.

const TOAST_MS = 6000;

export const $ = (id) => document.getElementById(id);

/** What the user should know now, in the middle of the view; an empty text takes it away. */
export function hint(text) {
  $("hint").hidden = !text;
  if (text) $("hint").textContent = text;
}

/** A remark that goes away by itself. */
export function toast(text) {
  const line = document.createElement("p");
  line.textContent = text;
  $("toasts").append(line);
  while ($("toasts").children.length > 4) $("toasts").firstChild.remove();
  setTimeout(() => line.remove(), TOAST_MS);
}

/** Shows a button as pressed or not, with another label where one is given. */
export function press(id, pressed, label) {
  const button = $(id);
  button.setAttribute("aria-pressed", String(pressed));
  if (label) button.querySelector("span").textContent = label;
}
