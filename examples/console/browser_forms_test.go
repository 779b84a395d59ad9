package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The form of each driver, as somebody sees it: nothing that cannot be used, and every field with its label. A field that
// matters only with certain values of another is there when the other has one, and only then.
func TestBrowserFormOfEachDriver(t *testing.T) {
	r, v := newRig(t), newVisitor(t)
	v.do("opening the console", chromedp.Navigate(r.address))
	v.press("New connection")
	links := ask[[]string](v, "reading the kinds", `[...document.querySelectorAll("main li a")].map(a => a.getAttribute("href"))`)
	if len(links) != len(titles) {
		t.Errorf("the page offers %d kinds, want %d: %v", len(links), len(titles), links)
	}
	dependent := 0
	for _, link := range links {
		name := strings.TrimPrefix(link, "/new/")
		v.do("opening "+link, chromedp.Navigate(r.base+link))
		if text := ask[string](v, "looking for fields without a label", `[...document.querySelectorAll(
			"main form [name^='s.'], main #name")].filter(i => !i.labels.length || !i.labels[0].textContent.trim()).map(i => i.name).join()`); text != "" {
			t.Errorf("%s: no label: %s", name, text)
		}
		shown := ask[int](v, "counting fields", `document.querySelectorAll("main form [name^='s.']").length`)
		if want := len(formOf(t, name, "").fields()); shown != want {
			t.Errorf("%s: %d fields, want %d", name, shown, want)
		}
		ask[bool](v, "opening more settings", `document.querySelector("details").open = true`)
		v.look("form-" + name)
		for _, one := range formOf(t, name, "").fields() {
			if one.When == "" {
				continue
			}
			dependent++
			// Each of the fields that it depends on is set to a value that fits, and then the first to one that does not.
			wrong := ask[string](v, "switching "+one.Name, fmt.Sprintf(`(() => {
				const field = document.getElementById(%q).closest(".field");
				const set = (name, value) => {
					const input = document.getElementById("f-" + name.replaceAll(".", "-"));
					if (input.type === "checkbox") input.checked = value === "true";
					else if (input.tagName === "SELECT") {
						const fits = [...input.options].find(o => o.value === value) || [...input.options].find(o => o.value === "" && input.dataset.default === value);
						if (fits) input.value = fits.value; else input.value = "";
					} else input.value = value;
					input.dispatchEvent(new Event("input", {bubbles: true}));
				};
				const when = Object.entries(%s);
				for (const [name, values] of when) set(name, values[0]);
				if (field.hidden) return "is hidden where it matters";
				const [name, values] = when[0];
				const input = document.getElementById("f-" + name.replaceAll(".", "-"));
				const other = input.type === "checkbox" ? ["true", "false"].find(v => !values.includes(v)) :
					input.tagName === "SELECT" ? [...input.options].map(o => o.value || input.dataset.default).find(v => !values.includes(v)) : "something else";
				if (other === undefined) return "";
				set(name, other);
				return field.hidden ? "" : "is shown where it does not matter: " + name + "=" + other;
			})()`, one.ID, one.When))
			if wrong != "" {
				t.Errorf("%s: %s %s", name, one.Name, wrong)
			}
		}
	}
	if dependent == 0 {
		t.Error("no field depends on another, so nothing was tested")
	}
	if wrong := v.complaints(); wrong != "" {
		t.Errorf("the browser complains:\n%s", wrong)
	}
}

// A job's page tells what happens while it happens, each thing once, and where the focus was on Stop it does not get lost. A
// console that is gone is told of.
func TestBrowserFollowsAJob(t *testing.T) {
	r, v := newRig(t), newVisitor(t)
	v.do("opening the console", chromedp.Navigate(r.address))
	j, lines := r.begin("run", r.keep(here, "Journal"))
	lines <- line{Kind: "note", OK: true, Text: "before the page"}
	v.do("opening the run", chromedp.Navigate(r.base+"/jobs/"+j.ID))
	for i := range 3 {
		lines <- line{Kind: "progress", OK: true, Text: fmt.Sprintf("%d stored", i)}
		v.wait("progress", fmt.Sprintf("%d stored", i))
	}
	lines <- line{Kind: "problem", Text: "<b>it</b> cannot be read"}
	v.wait("a problem", "<b>it</b> cannot be read")
	v.look("running")
	ask[bool](v, "hiding the page", `Object.defineProperty(document, "hidden", {value: true, configurable: true}); document.dispatchEvent(new Event("visibilitychange"))`)
	lines <- line{Kind: "note", OK: true, Text: "while hidden"}
	ask[bool](v, "showing it again", `delete document.hidden; document.dispatchEvent(new Event("visibilitychange"))`)
	v.wait("what came meanwhile", "while hidden")
	if got := ask[string](v, "reading the lines", `[...document.querySelectorAll("#lines li")].map(li => li.textContent).join("|")`); got != "before the page|<b>it</b> cannot be read|while hidden" {
		t.Errorf("the page says %q", got)
	}
	ask[bool](v, "going to Stop", `document.querySelector("#stop button").focus(); true`)
	close(lines)
	v.wait("the end", "All is done.")
	if got := ask[string](v, "looking for the focus", `document.activeElement.textContent + document.getElementById("stop").hidden`); got != "The settingstrue" {
		t.Errorf("the focus is at %q", got)
	}
	if wrong := v.complaints(); wrong != "" {
		t.Errorf("the browser complains:\n%s", wrong)
	}

	j, _ = r.begin("test", r.keep(here, "Another"))
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/events") {
			panic(http.ErrAbortHandler)
		}
		if strings.HasPrefix(q.URL.Path, "/assets/") {
			http.FileServerFS(files{}).ServeHTTP(w, q)
			return
		}
		r.show(w, http.StatusOK, "job.html", page{Title: j.Title, Data: j.view()})
	}))
	defer gone.Close()
	v.do("opening a test", chromedp.Navigate(gone.URL+"/jobs/"+j.ID))
	v.wait("that the console is gone", "The console does not answer.")
}
