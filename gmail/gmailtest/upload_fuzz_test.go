package gmailtest

import "testing"

// A Content-Range that is taken makes sense.
func FuzzContentRange(f *testing.F) {
	for _, text := range []string{"", "bytes 0-9/10", "bytes */10", "bytes */*", "bytes 0-0/*", "bytes 5-4/9", "bytes 0-10/10", "bytes -1-2/3"} {
		f.Add(text, int64(10))
	}
	f.Fuzz(func(t *testing.T, text string, length int64) {
		r, err := parseRange(text, length)
		if err != nil {
			return
		}
		if r.total < -1 || r.from < -1 || r.from >= 0 && (r.to < r.from || r.total >= 0 && r.to >= r.total) {
			t.Errorf("%q: got %+v", text, r)
		}
	})
}
