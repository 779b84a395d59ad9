package token

import (
	"errors"
	"slices"
	"strings"

	"github.com/mailconn/mailconn/connection"
)

// many is how many mailboxes in a row meet one failure until it is taken for one of the connection.
const many = 3

// A streak is a run of one failure. The zero value has none.
type streak struct {
	code     string
	kind     connection.Kind
	subjects []string // whom it met, at most many
	told     bool
}

// ended forgets the run: a token was given.
func (r *streak) ended(k Key) {
	if k != baseKey {
		*r = streak{}
	}
}

// note counts a failure. It returns err, marked if it concerns the connection, and what is to be told, if it was not yet.
func (r *streak) note(k Key, admin string, err error) (marked, tell error) {
	var e *connection.Error
	ours := admin != "" && strings.EqualFold(k.Subject, admin)
	if k == baseKey || !errors.As(err, &e) || connection.Temporary(err) || e.Kind == connection.ErrNotFound && !ours {
		return err, nil // that mailbox's own trouble, or gone soon
	}
	if r.code != e.Code || r.kind != e.Kind {
		*r = streak{code: e.Code, kind: e.Kind}
	}
	if len(r.subjects) < many && !slices.Contains(r.subjects, k.Subject) {
		r.subjects = append(r.subjects, k.Subject)
	}
	if !ours && len(r.subjects) < many {
		return err, nil
	}
	shared := *e
	shared.Err = common{e.Err}
	if r.told {
		return &shared, nil
	}
	r.told = true
	return &shared, &shared
}

// common is an error that is ErrCommon as well, and reads as before.
type common struct{ error }

func (c common) Unwrap() error        { return c.error }
func (c common) Is(target error) bool { return target == ErrCommon } //nolint:errorlint // Is compares sentinels
