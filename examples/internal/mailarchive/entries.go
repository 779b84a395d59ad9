package mailarchive

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// Entries yields what the manifests of store list: the runs in the order of their beginning, each message once for each
// place that it came from. An error with a Key concerns that part of a manifest alone, and the loop may go on.
func Entries(ctx context.Context, store connection.ObjectStore) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for info, err := range store.List(ctx, &connection.ListOptions{Prefix: ManifestsPrefix}) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !strings.HasSuffix(info.Key, manifestSuffix) {
				continue
			}
			if !segmentEntries(ctx, store, info.Key, yield) {
				return
			}
		}
	}
}

// segmentEntries yields the entries of one segment, and returns false if the loop was left.
func segmentEntries(ctx context.Context, store connection.Getter, key string, yield func(Entry, error) bool) bool {
	bad := func(err error) bool {
		return yield(Entry{}, &connection.Error{Op: "list", Key: key, Kind: connection.ErrCorrupt, Err: err})
	}
	object, err := store.Get(ctx, key, nil)
	if err != nil {
		return yield(Entry{}, err)
	}
	defer func() { _ = object.Body.Close() }() // it was only read
	lines := bufio.NewReader(object.Body)
	for first := true; ; first = false {
		line, err := lines.ReadBytes('\n')
		switch {
		case err == io.EOF && len(line) == 0: //nolint:errorlint // only the bare io.EOF is the end
			return true
		case err != nil:
			return bad(fmt.Errorf("a line that breaks off: %w", err))
		case first:
			continue // the header
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return bad(err)
		}
		if !yield(e, nil) {
			return false
		}
	}
}
