package objecttest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore"
)

// refusing checks every verb over connections that cannot work: the kind of the error, and that no request is repeated.
func (x *exam) refusing(open Opener, kind connection.Kind) {
	count := func(v verb, change func(*objectstore.Tuning)) (int, error) {
		s, l := x.openBy(open, change)
		var err error
		x.within(x.patience(), v.name, func() { err = v.do(x.ctx, s) })
		return len(l.passed()), err
	}
	for _, v := range verbs("some/key") {
		n, err := count(v, nil)
		x.want(v.name, err, kind)
		if one, _ := count(v, once); n != one {
			x.fail("%s took %d requests with 4 attempts permitted, and %d with one", v.name, n, one)
		}
	}
}

// blames checks that Test fails with the kind and names one of the settings in its hint.
func (x *exam) blames(open Opener, kind connection.Kind, settings ...string) {
	s, _ := x.openBy(open, nil)
	var report *connection.Report
	x.within(x.patience(), "Test", func() {
		var err error
		report, err = s.Test(x.ctx, nil)
		x.want("test", err, kind)
	})
	hint := ""
	for _, step := range report.Steps {
		if step.Status == connection.StatusFailed {
			hint = step.Hint
			break
		}
	}
	for _, name := range settings {
		if strings.Contains(strings.ToLower(hint), name) {
			return
		}
	}
	x.fail("the hint %q of the failed step does not name %s:\n%s", hint, strings.Join(settings, " or "), report)
}

func checkNoBucket(x *exam) {
	if x.h.NoBucket == nil {
		x.skip("the harness has no NoBucket")
	}
	x.refusing(x.h.NoBucket, connection.ErrConfig)
	x.blames(x.h.NoBucket, connection.ErrConfig, "bucket")
}

func checkDenied(x *exam) {
	if x.h.Denied == nil {
		x.skip("the harness has nobody who is Denied")
	}
	x.refusing(x.h.Denied, connection.ErrPermission)
}

func checkStrangers(x *exam) {
	if len(x.h.Strangers) == 0 {
		x.skip("the harness has no Strangers")
	}
	for name, open := range x.h.Strangers {
		x.refusing(open, connection.ErrAuth)
		x.blames(open, connection.ErrAuth, name, "identity") // a server need not tell which of the two is wrong
	}
}

// at opens a connection to a URL.
func (x *exam) at(url string, change func(*objectstore.Tuning)) (connection.ObjectStore, *line) {
	return x.openBy(func(t testing.TB, env *connection.Env, tuning objectstore.Tuning) connection.ObjectStore {
		return x.h.At(t, env, tuning, url)
	}, change)
}

func (x *exam) needAt() {
	if x.h.At == nil {
		x.skip("the harness has no At")
	}
}

// A mute is a fake that knows nothing.
type mute struct{ Server }

func (*mute) operations() []string { return nil }

func (*mute) operation(*http.Request) string { return "" }

func (*mute) serve(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

func (x *exam) mute(kind Certificate) *mute {
	m := &mute{}
	if err := m.start(ServerOptions{TLS: kind}, m); err != nil {
		x.stop("a server of the suite's own: %v", err)
	}
	x.atEnd(m.Close)
	return m
}

// atEnd has f called when the rule ends.
func (x *exam) atEnd(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ends = append(x.ends, f)
}

func checkScheme(x *exam) {
	x.needAt()
	plain, secure := x.mute(""), x.mute(CertGood)
	for _, v := range verbs("some/key") {
		began := time.Now()
		s, _ := x.at("https://"+plain.Addr(), nil)
		x.want(v.name+" by https at a port that speaks http", v.do(x.ctx, s), connection.ErrTLS)
		s, _ = x.at("http://"+secure.Addr(), nil)
		err := v.do(x.ctx, s)
		x.note(v.name, err)
		if err == nil || errors.Is(err, connection.ErrNotFound) || connection.Temporary(err) {
			x.fail("%s by http at a port that speaks https: got error %v, want one that is not temporary", v.name, err)
		}
		if d := time.Since(began); d > 2*x.h.soon() {
			x.fail("%s at the wrong port took %s", v.name, d)
		}
	}
}

func checkCertificates(x *exam) {
	x.needAt()
	for _, kind := range []Certificate{CertSelfSigned, CertExpired, CertWrongName} {
		for _, v := range verbs("some/key") {
			m := x.mute(kind)
			s, l := x.at(m.URL(), nil)
			if kind != CertSelfSigned {
				l.base.TLSClientConfig = m.Env().TLS // it is not the authority that is at fault
			}
			x.want(v.name+" with a certificate that is "+string(kind), v.do(x.ctx, s), connection.ErrTLS)
			if n := m.Connections(); n != 1 {
				x.fail("%s with a certificate that is %s made %d connections, want 1", v.name, kind, n)
			}
		}
	}
}

func checkDeadEndpoint(x *exam) {
	x.needAt()
	refused := DeadAddr(x.t)
	unknown := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "nowhere.invalid", IsNotFound: true}
	}
	all := verbs("some/key")
	x.each(2*len(all), func(i int) {
		v := all[i/2]
		s, l := x.at("http://"+refused, func(t *objectstore.Tuning) {
			t.MaxAttempts, t.MaxElapsed = 3, connection.Duration(5*time.Second)
		})
		want := "refused"
		dials := &l.dials
		if i%2 == 1 {
			want = "no such host"
			l.base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				dials.Add(1)
				return unknown(ctx, network, address)
			}
		}
		began := time.Now()
		err := v.do(x.ctx, s)
		x.want(v.name+" of a server that is not there", err, connection.ErrNetwork)
		if err != nil && !strings.Contains(err.Error(), want) {
			x.fail("%s of a server that is not there does not tell the cause %q: %v", v.name, want, err)
		}
		if n := dials.Load(); n < 2 || n > 6 {
			x.fail("%s of a server that is not there dialled %d times with 3 attempts permitted", v.name, n)
		}
		if d := time.Since(began); d > 5*time.Second+x.h.soon() {
			x.fail("%s of a server that is not there took %s", v.name, d)
		}
	})
}

func checkBlackHole(x *exam) {
	x.needAt()
	hole, end := blackHole(x.t)
	x.atEnd(end)
	all := verbs("some/key")
	x.each(len(all), func(i int) {
		v := all[i]
		s, _ := x.at("http://"+hole, func(t *objectstore.Tuning) {
			t.MaxAttempts, t.MaxElapsed, t.NoDataTimeout = 2, connection.Duration(5*time.Second), connection.Duration(300*time.Millisecond)
		})
		began := time.Now()
		err := v.do(x.ctx, s)
		x.note(v.name, err)
		if k := connection.KindOf(err); k != connection.ErrTimeout && (k != connection.ErrUncertain || v.name != "put") {
			x.fail("%s of a server that is silent: got error %v, want %v", v.name, err, connection.ErrTimeout)
		}
		if d := time.Since(began); d > 5*time.Second+x.h.soon() {
			x.fail("%s of a server that is silent took %s", v.name, d)
		}
	})
}
