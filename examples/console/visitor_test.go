package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/mailconn/mailconn/internal/peertest"
)

// A deed is something that is done in a browser.
type deed = chromedp.Action[chromedp.Void]

// A visitor drives a browser.
type visitor struct {
	t   *testing.T
	ctx context.Context
	axe string
	dir string // downloads

	mu    sync.Mutex
	wrong []string // what the browser's console complains of
	pages []string // the text of all pages that were looked at
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	v := &visitor{t: t, axe: peertest.Axe(t), dir: t.TempDir()}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(peertest.Chromium(t)), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(2*time.Minute))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithListener(v.listen))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the browser lives as long as ctx
		t.Fatalf("starting the browser: %v", err)
	}
	v.ctx, cancel = context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(cancel)
	v.do("settling", chromedp.EmulateViewport(1100, 900), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		events := true
		_, err := chromedp.Call(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
			Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: v.dir, EventsEnabled: &events,
		})
		return err
	}))
	return v
}

// listen notes what the browser complains of.
func (v *visitor) listen(ev any) {
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		v.complain("exception: %s", ev.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError || ev.Type == runtime.ConsoleAPICalledTypeWarning {
			v.complain("console: %s", ev.Type)
		}
	case *cdplog.EventEntryAdded:
		// A form that is refused is answered with 422, which the browser notes.
		if ev.Entry.Level == cdplog.EntryLevelError && !strings.Contains(ev.Entry.Text, "422") {
			v.complain("log: %s %s", ev.Entry.Text, ev.Entry.URL)
		}
	}
}

func (v *visitor) complain(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wrong = append(v.wrong, fmt.Sprintf(format, args...))
}

// complaints returns them.
func (v *visitor) complaints() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return strings.Join(v.wrong, "\n")
}

func (v *visitor) do(what string, deeds ...deed) {
	v.t.Helper()
	if err := chromedp.Do(v.ctx, deeds...); err != nil {
		text, _ := chromedp.Run(v.ctx, chromedp.Text(chromedp.CSS("body"))) // for the message only
		v.t.Fatalf("%s: %v\n%s\n%s", what, err, v.complaints(), text)
	}
}

// ask runs an expression in the page.
func ask[T any](v *visitor, what, expression string, options ...chromedp.EvaluateOption) T {
	v.t.Helper()
	value, err := chromedp.Run(v.ctx, chromedp.Evaluate[T](expression, options...))
	if err != nil {
		v.t.Fatalf("%s: %v\n%s", what, err, v.complaints())
	}
	return value
}

// until waits until an expression is true in the page, whichever page that is by then.
func until(expression string) deed {
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
		defer cancel()
		for {
			done, err := chromedp.Evaluate[bool](expression)(ctx, target)
			if err == nil && done {
				return chromedp.Void{}, nil
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return chromedp.Void{}, errors.Join(fmt.Errorf("%s: %w", expression, ctx.Err()), err)
			}
		}
	}
}

// leave does something that loads another page, and waits for it.
func (v *visitor) leave(what string, deeds ...deed) {
	v.t.Helper()
	ask[bool](v, what, `window.old = true`)
	v.do(what, deeds...)
	v.do(what, until(`!window.old && document.readyState === "complete"`))
}

func (v *visitor) press(button string) {
	v.t.Helper()
	v.leave("pressing "+button, chromedp.Click(chromedp.Search(fmt.Sprintf(`//main//button[normalize-space()=%[1]q] | //main//a[normalize-space()=%[1]q]`, button))))
}

func (v *visitor) fill(id, text string) {
	v.t.Helper()
	v.do("filling in "+id, chromedp.SetValue(chromedp.CSS("#"+id), text))
}

func (v *visitor) text() string {
	v.t.Helper()
	return ask[string](v, "reading the page", `document.querySelector("main").innerText`)
}

// wait waits until the page says something.
func (v *visitor) wait(what, text string) {
	v.t.Helper()
	v.do("waiting for "+what, until(fmt.Sprintf(`document.querySelector("main").innerText.includes(%q)`, text)))
}

// look judges a page as it is, in both widths.
func (v *visitor) look(name string) {
	v.t.Helper()
	v.mu.Lock()
	v.pages = append(v.pages, ask[string](v, "reading "+name, `document.documentElement.outerHTML`))
	v.mu.Unlock()
	ask[int](v, "judging "+name, v.axe+";0")
	v.judge(name, `{resultTypes: ["violations"]}`)
	v.picture(name)
	v.do("darkening "+name, scheme("dark"))
	v.judge(name+" in the dark", `{resultTypes: ["violations"], runOnly: ["color-contrast"]}`)
	v.do("lighting "+name, scheme("light"))
	v.do("narrowing "+name, chromedp.EmulateViewport(380, 800))
	if width := ask[int](v, "measuring "+name, `document.documentElement.scrollWidth`); width > 380 {
		v.t.Errorf("%s: %d pixels wide on a telephone of 380", name, width)
	}
	v.picture(name + "-narrow")
	v.do("widening "+name, chromedp.EmulateViewport(1100, 900))
}

// judge looks for what people cannot use.
func (v *visitor) judge(name, options string) {
	v.t.Helper()
	violations := ask[string](v, "judging "+name, fmt.Sprintf(`axe.run(document, %s).then(r => JSON.stringify(r.violations.filter(
		v => v.impact === "serious" || v.impact === "critical").map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html)}))))`, options), chromedp.EvalAwaitPromise)
	if violations != "[]" {
		v.t.Errorf("%s: people cannot use this: %s", name, violations)
	}
}

// scheme is what the visitor's system prefers: "light" or "dark".
func scheme(value string) deed {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}},
		})
		return err
	})
}

func (v *visitor) picture(name string) {
	if *screenshots == "" {
		return
	}
	png, err := chromedp.Run(v.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o600)
	}
	if err != nil {
		v.t.Error(err)
	}
}

// download presses a link and returns the file that comes.
func (v *visitor) download(link string) []byte {
	v.t.Helper()
	progress := chromedp.Events(v.ctx, browser.DownloadProgress)
	v.do("downloading", chromedp.Click(chromedp.Search(fmt.Sprintf(`//main//a[normalize-space()=%q]`, link))))
	for ev, err := range progress {
		if err != nil {
			v.t.Fatalf("downloading: %v", err)
		}
		if ev.State == browser.DownloadProgressStateCompleted {
			break
		}
	}
	files, err := filepath.Glob(filepath.Join(v.dir, "*.eml"))
	if err != nil || len(files) != 1 {
		v.t.Fatalf("downloaded %v, %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		v.t.Fatal(err)
	}
	return raw
}
