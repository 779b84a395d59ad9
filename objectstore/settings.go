package objectstore

import (
	"errors"
	"fmt"
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
// zero field means its default, but for NoDataTimeout: there it means none, and only JSON that leaves it out gets 60s. In
// Go set it, or give each verb a context that ends.
type Tuning struct {
	Workers        int                 `json:"workers,omitempty" label:"Workers" min:"1" max:"1024" help:"requests in flight when many keys are deleted; default 16"`
	MaxAttempts    int                 `json:"max_attempts,omitempty" label:"Attempts" min:"1" max:"1000" help:"how often one request is tried; default 5"`
	MaxElapsed     connection.Duration `json:"max_elapsed,omitempty" label:"Longest retry" help:"no attempt begins later than this after the first; default 2m"`
	NoDataTimeout  connection.Duration `json:"no_data_timeout,omitempty" label:"No-data timeout" default:"60s" help:"give up an attempt in which nothing moves for so long; 0 = none"`
	SinglePutLimit int64               `json:"single_put_limit,omitempty" label:"Largest single put" min:"0" help:"octets up to which an object is sent by one request, larger ones in parts where the store has them, and up to which a body that cannot seek is kept in memory, not in a temporary file; default 8 MiB"`
	PartSize       int64               `json:"part_size,omitempty" label:"Part size" min:"0" help:"octets of each part of a larger object; grows where the store would not take so many parts; default 16 MiB"`
	PartWorkers    int                 `json:"part_workers,omitempty" label:"Parts in flight" min:"1" max:"256" help:"of all puts of a connection together; where what is put can be read from one place only, they use part_workers times part_size octets of memory; default 4"`
	AllowAnyKey    bool                `json:"allow_any_key,omitempty" label:"Any key" help:"accept keys with //, a slash at the end or a backslash, which some stores change"`

	EmulateIfAbsent bool `json:"emulate_if_absent,omitempty" label:"Emulate put if absent" help:"where the store has no conditional put, look first: of two writers at the same time both may then succeed"`
}

// Defaults of Tuning.
const (
	DefaultWorkers        = 16
	DefaultMaxAttempts    = 5
	DefaultMaxElapsed     = 2 * time.Minute
	DefaultSinglePutLimit = 8 << 20
	DefaultPartSize       = 16 << 20
	DefaultPartWorkers    = 4
)

// CheckParts returns an error for part sizes and limits that an engine's requests do not take.
func (t *Tuning) CheckParts(l PartLimits) error {
	switch {
	case t.PartSize > 0 && t.PartSize < l.MinPart:
		return fmt.Errorf("part_size: %d: this store wants parts of at least %d octets", t.PartSize, l.MinPart)
	case l.MaxPart > 0 && t.PartSize > l.MaxPart:
		return fmt.Errorf("part_size: %d: this store takes parts of at most %d octets", t.PartSize, l.MaxPart)
	case l.MaxPut > 0 && t.SinglePutLimit > l.MaxPut:
		return fmt.Errorf("single_put_limit: %d: this store takes at most %d octets in one request", t.SinglePutLimit, l.MaxPut)
	}
	return nil
}

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
	case t.PartSize < 0:
		return errors.New("part_size: negative")
	case t.PartWorkers < 0:
		return errors.New("part_workers: negative")
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
	if t.PartSize == 0 {
		t.PartSize = DefaultPartSize
	}
	if t.PartWorkers == 0 {
		t.PartWorkers = DefaultPartWorkers
	}
	return t
}
