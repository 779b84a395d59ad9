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

func (m *meter) init() {
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

// price is what a request costs in units.
func (s *Server) price(q *request) int64 {
	if q.route == nil || q.has("upload_id") { // the first request of an upload has paid for all
		return 0
	}
	if s.opts.Quota.Legacy {
		return q.route.units[1]
	}
	return q.route.units[0]
}

// payer is who is charged for a request. Google's page on quotas: with domain-wide delegation that is the service account,
// unless quotaUser says otherwise.
func (s *Server) payer(q *request) string {
	what := s.snapshot(q.entry)
	switch {
	case what.QuotaUser != "" && !s.opts.Quota.IgnoreQuotaUser:
		return "quota user " + what.QuotaUser
	case q.grant.delegated:
		return "service account"
	}
	return "user " + what.UserID
}

// enter lets a request in, or returns why not. done is to be called when the request is answered.
func (m *meter) enter(s *Server, q *request) (done func(), refusal *apiError) {
	if q.user == nil {
		return func() {}, nil
	}
	limits, payer, price, now := s.opts.Quota, s.payer(q), s.price(q), s.now()
	mailbox := s.snapshot(q.entry).UserID
	m.mu.Lock()
	defer m.mu.Unlock()
	if limits.Concurrent > 0 && m.open[mailbox] >= limits.Concurrent {
		m.refused++
		return func() {}, apiErr(http.StatusTooManyRequests, "rateLimitExceeded", "RESOURCE_EXHAUSTED", "Too many concurrent requests for user.")
	}
	if e := m.limit(&limits, payer, price, now); e != nil {
		m.refused++
		return func() {}, e
	}
	m.spend(mailbox, payer, price, now)
	s.note(q.entry, func(e *Request) { e.Units = price })
	m.open[mailbox]++
	m.peak[mailbox] = max(m.peak[mailbox], m.open[mailbox])
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.open[mailbox]--
	}, nil
}

// limit returns the refusal of a request that is too much. m.mu is held.
func (m *meter) limit(limits *Quota, payer string, price int64, now time.Time) *apiError {
	m.today = m.spentToday(now)
	if limits.Daily > 0 && m.today+price > limits.Daily {
		e := forbidden("dailyLimitExceeded", "Daily Limit Exceeded")
		e.domain = "usageLimits"
		return e
	}
	if limits.Project > 0 && m.within("", now)+price > limits.Project {
		return exhausted("Queries per minute")
	}
	if limits.PerUser <= 0 || m.within(payer, now)+price <= limits.PerUser {
		return nil
	}
	until := m.room(payer, price, limits.PerUser, now)
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
func (m *meter) room(payer string, price, limit int64, now time.Time) time.Time {
	left := m.sums[payer]
	for _, sp := range m.recent[payer] {
		if left -= sp.units; left+price <= limit {
			return sp.at.Add(quotaWindow)
		}
	}
	return now.Add(quotaWindow)
}

// spend counts units. m.mu is held.
func (m *meter) spend(mailbox, payer string, price int64, now time.Time) {
	for _, key := range []string{payer, ""} {
		m.within(key, now) // forgets what is old
		m.recent[key] = append(m.recent[key], spent{now, price})
		m.sums[key] += price
	}
	m.today = m.spentToday(now) + price
	m.total += price
	m.units[mailbox] += price
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
	mailbox, payer, price, now := s.snapshot(q.entry).UserID, s.payer(q), s.price(q), s.now()
	s.note(q.entry, func(e *Request) { e.Units = price })
	s.quota.mu.Lock()
	defer s.quota.mu.Unlock()
	s.quota.spend(mailbox, payer, price, now)
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
