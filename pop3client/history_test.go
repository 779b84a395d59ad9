package pop3client

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/mailconn/mailconn/connection"
)

var histories = []*history{
	{mailbox: "ann", count: -1, octets: -1, told: map[string]fact{}},
	{mailbox: "ann", count: 3, octets: 1 << 40, partial: true, told: map[string]fact{
		"u": {size: 17}, "no size": {size: -1}, "1": {size: 5, header: digest{1, 2, 3}}, strings.Repeat("x", maxUIDL): {size: 1 << 50},
	}},
}

func TestHistoryComesBack(t *testing.T) {
	for _, h := range histories {
		got, err := decodeHistory(h.encode(), "ann")
		if err != nil || !reflect.DeepEqual(got, h) {
			t.Errorf("got %+v, %v, want %+v", got, err, h)
		}
		if h.encode() != got.encode() {
			t.Error("the same history has two checkpoints")
		}
	}
	if histories[0].encode() == histories[1].encode() {
		t.Error("two histories have one checkpoint")
	}
}

// A Checkpoint of which any octet is lost or another one, or that is of another mailbox, is none.
func TestDamagedHistory(t *testing.T) {
	whole := string(histories[1].encode())
	if _, err := decodeHistory(connection.Checkpoint(whole), "bob"); err == nil || !strings.Contains(err.Error(), "bob") {
		t.Errorf("of another mailbox: got %v", err)
	}
	damaged := map[string]string{"empty": "", "the format alone": historyFormat, "another format": strings.Replace(whole, "/1:", "/2:", 1)}
	for i := range whole {
		octet := byte('A')
		if whole[i] == octet {
			octet = 'B'
		}
		damaged["octet "+decimal(uint32(i))] = whole[:i] + string(octet) + whole[i+1:]
		damaged["cut at "+decimal(uint32(i))] = whole[:i]
	}
	for name, text := range maps.All(damaged) {
		if h, err := decodeHistory(connection.Checkpoint(text), "ann"); err == nil && !reflect.DeepEqual(h, histories[1]) {
			t.Errorf("%s: taken for %+v", name, h)
		}
	}
}
