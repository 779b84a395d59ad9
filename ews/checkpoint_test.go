package ews

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

func sampleHistory() *history {
	h := newHistory("Joe@corp.test")
	h.Roots["msgfolderroot"] = &rootHistory{ID: "AQMk=", State: "c3RhdGU="}
	h.Folders["AQMk+/a="] = &folderHistory{Root: "msgfolderroot", Parent: "AQMk=", Name: "In/box \x01\u2028", Class: "IPF.Note", Told: "In%2Fbox", State: "c3RhdGUy"}
	h.Folders["aqmk+/A="] = &folderHistory{Root: "msgfolderroot", Kind: "SearchFolder", Told: "x", Owed: []owed{{ID: "AAMk+/a=", Tries: 4, Next: 1_700_000_000, Known: true}}}
	return h
}

// checkpointOf packs data as a Checkpoint is packed.
func checkpointOf(t testing.TB, data []byte) connection.Checkpoint {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return connection.Checkpoint(checkpointPrefix + base64.RawURLEncoding.EncodeToString(b.Bytes()))
}

func TestCheckpointRoundTrip(t *testing.T) {
	h := sampleHistory()
	cp, err := h.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeHistory(cp, "joe@CORP.test")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, h) {
		t.Errorf("got %+v, want %+v", got, h)
	}
	if again, err := got.encode(); err != nil || again != cp {
		t.Errorf("the same history gives another checkpoint: %v", err)
	}
	if _, err := decodeHistory(cp, "ann@corp.test"); err == nil || !strings.Contains(err.Error(), `"Joe@corp.test"`) {
		t.Errorf("a checkpoint of another mailbox: got error %v", err)
	}
}

// Any octet that is another one is noticed, and so is what is missing or too much.
func TestCheckpointDamage(t *testing.T) {
	cp, err := sampleHistory().encode()
	if err != nil {
		t.Fatal(err)
	}
	packed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(string(cp), checkpointPrefix))
	if err != nil {
		t.Fatal(err)
	}
	for i := range packed {
		bad := bytes.Clone(packed)
		bad[i] ^= 0x10
		if got, err := decodeHistory(connection.Checkpoint(checkpointPrefix+base64.RawURLEncoding.EncodeToString(bad)), "joe@corp.test"); err == nil && !reflect.DeepEqual(got, sampleHistory()) {
			t.Errorf("octet %d changed: read as %+v", i, got)
		}
	}
	for i := range len(cp) {
		if _, err := decodeHistory(cp[:i], "joe@corp.test"); err == nil {
			t.Errorf("cut after %d octets: no error", i)
		}
	}
	for _, bad := range []connection.Checkpoint{cp + "A", cp + cp, "ews2:" + cp[len(checkpointPrefix):], " " + cp, cp + "\n"} {
		if _, err := decodeHistory(bad, "joe@corp.test"); err == nil {
			t.Errorf("%.20q…: no error", bad)
		}
	}
}

func TestCheckpointRefused(t *testing.T) {
	long := strings.Repeat("x", maxSyncState+1)
	for name, data := range map[string]string{
		"unknown field":   `{"mailbox":"joe@corp.test","other":1}`,
		"two objects":     `{"mailbox":"joe@corp.test"}{}`,
		"null folder":     `{"mailbox":"joe@corp.test","folders":{"a":null}}`,
		"null root":       `{"mailbox":"joe@corp.test","roots":{"r":null}}`,
		"null folders":    `{"mailbox":"joe@corp.test","folders":null}`,
		"folder no id":    `{"mailbox":"joe@corp.test","folders":{"":{"root":"r"}}}`,
		"endless state":   `{"mailbox":"joe@corp.test","folders":{"a":{"root":"r","state":"` + long + `"}}}`,
		"endless root":    `{"mailbox":"joe@corp.test","roots":{"r":{"id":"a","state":"` + long + `"}}}`,
		"owed nothing":    `{"mailbox":"joe@corp.test","folders":{"a":{"root":"r","owed":[]}}}`,
		"owed no id":      `{"mailbox":"joe@corp.test","folders":{"a":{"root":"r","owed":[{"id":"","n":1,"next":0}]}}}`,
		"owed not tried":  `{"mailbox":"joe@corp.test","folders":{"a":{"root":"r","owed":[{"id":"x","n":0,"next":0}]}}}`,
		"owed too many":   `{"mailbox":"joe@corp.test","folders":{"a":{"root":"r","owed":[{"id":"x","n":1,"next":0}` + strings.Repeat(`,{"id":"x","n":1,"next":0}`, maxOwed) + `]}}}`,
		"not an object":   `[]`,
		"bomb":            `{"mailbox":"` + strings.Repeat("x", maxHistory) + `"}`,
		"nothing at all":  ``,
		"another mailbox": `{"mailbox":"ann@corp.test"}`,
	} {
		if _, err := decodeHistory(checkpointOf(t, []byte(data)), "joe@corp.test"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	h := newHistory("joe@corp.test")
	h.Folders["a"] = &folderHistory{State: strings.Repeat("x", maxHistory+1)}
	if _, err := h.encode(); connection.KindOf(err) != connection.ErrTooLarge {
		t.Errorf("too large to be read again: got error %v", err)
	}
}

func FuzzCheckpoint(f *testing.F) {
	cp, err := sampleHistory().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(cp), []byte(`{"mailbox":"joe@corp.test","roots":{"r":{"id":"i","state":"s"}},"folders":{"a":{"root":"r","state":"s"}}}`))
	f.Add(string(cp), []byte(`{"mailbox":"joe@corp.test","folders":{"a":{"root":"r","owed":[{"id":"x","n":1,"next":0}]}}}`))
	f.Add("ews1:", []byte(`{"mailbox":"joe@corp.test"}`))
	f.Fuzz(func(t *testing.T, cp string, data []byte) {
		for _, cp := range []connection.Checkpoint{connection.Checkpoint(cp), checkpointOf(t, data)} {
			h, err := decodeHistory(cp, "joe@corp.test")
			if err != nil {
				continue
			}
			again, err := h.encode()
			if err != nil {
				t.Fatal(err)
			}
			back, err := decodeHistory(again, "joe@corp.test")
			if err != nil || !reflect.DeepEqual(back, h) {
				t.Fatalf("read %+v, wrote it, and read %+v: %v", h, back, err)
			}
		}
	})
}
