package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDelayStaysUnderItsCeiling(t *testing.T) {
	p := Policy{Min: 100 * time.Millisecond, Max: time.Second}
	for attempt, want := range []time.Duration{100, 100, 200, 400, 800, 1000, 1000} {
		want *= time.Millisecond
		if got := p.Ceiling(attempt); got != want {
			t.Errorf("Ceiling(%d): got %v, want %v", attempt, got, want)
		}
		var low, high bool
		for range 1000 {
			d := p.Delay(attempt, 0)
			if d <= 0 || d > want {
				t.Fatalf("Delay(%d, 0): got %v, want above 0 and at most %v", attempt, d, want)
			}
			low = low || d < want/3
			high = high || d > want*2/3
		}
		if !low || !high {
			t.Errorf("Delay(%d, 0): a thousand delays leave the lower or the upper third of %v empty: no full jitter", attempt, want)
		}
	}
}

func TestDelayOfAbsurdAttempts(t *testing.T) {
	for _, p := range []Policy{{}, {Min: time.Hour}, {Min: 1, Max: 1 << 62}, {Min: 1 << 62, Max: 1<<63 - 1}, {Min: -1, Max: -1}} {
		for _, attempt := range []int{-5, 0, 1, 62, 63, 64, 1000} {
			if d := p.Delay(attempt, 0); d <= 0 {
				t.Errorf("%+v.Delay(%d, 0): got %v, want a positive delay", p, attempt, d)
			}
		}
	}
	if got := (Policy{Min: time.Hour}).Ceiling(10); got != time.Hour {
		t.Errorf("Min above the default Max: got a ceiling of %v, want 1h", got)
	}
	if got := (Policy{}).Ceiling(100); got != time.Minute {
		t.Errorf("zero Policy: got a ceiling of %v, want 1m", got)
	}
}

func TestServersWishWins(t *testing.T) {
	p := Policy{Min: time.Millisecond, Max: 10 * time.Millisecond}
	for range 100 {
		if d := p.Delay(1, time.Minute); d < time.Minute || d > time.Minute+time.Minute/10+1 {
			t.Fatalf("Delay(1, 1m): got %v, want a minute and at most a tenth more", d)
		}
	}
	if d := p.Delay(1, 1<<63-1); d != 1<<63-1 {
		t.Errorf("Delay(1, longest): got %v, want it kept", d)
	}
}

func TestWaitEndsWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := Wait(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != time.Hour {
			t.Errorf("waited %v, want 1h", got)
		}
	})
}

func TestWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := Wait(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ctx's error", err)
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("waited %v, want 1s", got)
		}
		if err := Wait(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("done ctx and no delay: got %v, want ctx's error", err)
		}
	})
	if err := Wait(t.Context(), -1); err != nil {
		t.Errorf("negative delay: got %v, want nil", err)
	}
}
