package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mailconn/mailconn/connection"
)

// putFlags are the flags of put.
type putFlags struct {
	as, prefix string
	options    connection.PutOptions
	meta       pairs
	retain     string
}

func putCommand(flags *flag.FlagSet) func(*session, []string) error {
	f := &putFlags{meta: pairs{}}
	flags.StringVar(&f.as, "as", "", "`key` of the object, if there is one source only")
	flags.StringVar(&f.prefix, "prefix", "", "put this before each key, for instance 2026/")
	flags.BoolVar(&f.options.IfAbsent, "if-absent", false, "fail where a key is taken")
	flags.StringVar(&f.options.ContentType, "type", "", "content `type`, for instance message/rfc822")
	flags.StringVar(&f.options.Class, "class", "", "storage `class`, in the store's words")
	flags.Var(f.meta, "meta", "`name=value` to keep with the objects; may be repeated")
	flags.StringVar(&f.retain, "retain", "", "protect the objects until this `date` (2030-12-31)")
	flags.BoolVar(&f.options.Lock.LegalHold, "legal-hold", false, "protect the objects until the hold is ended")
	return f.put
}

// pairs are the values of -meta.
type pairs map[string]string

// String implements flag.Value.
func (p pairs) String() string { return strings.Join(sortedNames(p), ",") }

// Set implements flag.Value.
func (p pairs) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return errors.New("want name=value")
	}
	p[name] = value
	return nil
}

func sortedNames(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// A source is a file to be stored; "-" is standard input.
type source struct {
	path string
	key  string
	size int64 // -1 = not known
}

func (f *putFlags) put(s *session, args []string) error {
	if len(args) == 0 {
		return misused("put: which files?")
	}
	if f.retain != "" {
		until, err := parseDate(f.retain)
		if err != nil {
			return usageError{fmt.Errorf("put: -retain: %w", err)}
		}
		f.options.Lock.RetainUntil = until
	}
	sources, err := f.sources(args)
	if err != nil {
		return err
	}
	f.options.Meta = f.meta
	total := int64(0)
	for _, src := range sources {
		total += max(src.size, 0)
	}
	b := s.newBar("put", int64(len(sources)), total)
	defer b.end()
	return s.each(len(sources), func(i int) error { return f.putOne(s, sources[i], b) })
}

// sources finds the files to store, and their keys.
func (f *putFlags) sources(args []string) ([]source, error) {
	var all []source
	for _, arg := range args {
		if arg == "-" {
			if f.as == "" {
				return nil, misused("put -: standard input has no name; give its key with -as")
			}
			all = append(all, source{arg, "", -1})
			continue
		}
		found, err := filesIn(arg)
		if err != nil {
			return nil, fmt.Errorf("put: %w", err)
		}
		all = append(all, found...)
	}
	if f.as != "" && len(all) != 1 {
		return nil, misused("put: -as is for one file, and there are %d", len(all))
	}
	seen := make(map[string]string, len(all))
	for i := range all {
		if f.as != "" {
			all[i].key = f.as
		}
		all[i].key = f.prefix + all[i].key
		if other, ok := seen[all[i].key]; ok {
			return nil, misused("put: %s and %s would have the same key %s", other, all[i].path, all[i].key)
		}
		seen[all[i].key] = all[i].path
	}
	return all, nil
}

// filesIn returns a file by its name, or all regular files of a folder by their names in it.
func filesIn(root string) ([]source, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []source{{root, filepath.Base(root), info.Size()}}, nil
	}
	var all []source
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		all = append(all, source{name, path.Join(filepath.Base(filepath.Clean(root)), filepath.ToSlash(rel)), info.Size()})
		return err
	})
	return all, err
}

func (f *putFlags) putOne(s *session, src source, b *bar) error {
	r := s.in
	if src.path != "-" {
		file, err := os.Open(src.path)
		if err != nil {
			return fmt.Errorf("put: %w", err)
		}
		defer func() { _ = file.Close() }() // it was only read
		r = file
	} else {
		r = struct{ io.Reader }{r} // a pipe is no file, though it may look like one
	}
	o := f.options
	o.Size = max(src.size, 0)
	sent := int64(0)
	o.Progress = func(octets int64) {
		b.move(octets - sent)
		sent = octets
	}
	info, err := s.store.Put(s.ctx, src.key, r, &o)
	if err != nil {
		return fmt.Errorf("%s: %w", src.path, err)
	}
	b.move(info.Size - sent) // what a store without Progress did not tell
	b.finish()
	return s.tell(info, fmt.Sprintf("put %s  %s", info.Key, octets(info.Size)))
}

// parseDate reads a day, which ends at its midnight, or a time of RFC 3339.
func parseDate(text string) (time.Time, error) {
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%q is no date: want one like 2030-12-31, or 2030-12-31T12:00:00Z", text)
	}
	return at, nil
}
