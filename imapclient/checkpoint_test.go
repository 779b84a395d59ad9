package imapclient

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/mailconn/mailconn/connection"
)

func someHistory(rnd *rand.Rand) *history {
	h := &history{mailbox: "ü@example.org", folders: map[string]*folderHistory{}}
	for _, name := range []string{"INBOX", "a/b", "", "\n"}[:rnd.IntN(5)] {
		st := &folderHistory{validity: "4294967295", uidNext: rnd.Uint32()}
		if rnd.IntN(2) == 0 {
			st.modSeq = rnd.Uint64N(1 << 63)
		}
		for range rnd.IntN(200) {
			flags := []connection.Flag{connection.FlagSeen, connection.FlagFlagged, "$Work"}[:rnd.IntN(4)]
			uid := 1 + rnd.Uint32N(300)
			if rnd.IntN(50) == 0 {
				uid = ^uint32(0) - rnd.Uint32N(3)
			}
			st.add(uid, flags)
			st.prove(&connection.Message{Size: rnd.Int64N(1 << 40), Received: time.Unix(rnd.Int64N(1<<40)-1<<39, 0)}, uid)
		}
		h.folders[name] = st
	}
	return h
}

func TestCheckpointRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		h := someHistory(rnd)
		cp, err := h.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeHistory(cp, h.mailbox)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, h) {
			t.Fatalf("got %+v, want %+v", got, h)
		}
		if again, err := got.encode(); err != nil || again != cp {
			t.Fatalf("encoding once more gives another text: %v", err)
		}
		if _, err := decodeHistory(cp, "somebody else"); err == nil {
			t.Fatal("a checkpoint of another mailbox was taken")
		}
	}
}

// A million messages that lie close together cost next to nothing; with every second one gone, half a megabyte or so.
func TestCheckpointSize(t *testing.T) {
	for _, test := range []struct {
		name  string
		step  uint32
		flags func(uid uint32) []connection.Flag
		most  int
	}{
		{"no gaps", 1, nil, 200},
		{"every second is gone", 2, nil, 20 << 10},
		{"no mod-sequences, all read", 1, func(uint32) []connection.Flag { return []connection.Flag{connection.FlagSeen} }, 20 << 10},
		{"no mod-sequences, a third read", 1, func(uid uint32) []connection.Flag {
			return []connection.Flag{connection.FlagSeen}[:(uid*2654435761)>>16%3/2]
		}, 500 << 10},
	} {
		st := &folderHistory{validity: "1", modSeq: 7}
		if test.flags != nil {
			st.modSeq = 0
		}
		for i := range uint32(1_000_000) {
			uid := 1 + i*test.step
			var flags []connection.Flag
			if test.flags != nil {
				flags = test.flags(uid)
			}
			st.add(uid, flags)
		}
		h := &history{mailbox: "m", folders: map[string]*folderHistory{"INBOX": st}}
		cp, err := h.encode()
		if err != nil || len(cp) > test.most {
			t.Errorf("%s: %d octets, error %v; want at most %d", test.name, len(cp), err, test.most)
		}
		if got, err := decodeHistory(cp, "m"); err != nil || !slices.Equal(got.folders["INBOX"].uids, st.uids) {
			t.Errorf("%s: it does not come back: %v", test.name, err)
		}
	}
}

func TestHistoryRemove(t *testing.T) {
	st := &folderHistory{}
	for uid := range uint32(10) {
		st.add(uid+1, []connection.Flag{connection.FlagSeen}[:uid%2])
	}
	st.add(3, []connection.Flag{`\SEEN`, connection.FlagFlagged})
	st.remove([]uint32{2, 4, 5, 99})
	if want := []uint32{1, 3, 6, 7, 8, 9, 10}; !slices.Equal(st.uids, want) {
		t.Errorf("got %v, want %v", st.uids, want)
	}
	if !st.same(1, []connection.Flag{connection.FlagFlagged, connection.FlagSeen}) || !st.same(2, []connection.Flag{connection.FlagSeen}) || st.same(3, []connection.Flag{connection.FlagSeen}) {
		t.Errorf("the flags moved: %v of %q", st.codes, st.flags)
	}
}

func FuzzCheckpoint(f *testing.F) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 4 {
		w := &historyWriter{}
		for _, st := range someHistory(rnd).folders {
			w.folder(st)
		}
		f.Add(w.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &historyReader{data: data}
		st := r.folder()
		if r.bad {
			return
		}
		if !slices.IsSorted(st.uids) || slices.Contains(st.uids, 0) || st.codes != nil && len(st.codes) != len(st.uids) {
			t.Fatalf("got %+v", st)
		}
		for _, code := range st.codes {
			if int(code) >= len(st.flags) {
				t.Fatalf("code %d of %d", code, len(st.flags))
			}
		}
	})
}
