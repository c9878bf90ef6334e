/* Single keys on the desk: through the list, and the buttons that bear one. "?" says which there are, and switches them off. */
"use strict";
{
  const SWITCH = "kw-keys";
  const isOn = () => localStorage.getItem(SWITCH) !== "off";
  const rows = () => [...document.querySelectorAll("#result_list a.kw-what")];
  const buttons = () => [...document.querySelectorAll("[accesskey]")].filter((one) => one.checkVisibility() && !one.disabled);
  const isTyping = (one) => one.matches("input:not([type=checkbox]), textarea, select, [contenteditable]");

  // The row that is focused, or whose checkbox or button is, is the one that one stands on.
  const here = () => rows().findIndex((row) => row.closest("tr").contains(document.activeElement));
  const move = (by) => rows()[Math.min(Math.max(here() + by, 0), rows().length - 1)]?.focus();
  const LIST = {
    j: ["next in the list", () => move(1)],
    k: ["previous in the list", () => move(here() < 0 ? 1 : -1)],
    x: ["select it", () => rows()[here()]?.closest("tr").querySelector(".action-select")?.click()],
    "/": ["search", () => document.querySelector("#searchbar")?.focus()],
  };

  const known = () => {
    const found = rows().length ? [...Object.entries(LIST).map(([key, [said]]) => [key, said]), ["Enter", "open it"]] : [];
    return [...found, ...buttons().map((one) => [one.accessKey.toLowerCase(), one.textContent.trim()]), ["?", "these keys"]];
  };

  const explain = () => {
    const dialog = document.createElement("dialog");
    dialog.className = "kw-keys kw-page";
    dialog.setAttribute("aria-labelledby", "kw-keys-title");
    dialog.innerHTML =
      '<h2 id="kw-keys-title">Keys on this page</h2><dl></dl><label><input type="checkbox"> Single keys work</label>' +
      '<div class="kw-buttons"><button class="kw-button" autofocus>Close</button></div>';
    for (const [key, said] of known()) {
      const line = dialog.querySelector("dl").appendChild(document.createElement("div"));
      line.appendChild(document.createElement("dt")).appendChild(document.createElement("kbd")).textContent =
        key.length === 1 ? key.toUpperCase() : key;
      line.appendChild(document.createElement("dd")).textContent = said;
    }
    const box = dialog.querySelector("input");
    box.checked = isOn();
    box.addEventListener("change", () => localStorage.setItem(SWITCH, box.checked ? "on" : "off"));
    dialog.querySelector("button").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    document.body.appendChild(dialog).showModal();
  };

  const press = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (!isOn() || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    // Arrows go through the list once one stands in it; before, they scroll.
    const arrow = here() < 0 ? undefined : { arrowdown: "j", arrowup: "k" }[key];
    const act =
      key === "?" ? explain : rows().length && LIST[arrow || key] ? LIST[arrow || key][1] : buttons().find((one) => one.accessKey.toLowerCase() === key);
    if (!act) return;
    event.preventDefault();
    if (typeof act === "function") act();
    else act.click();
  };

  document.addEventListener("DOMContentLoaded", () => {
    if (!document.querySelector("[accesskey], #result_list a.kw-what")) return;
    document.addEventListener("keydown", press);
    const button = document.createElement("button");
    button.className = "kw-small kw-keys-button";
    button.textContent = "Keys";
    button.setAttribute("aria-haspopup", "dialog");
    button.addEventListener("click", explain);
    document.querySelector("#header-inner")?.appendChild(button);
  });
}
