"use strict";

// Settings that matter only with certain values of others are hidden otherwise.
function watchSettings() {
  const dependent = document.querySelectorAll("[data-when]");
  const valueOf = (name) => {
    const input = document.getElementById("f-" + name.replaceAll(".", "-"));
    if (!input) return "";
    return input.type === "checkbox" ? String(input.checked) : input.value || input.dataset.default || "";
  };
  const update = () => {
    for (const one of dependent) {
      const when = JSON.parse(one.dataset.when);
      one.hidden = !one.querySelector(".wrong") && !Object.entries(when).every(([name, values]) => values.includes(valueOf(name)));
    }
  };
  document.addEventListener("input", update);
  update();
}

function element(kind, className, text) {
  const made = document.createElement(kind);
  made.className = className;
  made.textContent = text;
  return made;
}

// One line of a job, as the server writes it into the page too.
function addLine(list, line) {
  if (line.kind === "step") {
    const item = element("li", line.step.status, "");
    item.append(element("strong", "", line.step.name), " " + line.step.status + (line.step.took ? ", " + line.step.took : ""));
    for (const part of ["detail", "error", "hint"]) {
      if (line.step[part]) item.append(element("p", part, line.step[part]));
    }
    list.append(item);
  } else if (line.kind !== "end") {
    list.append(element("li", line.kind, line.text));
  }
}

// A job's page follows it: only while it can be seen, since a browser has few connections to one server.
function followJob() {
  const page = document.getElementById("job");
  if (!page || page.dataset.ended === "true") return;
  const [list, progress, spoken, outcome, lost] = ["lines", "progress", "spoken", "outcome", "lost"].map((id) => document.getElementById(id));
  let source = null;
  let next = Number(page.dataset.lines);
  let lastSpoken = Date.now();

  const onLine = (e) => {
    next++;
    addLine(list, JSON.parse(e.data));
  };
  const onProgress = (e) => {
    progress.textContent = JSON.parse(e.data).text;
    if (Date.now() - lastSpoken > 15000) { // a screen reader is not to talk all the time
      lastSpoken = Date.now();
      spoken.textContent = progress.textContent;
    }
  };
  const onEnd = (e) => {
    const line = JSON.parse(e.data);
    source.close();
    page.dataset.ended = "true";
    outcome.textContent = line.text;
    outcome.className = "message " + (line.ok ? "good" : "bad");
    const stop = document.getElementById("stop");
    const after = document.getElementById("after");
    after.hidden = false;
    if (stop.contains(document.activeElement)) after.querySelector("a").focus();
    stop.hidden = true;
  };
  const follow = () => {
    if (source) source.close();
    if (document.hidden || page.dataset.ended === "true") return;
    source = new EventSource("/jobs/" + page.dataset.job + "/events?from=" + next);
    for (const kind of ["step", "note", "problem"]) source.addEventListener(kind, onLine);
    source.addEventListener("progress", onProgress);
    source.addEventListener("end", onEnd);
    source.onopen = () => { lost.hidden = true; };
    source.onerror = () => { lost.hidden = false; };
  };
  document.addEventListener("visibilitychange", follow);
  follow();
}

watchSettings();
followJob();
const wrong = document.querySelector("[aria-invalid=true], .message.bad[tabindex]");
if (wrong) wrong.focus();
