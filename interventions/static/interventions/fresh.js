/*
 * Keep a page's part equal to the database: it is read again when the stream tells of one of its topics (streams.js), and from
 * time to time while there is no stream. Nothing moves under the hand of whoever is in it: it waits until they have left.
 *
 * <div id="kw-fresh" data-topics="…" data-about="ID" data-form="ID OF A FORM">: of events about this one alone, and at once; the
 * form's fields follow, too, but for what somebody is typing.
 */
"use strict";
{
  const AWAY_MS = 30000;
  const AGAIN_MS = 3000;
  const part = () => document.querySelector("#kw-fresh");
  const { topics = "", about = "", form = "" } = part()?.dataset ?? {};
  // What is about everybody comes often: then a page is not read anew for each.
  const [SOON_MS, BETWEEN_MS] = about ? [20, 250] : [300, 3000];
  const CROWD_MS = 1000;
  const isOurs = (topic, id) => topic === "resync" || (topics.split(" ").includes(topic) && (!about || id === null || id === about));
  const isInUse = () => part().contains(document.activeElement) || part().querySelector("details[open]") !== null;
  let readAt = Date.now();
  let timer = 0;
  let isOld = false;
  let isReading = false;

  const read = async () => {
    timer = 0;
    isOld = true;
    // One after the other: an answer that is slow must not come over a newer one.
    if (document.hidden || isInUse() || isReading) return;
    isOld = false;
    isReading = true;
    readAt = Date.now();
    const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error", headers: { "X-Look": "1" } }).catch(() => null);
    const text = answer?.ok ? await answer.text().catch(() => "") : "";
    isReading = false;
    if (text) shown(new DOMParser().parseFromString(text, "text/html"));
    // What could not be read is read later; without a stream the next look comes by itself.
    else if (document.documentElement.dataset.stream === "live") soon(AGAIN_MS);
    if (isOld) soon();
  };
  const shown = (page) => {
    const fresh = page.querySelector("#kw-fresh");
    if (!fresh) return;
    if (isInUse()) isOld = true;
    else part().replaceWith(document.adoptNode(fresh));
    if (form) followed(document.getElementById(form), page.getElementById(form));
  };
  const soon = (wait = SOON_MS) => {
    if (!timer) timer = setTimeout(read, Math.max(wait, readAt + BETWEEN_MS - Date.now()));
  };
  // Beside each field stands, hidden, what it showed: what differs from that was typed, and stays as it is.
  const followed = (now, fresh) => {
    if (!now || !fresh) return;
    for (const hidden of now.querySelectorAll("input[type=hidden][name^=initial-]")) {
      const name = hidden.name.slice("initial-".length);
      const [field, theirs, initial] = [now.elements[name], fresh.elements[name], fresh.elements[hidden.name]];
      if (!initial || !theirs || initial.value === hidden.value || field.value !== hidden.value) continue;
      hidden.value = initial.value;
      field.value = theirs.value;
    }
    for (const one of now.querySelectorAll("[class*=field-] .readonly")) {
      const row = [...one.closest("[class*=field-]").classList].find((word) => word.startsWith("field-"));
      const theirs = fresh.querySelector(`.${row} .readonly`);
      if (theirs && theirs.textContent !== one.textContent) one.replaceChildren(...theirs.childNodes);
    }
  };

  if (part()) {
    document.addEventListener("keepwell:event", ({ detail: { topic, id } }) => {
      // Where many are meant their pages do not all ask at one moment.
      if (isOurs(topic, id)) soon(about && id === null && topic !== "resync" ? Math.random() * CROWD_MS : SOON_MS);
    });
    document.addEventListener("focusout", () => isOld && soon());
    document.addEventListener("toggle", () => isOld && soon(), true);
    document.addEventListener("visibilitychange", () => isOld && soon());
    setInterval(() => document.documentElement.dataset.stream !== "live" && soon(), AWAY_MS);
  }
}
