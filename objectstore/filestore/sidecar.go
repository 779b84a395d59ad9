package filestore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/mailconn/mailconn/connection"
)

// A record says what belongs to one version of an object's data. A sidecar holds the records of the version that was and
// of the one that is about to be, so that the one rename which replaces the data replaces the whole object.
type record struct {
	Size        int64             `json:"size"`
	MTime       int64             `json:"mtime"` // of the data file, in nanoseconds: tells versions apart without reading them
	SHA256      string            `json:"sha256"`
	ContentType string            `json:"content_type,omitempty"`
	Meta        map[string]string `json:"meta,omitempty"`
	Lock        connection.Lock   `json:"lock,omitzero"`
}

type sidecar struct {
	Version int      `json:"version"`
	Records []record `json:"records"`
}

const (
	sidecarVersion = 1
	maxSidecar     = 64 << 10
)

// readSidecar returns the records beside name, none if there is no sidecar.
func readSidecar(d *dir, name string) ([]record, error) {
	f, err := d.open(name + suffixSidecar)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSidecar+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	var s sidecar
	err = json.Unmarshal(data, &s)
	if err == nil && len(s.Records) == 0 {
		err = errors.New("it holds no records")
	}
	if err != nil {
		return nil, &connection.Error{Kind: connection.ErrCorrupt, Err: fmt.Errorf("sidecar %s: %w", name+suffixSidecar, err)}
	}
	if s.Version != sidecarVersion {
		return nil, &connection.Error{Kind: connection.ErrUnsupported, Err: fmt.Errorf("sidecar of version %d, want %d", s.Version, sidecarVersion)}
	}
	return s.Records, nil
}

var errNoRecord = &connection.Error{
	Kind: connection.ErrCorrupt, Code: "NoRecord",
	Err: errors.New("the data is not what was stored: its size or content fits no record in the sidecar"),
}

// match returns the record that belongs to the data file f with the status st; nil if records is empty, errNoRecord if
// none fits. The modification time decides. It may be lost (a restored backup): then the size. Where two versions have
// the same (the time too, if the file system's clock is coarse), it is the digest of f, for which f is read.
func match(records []record, st fileStat, f io.ReaderAt) (*record, error) {
	if len(records) == 0 {
		return nil, nil //nolint:nilnil // no record is an answer: a plain file
	}
	var fits, exact []*record
	for i := range records {
		if r := &records[i]; r.Size == st.size {
			fits = append(fits, r)
			if r.MTime == st.mtime {
				exact = append(exact, r)
			}
		}
	}
	if len(exact) > 0 {
		fits = exact
	}
	if len(fits) == 1 {
		return fits[0], nil // a read verifies the digest
	}
	if len(fits) == 0 {
		return nil, errNoRecord
	}
	digest, err := digestOf(io.NewSectionReader(f, 0, st.size))
	if err != nil {
		return nil, err
	}
	for i := len(fits) - 1; i >= 0; i-- {
		if fits[i].SHA256 == digest {
			return fits[i], nil
		}
	}
	return nil, errNoRecord
}

// writeSidecar replaces the sidecar beside name; it is durable when this returns.
func (c *Conn) writeSidecar(t *tree, d *dir, name string, records []record) error {
	data, err := json.Marshal(sidecar{Version: sidecarVersion, Records: records})
	if err != nil {
		return err
	}
	tmp, err := c.newTemp(t)
	if err != nil {
		return err
	}
	defer tmp.discard()
	if _, err := tmp.file.Write(append(data, '\n')); err != nil {
		return err
	}
	if err := tmp.finish(t.durable); err != nil {
		return err
	}
	if err := tmp.rename(d, name+suffixSidecar); err != nil {
		return err
	}
	return t.commit(d)
}

// removeSidecar removes the sidecar beside name, if there is one.
func removeSidecar(d *dir, name string) error {
	if err := d.remove(name + suffixSidecar); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
