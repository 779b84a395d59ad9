package connection_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"text/template"

	"github.com/mailconn/mailconn/connection"
)

const canary = "c4n4ry-pa55w0rd"

type holder struct {
	Exported   connection.Secret
	unexported connection.Secret
	Pointer    *connection.Secret
	Any        any
	Slice      []connection.Secret
	Map        map[string]connection.Secret
	inner      struct{ deep connection.Secret }
}

type boxed struct{ S connection.Secret }

func TestSecretDoesNotPrint(t *testing.T) {
	s := connection.NewSecret(canary)
	h := holder{s, s, &s, s, []connection.Secret{s}, map[string]connection.Secret{"k": s}, struct{ deep connection.Secret }{s}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T", "%10.3s", "%c", "%U", "%e", "%o"} {
		for _, v := range []any{s, &s, h, &h, h.Slice, h.Map, fmt.Errorf("wrapped %v: %w", s, errors.New("x"))} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	fmt.Fprintln(&out, s, h, &h, h.unexported, h.inner)
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).With("secret", s).Info("x", "s", s, "h", h, "p", &h, "any", any(s))
	}
	for _, v := range []any{s, &s, h, connection.Settings{}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		out.Write(text)
	}
	text, err := xml.Marshal(boxed{s})
	if err != nil {
		t.Error(err)
	}
	out.Write(text)
	if err := gob.NewEncoder(&out).Encode(boxed{s}); err != nil {
		t.Error(err)
	}
	if err := template.Must(template.New("").Parse(`{{.}} {{.Exported}} {{printf "%v" .}} {{printf "%s" .Exported}}`)).Execute(&out, h); err != nil {
		t.Error(err)
	}
	func() {
		defer func() { fmt.Fprintf(&out, "%v %#v", recover(), s) }()
		panic(h)
	}()
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("the secret was printed:\n%s", out.String())
	}
	if s.Reveal() != canary {
		t.Errorf("Reveal() = %q, want the secret", s.Reveal())
	}
	if got := fmt.Sprint(s); got != "[redacted]" {
		t.Errorf("Sprint = %q, want [redacted]", got)
	}
}

func TestSecretIn(t *testing.T) {
	var s connection.Secret
	if err := json.Unmarshal([]byte(`"`+canary+`"`), &s); err != nil || s.Reveal() != canary {
		t.Errorf("got %q, err %v", s.Reveal(), err)
	}
	for _, in := range []string{`"[redacted]"`, `{"a":"` + canary + `"}`, `12345`} {
		err := json.Unmarshal([]byte(in), &s)
		if err == nil || strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "12345") {
			t.Errorf("%s: err = %v, want one that does not quote the value", in, err)
		}
	}
	if err := s.UnmarshalText([]byte("[redacted]")); err == nil {
		t.Error("UnmarshalText took [redacted]")
	}
	var empty connection.Secret
	if !empty.IsZero() || empty.Reveal() != "" || fmt.Sprint(empty) != "" || !connection.NewSecret("").IsZero() {
		t.Error("the zero Secret is not empty")
	}
}
