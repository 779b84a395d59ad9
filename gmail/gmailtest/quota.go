package gmailtest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// quotaWindow is what limits a minute are held against: any 60 seconds.
const quotaWindow = time.Minute

// meter counts units, and requests under way.
type meter struct {
	mu      sync.Mutex
	limits  Quota
	recent  map[string][]spent // by who is charged; "" is the project
	sums    map[string]int64   // of recent
	open    map[string]int     // requests under way, by mailbox
	peak    map[string]int
	day     string // the day in California that today is the sum of
	today   int64
	units   map[string]int64 // by user id, since ResetLog
	total   int64
	refused int
}

type spent struct {
	at    time.Time
	units int64
}

func (m *meter) init(limits Quota) {
	m.limits = limits
	m.recent, m.sums = make(map[string][]spent), make(map[string]int64)
	m.open, m.peak, m.units = make(map[string]int), make(map[string]int), make(map[string]int64)
}

func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total, m.refused = 0, 0
	clear(m.units)
	clear(m.peak)
}

// SetQuota changes what clients may ask for, from now on. What they have spent is remembered.
func (s *Server) SetQuota(q Quota) {
	s.quota.mu.Lock()
	defer s.quota.mu.Unlock()
	s.quota.limits = q
}

// A bill is what a request costs.
type bill struct {
	mailbox string // the user id
	payer   string
	units   int64
}

// bill returns what a request costs, and whom. Google's page on quotas: with domain-wide delegation the service account is charged
// for its requests, unless quotaUser says otherwise.
func (s *Server) bill(q *request) bill {
	what := s.snapshot(q.entry)
	s.quota.mu.Lock()
	limits := s.quota.limits
	s.quota.mu.Unlock()
	b := bill{mailbox: what.UserID, payer: "user " + what.UserID}
	switch {
	case what.QuotaUser != "" && !limits.IgnoreQuotaUser:
		b.payer = "quota user " + what.QuotaUser
	case q.grant.delegated:
		b.payer = "service account"
	}
	if b.units = q.route.units[0]; limits.Legacy {
		b.units = q.route.units[1]
	}
	if q.has("upload_id") { // the first request of an upload has paid for all
		b.units = 0
	}
	return b
}

// enter lets a request in, or returns why not. done is to be called when the request is answered.
func (m *meter) enter(s *Server, q *request) (done func(), refusal *apiError) {
	if q.user == nil {
		return func() {}, nil
	}
	b, now := s.bill(q), s.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.limits.Concurrent > 0 && m.open[b.mailbox] >= m.limits.Concurrent {
		m.refused++
		return func() {}, apiErr(http.StatusTooManyRequests, "rateLimitExceeded", "RESOURCE_EXHAUSTED", "Too many concurrent requests for user.")
	}
	if e := m.limit(b, now); e != nil {
		m.refused++
		return func() {}, e
	}
	m.spend(b, now)
	s.note(q.entry, func(e *Request) { e.Units = b.units })
	m.open[b.mailbox]++
	m.peak[b.mailbox] = max(m.peak[b.mailbox], m.open[b.mailbox])
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.open[b.mailbox]--
	}, nil
}

// limit returns the refusal of a request that is too much. m.mu is held.
func (m *meter) limit(b bill, now time.Time) *apiError {
	limits := &m.limits
	m.today = m.spentToday(now)
	if limits.Daily > 0 && m.today+b.units > limits.Daily {
		e := forbidden("dailyLimitExceeded", "Daily Limit Exceeded")
		e.domain = "usageLimits"
		return e
	}
	if limits.Project > 0 && m.within("", now)+b.units > limits.Project {
		return exhausted("Queries per minute")
	}
	if limits.PerUser <= 0 || m.within(b.payer, now)+b.units <= limits.PerUser {
		return nil
	}
	until := m.room(b, limits.PerUser, now)
	e := apiErr(http.StatusTooManyRequests, "rateLimitExceeded", "RESOURCE_EXHAUSTED", retryText(until))
	switch limits.Refusal {
	case RefuseUser:
		e = forbidden("userRateLimitExceeded", "User Rate Limit Exceeded")
		e.domain = "usageLimits"
	case RefuseMetric:
		return exhausted("Queries per minute per user")
	case RefuseHeader:
		e.message = "Resource has been exhausted (e.g. check quota)."
		e.header = http.Header{"Retry-After": {strconv.Itoa(int((until.Sub(now) + time.Second - 1) / time.Second))}}
	case RefuseUntil:
	}
	return e
}

