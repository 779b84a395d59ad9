package connection

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// A Duration is a time.Duration that JSON writes as a Go duration ("1m30s") and reads from one, or from a whole number
// of milliseconds.
type Duration time.Duration

// D returns d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String returns d as a Go duration.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(data []byte) error {
	data = bytes.TrimSpace(data)
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	if len(data) > 0 && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		v, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%q is no duration: want one like \"30s\" or \"1m30s\", or a number of milliseconds", s)
		}
		*d = Duration(v)
		return nil
	}
	ms, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil || ms > int64(1<<63-1)/int64(time.Millisecond) || ms < -int64(1<<63-1)/int64(time.Millisecond) {
		return fmt.Errorf("%s is no duration: want one like \"30s\" or \"1m30s\", or a whole number of milliseconds", data)
	}
	*d = Duration(ms) * Duration(time.Millisecond)
	return nil
}
