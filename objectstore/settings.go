package objectstore

import (
	"errors"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// Settings are what every engine asks for. A driver's Config embeds them, so that their JSON fields stand beside its own;
// what each means is the engine's to say, and so is which may be empty.
type Settings struct {
	Identity   string            `json:"identity,omitempty" label:"Identity" help:"who connects: access key, account or user name"`
	Credential connection.Secret `json:"credential,omitzero" label:"Credential" help:"the secret that belongs to the identity"`
	Location   string            `json:"location,omitempty" label:"Location" help:"where the store is: a region, a URL or a directory"`
	Bucket     string            `json:"bucket,omitempty" label:"Bucket UID" help:"bucket, container or directory, which must exist"`
}

// Tuning are the settings by which a [Store] repeats, waits and gives up. Engines that go over a network embed them. A
// zero field means its default.
type Tuning struct {
	Workers        int                 `json:"workers,omitempty" label:"Workers" min:"1" max:"1024" help:"requests in flight when many keys are deleted; default 16"`
	MaxAttempts    int                 `json:"max_attempts,omitempty" label:"Attempts" min:"1" max:"1000" help:"how often one request is tried; default 5"`
	MaxElapsed     connection.Duration `json:"max_elapsed,omitempty" label:"Longest retry" help:"no attempt begins later than this after the first; default 2m"`
	NoDataTimeout  connection.Duration `json:"no_data_timeout,omitempty" label:"No-data timeout" default:"60s" help:"give up an attempt in which nothing moves for so long; 0 = none"`
	SinglePutLimit int64               `json:"single_put_limit,omitempty" label:"Memory per put" min:"0" help:"octets of a body that cannot seek kept in memory; the rest goes to a temporary file; default 8 MiB"`
}

// Defaults of Tuning.
const (
	DefaultWorkers        = 16
	DefaultMaxAttempts    = 5
	DefaultMaxElapsed     = 2 * time.Minute
	DefaultSinglePutLimit = 8 << 20
)

// Validate checks the settings as Config.Validate does.
func (t *Tuning) Validate() error {
	switch {
	case t.Workers < 0:
		return errors.New("workers: negative")
	case t.MaxAttempts < 0:
		return errors.New("max_attempts: negative")
	case t.MaxElapsed < 0:
		return errors.New("max_elapsed: negative")
	case t.NoDataTimeout < 0:
		return errors.New("no_data_timeout: negative; 0 means none")
	case t.SinglePutLimit < 0:
		return errors.New("single_put_limit: negative")
	}
	return nil
}

func (t Tuning) withDefaults() Tuning {
	if t.Workers == 0 {
		t.Workers = DefaultWorkers
	}
	if t.MaxAttempts == 0 {
		t.MaxAttempts = DefaultMaxAttempts
	}
	if t.MaxElapsed == 0 {
		t.MaxElapsed = connection.Duration(DefaultMaxElapsed)
	}
	if t.SinglePutLimit == 0 {
		t.SinglePutLimit = DefaultSinglePutLimit
	}
	return t
}
