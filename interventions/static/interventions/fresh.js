/*
 * Keep a page's part equal to the database: it is read again when the stream tells of one of its topics (streams.js), and from
 * time to time while there is no stream. Nothing moves under the hand of whoever is in it: it waits until they have left.
 */
"use strict";
{
  const SOON_MS = 300;
  const BETWEEN_MS = 3000;
  const AWAY_MS = 30000;
  const part = () => document.querySelector("#kw-fresh");
  const topics = new Set(part()?.dataset.topics.split(" "));
  const isInUse = () => part().contains(document.activeElement) || part().querySelector("details[open]") !== null;
  let readAt = Date.now();
  let timer = 0;
  let isOld = false;

  const read = async () => {
    timer = 0;
    isOld = true;
    if (document.hidden || isInUse()) return;
    isOld = false;
    readAt = Date.now();
    const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error", headers: { "X-Look": "1" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#kw-fresh");
    if (!fresh) return;
    if (isInUse()) isOld = true;
    else part().replaceWith(document.adoptNode(fresh));
  };
  const soon = () => {
    if (!timer) timer = setTimeout(() => read().catch(() => {}), Math.max(SOON_MS, readAt + BETWEEN_MS - Date.now()));
  };

  if (part()) {
    document.addEventListener("keepwell:event", ({ detail: { topic } }) => {
      if (topics.has(topic) || topic === "resync") soon();
    });
    document.addEventListener("focusout", () => isOld && soon());
    document.addEventListener("toggle", () => isOld && soon(), true);
    document.addEventListener("visibilitychange", () => isOld && soon());
    setInterval(() => document.documentElement.dataset.stream !== "live" && soon(), AWAY_MS);
  }
}
