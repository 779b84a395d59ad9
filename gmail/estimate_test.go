package gmail_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
	"github.com/mailconn/mailconn/gmail/gmailtest"
)

// An estimate is arithmetic on the prices of the profile, for one unit.
func TestEstimate(t *testing.T) {
	for _, test := range []struct {
		profile string
		want    gmail.Estimate
	}{
		// 501 messages and 2 pages of their list.
		{gmail.Quota2026, gmail.Estimate{Messages: 501, Units: 501*20 + 2*5, Time: 10030 * time.Minute / 6000}},
		{gmail.QuotaLegacy, gmail.Estimate{Messages: 501, Units: 501*5 + 2*5, Time: 2515 * time.Minute / 15000}},
	} {
		inBubble(t, nil, func(cfg *gmail.Config) { cfg.QuotaProfile = test.profile }, func(t *testing.T, r *syncRig) {
			r.Deliver(ann, mail(501)...)
			got, err := r.conn.Estimate(t.Context(), ann)
			if err != nil || got.Messages != test.want.Messages || got.Units != test.want.Units || got.Time.Round(time.Millisecond) != test.want.Time.Round(time.Millisecond) {
				t.Errorf("%s: got %+v, %v, want %+v", test.profile, got, err, test.want)
			}
			if units := r.Units(ann); units != 1 {
				t.Errorf("%s: it cost %d units, want 1", test.profile, units)
			}
		})
	}
}

func TestEstimateFails(t *testing.T) {
	inBubble(t, nil, nil, func(t *testing.T, r *syncRig) {
		if _, err := r.conn.Estimate(t.Context(), "nobody@corp.example"); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		for _, total := range []string{`-1`, `"x"`, `1e300`, `99999999999999999999`, `null`} {
			r.Heal()
			r.Fail(gmailtest.On("getProfile"), gmailtest.Rewrite(func([]byte) []byte {
				return []byte(`{"emailAddress":"ann@corp.example","historyId":"7","messagesTotal":` + total + `}`)
			}))
			if got, err := r.conn.Estimate(t.Context(), ann); !errors.Is(err, connection.ErrProtocol) {
				t.Errorf("%s: got %+v, %v, want ErrProtocol", total, got, err)
			}
		}
	})
}
