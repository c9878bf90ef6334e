/*
 * While a retry is under way, look whether it has come to an end, and put the answer in place without reloading: when the
 * stream tells of it (streams.js), and from time to time, more often while there is no stream.
 */
"use strict";
{
  const EVERY_MS = 3000;
  const LIVE_MS = 15000;
  const SOON_MS = 200;
  const MOST_LOOKS = 400; // far more than ten minutes' worth: a retry without an answer lapses by then
  const item = () => document.querySelector("#kw-item");
  const news = document.querySelector("#kw-news");
  let looks = 0;
  let next = 0;
  let isLooking = false;

  const show = (fresh) => {
    const hadFocus = item().contains(document.activeElement);
    item().replaceWith(fresh);
    const headline = item().querySelector("#kw-headline");
    const state = item().querySelector(".kw-state");
    news.textContent = `${item().dataset.ended || "The retry has ended."} ${state.textContent}.`;
    if (hadFocus) headline.focus();
  };

  const look = async () => {
    if (document.hidden) return false;
    looks += 1;
    const answer = await fetch(location.href, { credentials: "same-origin", headers: { "X-Look": "1" } });
    if (!answer.ok) return false;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#kw-item");
    if (!fresh) {
      location.reload(); // signed out meanwhile
      return true;
    }
    if (fresh.hasAttribute("data-waiting")) {
      // A run's numbers move while it goes on; nobody who is about to press a button there loses it.
      if (fresh.hasAttribute("data-live") && !item().contains(document.activeElement)) item().replaceWith(document.adoptNode(fresh));
      return false;
    }
    show(document.adoptNode(fresh));
    return true;
  };

  const plan = (milliseconds) => {
    clearTimeout(next);
    next = setTimeout(watch, milliseconds);
  };

  const watch = async () => {
    if (isLooking) return plan(SOON_MS);
    isLooking = true;
    const isOver = await look().catch(() => false); // away for a moment: the next look finds out
    isLooking = false;
    if (isOver || looks >= MOST_LOOKS) next = -1;
    else plan(document.documentElement.dataset.stream === "live" ? LIVE_MS : EVERY_MS);
  };

  if (item()?.hasAttribute("data-waiting")) {
    plan(EVERY_MS);
    document.addEventListener("keepwell:event", ({ detail: { topic, id } }) => {
      const isOurs = topic === "resync" || id === null || location.pathname.includes(id);
      if (isOurs && next !== -1) plan(SOON_MS);
    });
    document.addEventListener("keepwell:stream", ({ detail }) => detail === "away" && next !== -1 && plan(EVERY_MS));
  }
}