func exhausted(limit string) *apiError {
	e := apiErr(http.StatusForbidden, "rateLimitExceeded", "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Queries' and limit '"+limit+
		"' of service 'gmail.googleapis.com' for consumer 'project_number:123456789012'.")
	e.domain = "usageLimits"
	return e
}

// within returns the units that a payer spent in the window that ends now. m.mu is held.
func (m *meter) within(payer string, now time.Time) int64 {
	list := m.recent[payer]
	old := 0
	for old < len(list) && now.Sub(list[old].at) >= quotaWindow {
		m.sums[payer] -= list[old].units
		old++
	}
	if m.recent[payer] = list[old:]; old == len(list) {
		delete(m.recent, payer)
		delete(m.sums, payer)
	}
	return m.sums[payer]
}

// room returns when the window has room for so many units more. m.mu is held.
func (m *meter) room(b bill, limit int64, now time.Time) time.Time {
	left := m.sums[b.payer]
	for _, sp := range m.recent[b.payer] {
		if left -= sp.units; left+b.units <= limit {
			return sp.at.Add(quotaWindow)
		}
	}
	return now.Add(quotaWindow)
}

// spend counts units. m.mu is held.
func (m *meter) spend(b bill, now time.Time) {
	for _, key := range []string{b.payer, ""} {
		m.within(key, now) // forgets what is old
		m.recent[key] = append(m.recent[key], spent{now, b.units})
		m.sums[key] += b.units
	}
	m.today = m.spentToday(now) + b.units
	m.total += b.units
	m.units[b.mailbox] += b.units
}

// spentToday returns the units of the day in California, where day quotas end. m.mu is held.
func (m *meter) spentToday(now time.Time) int64 {
	if day := now.In(california()).Format(time.DateOnly); day != m.day {
		m.day, m.today = day, 0
	}
	return m.today
}

// california is the time of California, or if this machine has no time zones its winter time.
var california = sync.OnceValue(func() *time.Location {
	if zone, err := time.LoadLocation("America/Los_Angeles"); err == nil {
		return zone
	}
	return time.FixedZone("PST", -8*60*60)
})

// charge counts the units of a request that fails by a fault.
func (s *Server) charge(q *request, p *plan) {
	if q.user == nil || refusal(p.instead) {
		return
	}
	b, now := s.bill(q), s.now()
	s.note(q.entry, func(e *Request) { e.Units = b.units })
	s.quota.mu.Lock()
	defer s.quota.mu.Unlock()
	s.quota.spend(b, now)
}

// refusal reports whether an answer says that nothing was done, and costs nothing.
func refusal(v any) bool {
	status := 0
	switch v := v.(type) {
	case reply:
		status = v.status
	case *apiError:
		status = v.status
	}
	return status == http.StatusUnauthorized || status == http.StatusTooManyRequests
}

// Units returns the units that requests on a mailbox were charged since the start or ResetLog, by its address or id; "" stands for
// all together.
func (s *Server) Units(user string) int64 {
	id := s.idOf(user)
	s.quota.mu.Lock()
	defer s.quota.mu.Unlock()
	if user == "" {
		return s.quota.total
	}
	return s.quota.units[id]
}

// MostUnits returns the most units that requests in the log were charged within any span of time, on the mailbox of an address or id,
// or "" for all together.
func (s *Server) MostUnits(user string, span time.Duration) int64 {
	all := slices.DeleteFunc(s.Requests(), func(r Request) bool { return r.Units == 0 || user != "" && r.User != user && r.UserID != user })
	var most, sum int64
	first := 0
	for _, r := range all {
		for sum += r.Units; r.At.Sub(all[first].At) >= span; first++ {
			sum -= all[first].Units
		}
		most = max(most, sum)
	}
	return most
}

// Refusals returns how many requests were refused because of a quota since the start or ResetLog.
func (s *Server) Refusals() int {
	s.quota.mu.Lock()
	defer s.quota.mu.Unlock()
	return s.quota.refused
}

// Peak returns how many requests on a mailbox were under way at once at most, since the start or ResetLog, by its address or id.
func (s *Server) Peak(user string) int {
	id := s.idOf(user)
	s.quota.mu.Lock()
	defer s.quota.mu.Unlock()
	return s.quota.peak[id]
}

// UnitsByUser returns what Units returns for each user id that was charged something.
func (s *Server) UnitsByUser() map[string]int64 {
	s.quota.mu.Lock()
	defer s.quota.mu.Unlock()
	return maps.Clone(s.quota.units)
}
