// Live updates, shortcuts, masks and the choice of light or dark. Every page works without it.

const root = document.documentElement;

// A part of the page that the server makes anew: asked for while somebody looks, and only
// exchanged where it changed (304 else).
function keepLive(part) {
  const said = document.querySelector("[data-live-said]");
  let tag = "";
  let isAway = false;
  const ask = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(part.dataset.live, {
        headers: tag ? { "If-None-Match": tag } : {},
        credentials: "same-origin",
        redirect: "error",
      });
      if (answer.status === 200) exchange(part, await answer.text(), tag !== "");
      if (answer.ok) tag = answer.headers.get("ETag") ?? "";
      if (isAway && said) said.textContent = "live again";
      isAway = !(answer.ok || answer.status === 304);
    } catch {
      isAway = true;
    }
    if (isAway && said) said.textContent = "not live: the node does not answer, or you are logged out";
  };
  const exchange = (where, text, tell) => {
    const fresh = document.createElement("template");
    fresh.innerHTML = text;
    const focused = where.contains(document.activeElement) ? document.activeElement.id : "";
    where.replaceChildren(fresh.content);
    if (focused) document.getElementById(focused)?.focus();
    const sentence = where.querySelector("[data-sentence]")?.dataset.sentence;
    if (tell && said && sentence) said.textContent = sentence;
  };
  setInterval(ask, Number(part.dataset.every) * 1000);
  document.addEventListener("visibilitychange", ask);
  ask();
}

function toggleMasks() {
  const areHidden = document.body.classList.toggle("hide-masks");
  for (const button of document.querySelectorAll("[data-masks]")) {
    button.setAttribute("aria-pressed", String(!areHidden));
    button.querySelector("span").textContent = areHidden ? "Show masks" : "Hide masks";
  }
}

// A picture is a link to itself; here it grows in its place.
function grow(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  event.currentTarget.closest("figure").classList.toggle("big");
}

// One key, where the page names it in `data-key`; never while somebody writes (WCAG 2.1.4: they
// can be switched off).
const areOff = () => localStorage.getItem("desk-shortcuts") === "off";

function onKey(event) {
  const isWriting = event.target.closest("input:not([type=radio],[type=checkbox]), textarea, select");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && isWriting?.form) {
    isWriting.form.requestSubmit();
    return;
  }
  if (areOff() || isWriting || event.ctrlKey || event.metaKey || event.altKey) return;
  const found = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!found) return;
  event.preventDefault();
  found.click();
  if (found.type === "radio") document.querySelector("[data-after-choice]")?.focus();
}

function setUpShortcuts() {
  document.addEventListener("keydown", onKey);
  const box = document.querySelector("[data-shortcuts]");
  if (!box) return;
  box.closest("label").hidden = false;
  box.checked = !areOff();
  box.addEventListener("change", () =>
    localStorage.setItem("desk-shortcuts", box.checked ? "on" : "off"),
  );
}

function setUpTheme() {
  const button = document.querySelector("[data-theme-button]");
  if (!button) return;
  const isDark = () =>
    root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
  button.hidden = false;
  button.addEventListener("click", () => {
    const wanted = isDark() ? "light" : "dark";
    root.dataset.theme = wanted;
    document.cookie = `desk_theme=${wanted}; path=/desk; max-age=31536000; samesite=strict`;
  });
}

for (const part of document.querySelectorAll("[data-live]")) keepLive(part);
for (const button of document.querySelectorAll("[data-masks]")) {
  button.hidden = false;
  button.addEventListener("click", toggleMasks);
}
for (const link of document.querySelectorAll("[data-grows]")) {
  link.addEventListener("click", grow);
}
setUpShortcuts();
setUpTheme();
