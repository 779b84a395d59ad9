package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/mailconn/mailconn/connection"
	"github.com/mailconn/mailconn/gmail"
)

// state keeps what the driver must not forget with the process, in the archive: gmail.Options.State.
type state struct {
	store connection.ObjectStore
}

var _ gmail.State = state{}

// maxState is how large a value may be.
const maxState = 1 << 20

// Load implements [gmail.State].
func (s state) Load(ctx context.Context, key string) ([]byte, error) {
	object, err := s.store.Get(ctx, stateKey(key), nil)
	if errors.Is(err, connection.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(object.Body, maxState+1))
	if err = errors.Join(err, object.Body.Close()); err != nil {
		return nil, err
	}
	if len(data) > maxState {
		return nil, fmt.Errorf("%s: longer than %d octets", stateKey(key), maxState)
	}
	return data, nil
}

// Save implements [gmail.State].
func (s state) Save(ctx context.Context, key string, data []byte) error {
	sum := sha256.Sum256(data)
	_, err := s.store.Put(ctx, stateKey(key), bytes.NewReader(data), &connection.PutOptions{Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])})
	return err
}

// stateKey makes a key of the store of any key. No value is another's prefix.
func stateKey(key string) string { return "state/" + url.PathEscape(key) + ".json" }
