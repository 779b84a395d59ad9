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
      one.hidden = !Object.entries(when).every(([name, values]) => values.includes(valueOf(name)));
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

// A job's page follows it.
function followJob() {
  const page = document.getElementById("job");
  if (!page || page.dataset.ended === "true") return;
  const list = document.getElementById("lines");
  const progress = document.getElementById("progress");
  const outcome = document.getElementById("outcome");
  const source = new EventSource("/jobs/" + page.dataset.job + "/events?from=" + page.dataset.lines);
  for (const kind of ["step", "note", "problem"]) {
    source.addEventListener(kind, (e) => addLine(list, JSON.parse(e.data)));
  }
  source.addEventListener("progress", (e) => { progress.textContent = JSON.parse(e.data).text; });
  source.addEventListener("end", (e) => {
    const line = JSON.parse(e.data);
    source.close();
    outcome.textContent = line.text;
    outcome.className = "message " + (line.ok ? "good" : "bad");
    outcome.hidden = false;
    page.dataset.ended = "true";
    const stop = document.getElementById("stop");
    if (stop) stop.hidden = true;
    document.getElementById("after").hidden = false;
  });
}

watchSettings();
followJob();
const wrong = document.querySelector("[aria-invalid=true], .message.bad[tabindex]");
if (wrong) wrong.focus();
