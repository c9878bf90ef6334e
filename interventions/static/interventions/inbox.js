/*
 * Say how many have come since the list was read: when the stream tells of some (streams.js), and from time to time, more often
 * while there is no stream. The list itself stays as it is until somebody asks for the new ones.
 */
"use strict";
{
  const EVERY_MS = 10000;
  const LIVE_MS = 60000;
  const SOON_MS = 500;
  const KEPT = "kw-inbox-selection";
  const boxes = () => [...document.querySelectorAll("#result_list .action-select")];

  const look = async (news) => {
    if (document.hidden) return;
    const answer = await fetch(news.dataset.url, { credentials: "same-origin", redirect: "error", headers: { "X-Look": "1" } });
    if (!answer.ok) return;
    const { text } = await answer.json();
    const said = news.querySelector("span");
    if (said.textContent === text) return; // said once is enough
    said.textContent = text;
    news.querySelector("a").hidden = !text;
  };

  // What was selected stays selected, and the list where it was, when the new ones are shown.
  const keep = () => {
    const selected = boxes().filter((box) => box.checked).map((box) => box.value);
    sessionStorage.setItem(KEPT, JSON.stringify({ at: location.href, selected, y: scrollY }));
  };
  const restore = () => {
    const { at, selected, y } = JSON.parse(sessionStorage.getItem(KEPT) || "{}");
    sessionStorage.removeItem(KEPT);
    if (at !== location.href) return;
    for (const box of boxes()) if (selected.includes(box.value) && !box.checked) box.click();
    scrollTo(0, y);
  };

  // The admin puts its scripts into the head, before there is anything to look for.
  document.addEventListener("DOMContentLoaded", () => {
    const news = document.querySelector("#kw-new");
    if (!news) return;
    let next = 0;
    const plan = (milliseconds) => {
      clearTimeout(next);
      next = setTimeout(async () => {
        await look(news).catch(() => {}); // away for a moment, or signed out: the next look finds out
        plan(document.documentElement.dataset.stream === "live" ? LIVE_MS : EVERY_MS);
      }, milliseconds);
    };
    let soon = 0;
    const hear = () => {
      if (Date.now() < soon) return; // one look for many
      soon = Date.now() + SOON_MS;
      plan(SOON_MS);
    };
    plan(EVERY_MS);
    document.addEventListener("keepwell:event", ({ detail: { topic } }) => {
      if (topic === "intervention.updated" || topic === "resync") hear();
    });
    document.addEventListener("visibilitychange", () => document.hidden || hear());
    document.addEventListener("keepwell:stream", ({ detail }) => detail === "away" && plan(EVERY_MS));
    news.querySelector("a").addEventListener("click", keep);
  });
  addEventListener("load", restore);
}
