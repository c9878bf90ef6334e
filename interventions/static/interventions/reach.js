/* What the skin offers to a pointer alone becomes buttons, which keys reach and screen readers name. */
"use strict";
{
  // What the skin does on a press, the name where it shows an icon alone, and what opens.
  const PRESSED = [
    ["sidebarDesktopOpen = !", "Show or hide the menu", ""],
    ["sidebarMobileOpen = !", "Menu", "div:has(> div > #nav-sidebar)"],
    ["openUserLinks = !", "", "nav:has(> div > #logout-form)"],
    ["switchTheme(", "", ""],
    ["openTheme = !", "Light or dark", "[x-show=openTheme]"],
    ["adminTheme = ", "", ""],
    ["filterOpen = true", "", "#changelist-filter"],
    ["showPassword = !", "Show or hide the password", ""],
  ];
  const REACHED = "a[href], button, input:not([type=hidden]), select, [tabindex='0']";
  let opener = null;

  const isSeen = (one) => one.checkVisibility();
  const inside = (one) => document.querySelector(one.dataset.opens || null);

  // Whether it stands open is said, and a key's press leads on into it once the skin shows it.
  const follow = (one) => {
    const isOpen = isSeen(inside(one));
    if (isOpen === (one.getAttribute("aria-expanded") === "true")) return;
    one.setAttribute("aria-expanded", isOpen);
    if (!isOpen || document.activeElement !== one) return;
    opener = one;
    [...inside(one).querySelectorAll(REACHED)].find(isSeen)?.focus();
  };

  const reach = (one, name, opens) => {
    one.tabIndex = 0;
    one.setAttribute("role", "button");
    if (name) one.setAttribute("aria-label", name);
    one.dataset.opens = opens;
    if (inside(one)) {
      one.setAttribute("aria-expanded", isSeen(inside(one)));
      new MutationObserver(() => follow(one)).observe(inside(one), { attributeFilter: ["class", "style"] });
    }
    one.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      one.click();
    });
  };

  // Escape leads back out. The skin closes its filters by itself.
  const leave = (event) => {
    if (event.key !== "Escape" || !opener || !inside(opener).contains(document.activeElement)) return;
    if (opener.dataset.opens !== "#changelist-filter") opener.click();
    opener.focus();
    opener = null;
  };

  document.addEventListener("DOMContentLoaded", () => {
    for (const [words, name, opens] of PRESSED)
      for (const one of document.querySelectorAll(`[x-on\\:click^="${words}"]`)) reach(one, name, opens);
    document.addEventListener("keydown", leave);
  });
}
