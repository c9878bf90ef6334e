/* Say how many have come since the list was read. The list itself stays as it is until somebody asks for the new ones. */
"use strict";
{
  const EVERY_MS = 10000;

  const look = async (news) => {
    if (document.hidden) return;
    const answer = await fetch(news.dataset.url, { credentials: "same-origin", redirect: "error" });
    if (!answer.ok) return;
    const { text } = await answer.json();
    const said = news.querySelector("span");
    if (said.textContent === text) return; // said once is enough
    said.textContent = text;
    news.querySelector("a").hidden = !text;
  };

  // The admin puts its scripts into the head, before there is anything to look for.
  document.addEventListener("DOMContentLoaded", () => {
    const news = document.querySelector("#kw-new");
    // Away for a moment, or signed out: the next look finds out.
    if (news) setInterval(() => look(news).catch(() => {}), EVERY_MS);
  });
}
