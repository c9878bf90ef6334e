/*
 * What is new, as it happens: one tab of a browser holds the stream of events and passes each on to the others.
 *
 * A page includes it with <script src="…/streams.js" data-person="ID OF WHO IS SIGNED IN" defer></script> and listens:
 *
 *   document.addEventListener("keepwell:event", ({ detail: { topic, id, revision } }) => …)
 *
 * An event is a hint and carries no values: ask the server how it is now. `topic` is what docs/streams.md lists, `id` whom or
 * what it is about as text, or null: many at once, so look after a random moment. `revision` is the write's number: who has
 * read that one or a later one has seen it. With the topic "resync" events may have been missed, as whenever the stream
 * (re)opens, also for the first time in a page: read everything again that the page shows.
 *
 * <html data-stream> says how it is: "live", "away" (it comes back by itself; until then look now and then) or "ended"
 * (another person is signed in here now). "keepwell:stream" on document tells of each change, `detail` is that word.
 */
"use strict";
{
  const { person, url = "/api/v1/events/" } = document.currentScript.dataset;
  const NAME = `keepwell:stream:${person}`;
  const LEAST_MS = 1000;
  const MOST_MS = 60000;
  const root = document.documentElement;
  const tabs = new BroadcastChannel(NAME);
  let source = null; // in the one tab that holds the stream
  let last = ""; // the newest event that this tab has heard of: whoever takes over goes on there
  let wait = LEAST_MS;
  let again = 0;
  let end = () => {};

  const tell = (topic, id = null, revision = null) =>
    document.dispatchEvent(new CustomEvent("keepwell:event", { detail: { topic, id, revision } }));

  const stand = (word) => {
    if (root.dataset.stream === word) return;
    root.dataset.stream = word;
    document.dispatchEvent(new CustomEvent("keepwell:stream", { detail: word }));
    if (word === "live") tell("resync");
  };

  const hear = ({ state, event, id }) => {
    last = id || last;
    if (state) stand(state);
    if (event) tell(event.topic, event.id, event.revision);
  };

  const pass = (message) => {
    hear(message);
    tabs.postMessage(message);
  };

  const open = () => {
    clearTimeout(again);
    source?.close();
    source = new EventSource(last ? `${url}?last_event_id=${last}` : url, { withCredentials: true });
    source.addEventListener("ready", ({ data, lastEventId }) => {
      wait = LEAST_MS;
      if (String(JSON.parse(data).id) === person) pass({ state: "live", id: lastEventId });
      else end();
    });
    source.addEventListener("resync", ({ lastEventId }) => pass({ event: { topic: "resync" }, id: lastEventId }));
    source.addEventListener("message", ({ data, lastEventId }) => pass({ event: JSON.parse(data), id: lastEventId }));
    source.addEventListener("error", () => {
      pass({ state: "away" });
      if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again, and says where it was
      again = setTimeout(open, wait * (0.5 + Math.random()));
      wait = Math.min(MOST_MS, wait * 2);
    });
  };

  // Until the tab is closed, or the stream turns out to be somebody else's.
  const own = () =>
    new Promise((done) => {
      end = () => {
        source.close();
        source = null;
        hear({ state: "ended" });
        done();
      };
      open();
    });

  tabs.addEventListener("message", ({ data }) => {
    if (!data.asks) return hear(data);
    if (source?.readyState === EventSource.CLOSED) open(); // a page came: somebody may be signed in again
    else if (source) tabs.postMessage({ state: root.dataset.stream, id: last });
  });
  addEventListener("online", () => source?.readyState === EventSource.CLOSED && open());
  addEventListener("pageshow", ({ persisted }) => persisted && tell("resync"));

  if (person) {
    root.dataset.stream = "away";
    tabs.postMessage({ asks: true });
    // Without locks, as on plain HTTP from another machine, each tab holds a stream of its own.
    if (navigator.locks) navigator.locks.request(NAME, own);
    else own();
  }
}
