/* The therapist's pages work without this: it keeps one press from being two, and shows a picture before it is sent. */
"use strict";

const CHOOSE_ANOTHER = "Choose another one.";

/* One press, one request; a page that is come back to can be used again. */
function pressedOnce() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "yes";
    event.submitter?.classList.add("busy");
    // What cannot be told by an answer within ten seconds is no spinner's business: the browser itself shows that it waits.
    setTimeout(() => freed(form), 10000);
  });
  addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach(freed));
}

function freed(form) {
  delete form.dataset.sent;
  form.querySelectorAll(".busy").forEach((one) => one.classList.remove("busy"));
}

/* What was said is announced although it was there from the start, and what went wrong gets the focus. */
function announced() {
  const said = document.querySelector(".said");
  if (said?.children.length) {
    const lines = [...said.children];
    said.replaceChildren();
    requestAnimationFrame(() => said.append(...lines));
  }
  document.querySelector(".note.error[tabindex]")?.focus();
}

function picture(form) {
  const input = form.elements.image, wrong = document.getElementById("image-error");
  const say = (text) => {
    wrong.textContent = text;
    wrong.hidden = !text;
    input.toggleAttribute("aria-invalid", Boolean(text));
  };
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (!file) return;
    if (file.size > Number(form.dataset.most)) {
      say(`This picture is too large. ${CHOOSE_ANOTHER}`);
      input.value = "";
      return;
    }
    say("");
    const reader = new FileReader();
    reader.addEventListener("load", () => preview(String(reader.result)));
    reader.readAsDataURL(file);
  });
  form.addEventListener("reset", () => { delete document.getElementById("portrait").dataset.held; });
}

function preview(address) {
  const now = document.getElementById("now"), image = new Image(112, 112);
  image.addEventListener("load", () => {
    now.replaceWith(image);
    // Nothing that the server shows takes its place before it is sent.
    image.closest("[data-fresh]").dataset.held = "yes";
  });
  image.id = "now";
  image.className = "picture new";
  image.alt = "Your new picture, not saved yet";
  image.src = address;
}

/* Whoever has chosen no zone reads times in that of the browser. */
function localised() {
  const day = { day: "numeric", month: "short", year: "numeric" };
  const words = { day, moment: { ...day, hour: "2-digit", minute: "2-digit", timeZoneName: "short" } };
  for (const one of document.querySelectorAll("time[data-local]")) {
    one.textContent = new Date(one.dateTime).toLocaleString("en-GB", words[one.dataset.local]);
    one.title = new Date(one.dateTime).toLocaleString("en-GB", words.moment);
  }
}

/* The browser's own zone is offered to whoever has chosen none. */
function offered(select) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (select.value || ![...select.options].some((one) => one.value === zone)) return;
  select.value = zone;
  document.getElementById("zone-hint").prepend(`This browser is in ${zone}; you have chosen no zone yet. `);
}

pressedOnce();
localised();
document.addEventListener("sync:shown", localised);
document.querySelectorAll("select[data-zone]").forEach(offered);
announced();
document.querySelectorAll("form[data-picture]").forEach(picture);
