package ewshttp

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
)

// Limits on what servers may have kept.
const (
	maxCookies    = 32       // of one answer, and those that are carried over when a jar is renewed
	maxCookie     = 4 << 10  // octets of a cookie
	maxJarCookies = 512      // accepted by one jar before it is renewed
	maxAnswer     = 16 << 10 // octets of the cookies of one answer, and of those that are carried over
	maxJarOctets  = 64 << 10 // accepted by one jar before it is renewed
	maxJars       = 4096
)

// jars keep the cookies of each mailbox apart: they say on which machine behind a balancer it lives.
type jars struct {
	mu   sync.Mutex
	jars map[string]*jar
}

type jar struct {
	*cookiejar.Jar
	accepted int
	octets   int
}

func (r *Request) jar() string {
	if r.Jar != "" {
		return "\x00" + r.Jar // no address
	}
	return strings.ToLower(r.Mailbox)
}

// header returns the value of Cookie for u, "" if there is none.
func (j *jars) header(name string, u *url.URL) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	jar := j.jars[name]
	if jar == nil {
		return ""
	}
	var b strings.Builder
	for _, cookie := range jar.Cookies(u) {
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(cookie.String())
	}
	return b.String()
}

// keep takes an answer's cookies. They hold for the host that sent them alone.
func (j *jars) keep(name string, u *url.URL, resp *http.Response) {
	cookies := resp.Cookies()
	if len(cookies) == 0 {
		return
	}
	kept, octets := few(cookies)
	j.mu.Lock()
	defer j.mu.Unlock()
	of := j.jars[name]
	switch {
	case of == nil:
		if j.jars == nil || len(j.jars) >= maxJars { // to lose them costs a detour
			j.jars = make(map[string]*jar)
		}
		of = &jar{Jar: newJar()}
		j.jars[name] = of
	case of.accepted > maxJarCookies, of.octets > maxJarOctets:
		old, _ := few(of.Cookies(u))
		of = &jar{Jar: newJar()}
		of.SetCookies(u, old)
		j.jars[name] = of
	}
	of.accepted += len(kept)
	of.octets += octets
	of.SetCookies(u, kept)
}

// few returns those of an answer's cookies that a jar may take, for the host alone, and how many octets they have.
func few(cookies []*http.Cookie) (kept []*http.Cookie, octets int) {
	for _, cookie := range cookies {
		size := len(cookie.Name) + len(cookie.Value) + len(cookie.Path)
		if size <= maxCookie && octets+size <= maxAnswer && len(kept) < maxCookies {
			cookie.Domain = ""
			kept = append(kept, cookie)
			octets += size
		}
	}
	return kept, octets
}

func newJar() *cookiejar.Jar {
	made, _ := cookiejar.New(nil) // it never fails
	return made
}

func (j *jars) drop(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.jars, name)
}
