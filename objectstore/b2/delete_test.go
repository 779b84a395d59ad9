package b2_test

import (
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
