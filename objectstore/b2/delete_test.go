package b2_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/objectstore/objecttest"
)

// E61: Delete removes all versions, or says that it left them.
func TestDelete(t *testing.T) {
	srv := objecttest.NewB2(t, &objecttest.B2Options{PageSize: 2})
	c := open(t, srv, nil, nil)
	for i := range 5 {
		put(t, c, "k", fmt.Sprint(i), nil)
	}
	put(t, c, "k2", "x", nil)
	if err := c.Delete(t.Context(), "k", "missing"); err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(maps.Keys(srv.Objects())); !slices.Equal(got, []string{"k2"}) || len(srv.Versions("k")) > 0 {
		t.Errorf("left: %q and %d versions", got, len(srv.Versions("k")))
	}

	var markers []string
	env := &connection.Env{Observe: func(e connection.Event) {
		if e.Kind == connection.EventMarker {
			markers = append(markers, e.Key)
		}
	}}
	without := slices.DeleteFunc(objecttest.B2Capabilities(), func(s string) bool { return s == "deleteFiles" })
	for how, opts := range map[string]objecttest.B2Options{"known": {Capabilities: without}, "found out": {}} {
		markers = nil
		srv := objecttest.NewB2(t, &opts)
		c := open(t, srv, env, nil)
		put(t, c, "k", "1", nil)
		put(t, c, "k", "2", nil)
		if how == "found out" {
			srv.Fail("b2_delete_file_version", -1, refusal(401, "unauthorized", "no"))
		}
		for range 2 {
			if err := c.Delete(t.Context(), "k"); err != nil {
				t.Errorf("%s: %v", how, err)
			}
		}
		_, err := c.Stat(t.Context(), "k")
		wantKind(t, how+", after the marker", err, connection.ErrNotFound)
		if n := len(srv.Versions("k")); n != 3 || !slices.Equal(markers, []string{"k"}) {
			t.Errorf("%s: %d versions, markers %q", how, n, markers)
		}
	}
}

// A Delete that fails half-way leaves the key as it was: no older version comes to light, nor one that was hidden.
func TestDeleteThatFailsHalfWay(t *testing.T) {
	for name, hidden := range map[string]bool{"overwritten": false, "hidden": true} {
		t.Run(name, func(t *testing.T) {
			srv := objecttest.NewB2(t, &objecttest.B2Options{PageSize: 2})
			c := open(t, srv, nil, map[string]any{"max_attempts": 1})
			for i := range 5 {
				put(t, c, "k", fmt.Sprint(i), nil)
			}
			if hidden {
				srv.Fail("b2_delete_file_version", 1, refusal(401, "unauthorized", "no"))
				if err := c.Delete(t.Context(), "k"); err != nil {
					t.Fatal(err)
				}
			}
			before := len(srv.Versions("k"))
			for range before - 1 {
				srv.FailAfter("b2_delete_file_version", 1, -1, refusal(503, "service_unavailable", "busy"))
				wantKind(t, "a delete that fails", c.Delete(t.Context(), "k"), connection.ErrThrottled)
				srv.ClearFaults()
				if got, err := get(t, c, "k", nil); !hidden && got != "4" || hidden && !errors.Is(err, connection.ErrNotFound) {
					t.Fatalf("with %d of %d versions the key holds %q, error %v", len(srv.Versions("k")), before, got, err)
				}
			}
			if n := len(srv.Versions("k")); n != 1 {
				t.Errorf("%d versions are left, want 1", n)
			}
			if err := c.Delete(t.Context(), "k"); err != nil || len(srv.Versions("k")) != 0 {
				t.Errorf("error %v, %d versions are left", err, len(srv.Versions("k")))
			}
		})
	}
}

// Other programs' unfinished uploads of the key are not touched.
func TestDeleteSparesUploadsUnderWay(t *testing.T) {
	srv := objecttest.NewB2(t, nil)
	c := open(t, srv, nil, map[string]any{"max_attempts": 1})
	leaveUnfinished(t, srv, c, "k")
	put(t, c, "k", "x", nil)
	if err := c.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if srv.Unfinished() != 1 || len(srv.Versions("k")) > 0 {
		t.Errorf("%d unfinished, %d versions", srv.Unfinished(), len(srv.Versions("k")))
	}
}
